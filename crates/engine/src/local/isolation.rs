use hob_model::{
    CageUse, FunctionName, Isolation, Network, Revision, Run, Settings, port::EngineError,
};
use hob_sandbox::{Able, Capabilities, Mechanism};

/// The kind of cage that a function's replicas get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CageKind {
    pub(super) isolation: Isolation,
    pub(super) mechanism: Mechanism,
    /// Why it is not stronger, where nobody asked for less.
    pub(super) shortfall: Option<String>,
}

/// The function's own word counts first, then the server's, then what the machine can do.
/// Whatever was asked for is either given or refused.
pub(super) fn choose(
    function: &FunctionName,
    revision: &Revision,
    server: Option<Isolation>,
    machine: &Capabilities,
) -> Result<CageKind, EngineError> {
    let settings = &revision.settings;
    let image = matches!(revision.run, Run::Image(_));
    if image || settings.network == Network::None {
        let kind = own_root(function, settings, image)?;
        return possible(function, kind, machine);
    }
    let per_call = settings.sandbox == CageUse::PerCall;
    let kind = match (&settings.runtime, settings.isolation) {
        (Some(_), Some(Isolation::Process)) => return Err(contradiction(function)),
        (None, Some(Isolation::Process)) if per_call => return Err(no_cage(function)),
        (Some(program), _) if program.contains('/') => return Err(path(function, program)),
        (Some(program), _) => CageKind::asked(Isolation::Container, oci(program)),
        (None, Some(Isolation::Process))
            if server != Some(Isolation::Process)
                && machine.container == Able::Yes
                && machine.landlock_abi == 0 =>
        {
            return Err(unguarded(function));
        }
        // Whatever the server's default: there has to be something that can be destroyed.
        (None, _) if per_call => CageKind::asked(Isolation::Container, Mechanism::Native),
        (None, asked) => match asked.or(server) {
            Some(isolation) => CageKind::asked(isolation, Mechanism::Native),
            None => strongest(machine),
        },
    };
    possible(function, kind, machine)
}

fn possible(
    function: &FunctionName,
    kind: CageKind,
    machine: &Capabilities,
) -> Result<CageKind, EngineError> {
    match machine.able(kind.isolation, &kind.mechanism) {
        Able::Yes => Ok(kind),
        Able::No { why, cure } => Err(refusal(function, &kind, &why, &cure)),
    }
}

/// A root or a network of its own is what hob's own cages at level `container` have, whatever
/// the server's default.
fn own_root(
    function: &FunctionName,
    settings: &Settings,
    image: bool,
) -> Result<CageKind, EngineError> {
    let what = if image {
        "is an image"
    } else {
        "has `network = \"none\"`"
    };
    match (settings.isolation, &settings.runtime) {
        (Some(Isolation::Process), _) => Err(EngineError::Unsupported(format!(
            "function `{function}` {what} and asks for isolation `process`, which has no root and no network of its own: leave `isolation` out"
        ))),
        (_, Some(runtime)) => Err(EngineError::Unsupported(format!(
            "function `{function}` {what} and asks for the runtime `{runtime}`: so far only hob's own cages can do that, so leave `runtime` out"
        ))),
        (_, None) => Ok(CageKind::asked(Isolation::Container, Mechanism::Native)),
    }
}

// === impl CageKind ===

impl CageKind {
    fn asked(isolation: Isolation, mechanism: Mechanism) -> Self {
        Self {
            isolation,
            mechanism,
            shortfall: None,
        }
    }

    /// Whether a unix socket made inside is one on the host too. gVisor's stays in its own kernel.
    pub(super) fn shares_sockets(&self) -> bool {
        !matches!(&self.mechanism, Mechanism::Oci(program) if program.ends_with("runsc"))
    }
}

fn oci(program: &str) -> Mechanism {
    Mechanism::Oci(program.to_owned())
}

/// A machine that can do nothing is asked for the best, so that the refusal says what is
/// missing for that.
fn strongest(machine: &Capabilities) -> CageKind {
    let isolation = machine.strongest().unwrap_or(Isolation::Container);
    let shortfall = match &machine.container {
        Able::No { why, cure } if isolation < Isolation::Container => {
            Some(format!("{why}; {cure}"))
        }
        _ => None,
    };
    CageKind {
        isolation,
        mechanism: Mechanism::Native,
        shortfall,
    }
}

fn contradiction(function: &FunctionName) -> EngineError {
    EngineError::Unsupported(format!(
        "function `{function}` asks for a `runtime` and for isolation `process`: a runtime makes containers, so leave one of the two out"
    ))
}

fn no_cage(function: &FunctionName) -> EngineError {
    EngineError::Unsupported(format!(
        "function `{function}` asks for a cage for each call and for isolation `process`, which is none: leave `isolation` out"
    ))
}

/// hob runs it outside of any cage, and a folder that somebody sent has a path too once it is built.
fn path(function: &FunctionName, program: &str) -> EngineError {
    EngineError::Unsupported(format!(
        "function `{function}` asks for the runtime `{program}`: write the name of one that is installed on PATH, such as `runsc`"
    ))
}

/// All functions have one user at level `process`, where only landlock keeps one from what another
/// may read: that is for the owner of the server to give away.
fn unguarded(function: &FunctionName) -> EngineError {
    EngineError::Unsupported(format!(
        "function `{function}` cannot ask for isolation `process` here: without landlock in the kernel it could read other functions' secrets; leave `isolation` out"
    ))
}

fn refusal(function: &FunctionName, kind: &CageKind, why: &str, cure: &str) -> EngineError {
    let what = match &kind.mechanism {
        Mechanism::Oci(program) => format!("runtime `{program}`"),
        Mechanism::Native => format!("isolation `{}`", kind.isolation),
    };
    EngineError::Unsupported(format!(
        "function `{function}` cannot have {what} here: {why}; {cure}"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeMap, time::SystemTime};

    use hob_sandbox::CgroupSupport;

    use super::*;

    fn no() -> Able {
        Able::No {
            why: "no user namespaces".into(),
            cure: "run hob as root".into(),
        }
    }

    fn machine(container: Able, process: Able) -> Capabilities {
        Capabilities {
            kernel: "6.1".into(),
            container,
            process,
            cgroup: CgroupSupport {
                version: None,
                controllers: Vec::new(),
                folders: Vec::new(),
                able: no(),
                freezer: false,
            },
            landlock_abi: 0,
            seccomp: Able::Yes,
            user_namespaces: no(),
            runtimes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn pick(
        settings: &Settings,
        server: Option<Isolation>,
        machine: &Capabilities,
    ) -> Result<CageKind, String> {
        let name = "hello".parse().unwrap();
        let revision = Revision {
            digest: "0".into(),
            bundle: "0".into(),
            language: "server".into(),
            run: Run::Process {
                argv: vec!["true".into()],
                env: BTreeMap::new(),
            },
            settings: settings.clone(),
            built_at: SystemTime::UNIX_EPOCH,
        };
        choose(&name, &revision, server, machine).map_err(|e| e.to_string())
    }

    #[test]
    fn what_was_asked_for_is_given_or_refused_and_never_weakened() {
        let weak = machine(no(), Able::Yes);
        let asked = Settings {
            isolation: Some(Isolation::Container),
            ..Settings::default()
        };
        let refusal = pick(&asked, None, &weak).unwrap_err();
        assert!(refusal.contains("`hello`") && refusal.contains("run hob as root"));
        assert!(pick(&Settings::default(), Some(Isolation::Container), &weak).is_err());
        let chosen = pick(&Settings::default(), None, &weak).unwrap();
        assert_eq!(chosen.isolation, Isolation::Process);
        assert!(chosen.shortfall.unwrap().contains("no user namespaces"));
    }

    #[test]
    fn the_function_counts_before_the_server_and_the_server_before_the_machine() {
        let able = machine(Able::Yes, Able::Yes);
        let asked = Settings {
            isolation: Some(Isolation::Container),
            ..Settings::default()
        };
        let level = |settings: &Settings, server| pick(settings, server, &able).unwrap().isolation;
        let process = Some(Isolation::Process);
        assert_eq!(level(&asked, process), Isolation::Container);
        assert_eq!(level(&Settings::default(), process), Isolation::Process);
        assert_eq!(level(&Settings::default(), None), Isolation::Container);
    }

    #[test]
    fn a_cage_for_each_call_is_a_container_or_nothing() {
        let per_call = |isolation| Settings {
            sandbox: CageUse::PerCall,
            isolation,
            ..Settings::default()
        };
        let (able, weak) = (machine(Able::Yes, Able::Yes), machine(no(), Able::Yes));
        let process = Some(Isolation::Process);
        let kind = pick(&per_call(None), process, &able).unwrap();
        assert_eq!(kind.isolation, Isolation::Container);
        let refusal = pick(&per_call(None), None, &weak).unwrap_err();
        assert!(refusal.contains("run hob as root"), "{refusal}");
        let refusal = pick(&per_call(process), process, &able).unwrap_err();
        assert!(refusal.contains("leave `isolation` out"), "{refusal}");
    }

    #[test]
    fn a_runtime_that_is_not_there_is_named() {
        let settings = Settings {
            runtime: Some("runsc".into()),
            ..Settings::default()
        };
        let refusal = pick(&settings, None, &machine(Able::Yes, Able::Yes)).unwrap_err();
        assert!(refusal.contains("runtime `runsc`"), "{refusal}");
    }

    /// It is run by hob itself: an upload must not be able to name a file of its own.
    #[test]
    fn a_runtime_is_no_path() {
        for program in ["/usr/bin/runc", "/bin/sh", "../evil"] {
            let settings = Settings {
                runtime: Some(program.into()),
                ..Settings::default()
            };
            let refusal = pick(&settings, None, &machine(Able::Yes, Able::Yes)).unwrap_err();
            assert!(refusal.contains("on PATH"), "{refusal}");
        }
    }

    #[test]
    fn less_than_a_container_is_for_the_server_to_give_where_landlock_is_missing() {
        let process = Settings {
            isolation: Some(Isolation::Process),
            ..Settings::default()
        };
        let mut able = machine(Able::Yes, Able::Yes);
        let refusal = pick(&process, None, &able).unwrap_err();
        assert!(refusal.contains("landlock"), "{refusal}");
        assert!(pick(&process, Some(Isolation::Process), &able).is_ok());
        assert!(pick(&process, None, &machine(no(), Able::Yes)).is_ok());
        able.landlock_abi = 1;
        assert!(pick(&process, None, &able).is_ok());
    }
}
