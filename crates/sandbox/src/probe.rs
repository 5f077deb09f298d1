//! Trying in place of looking: what `hob doctor` asks for.

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use hob_model::{EndReason, Isolation, sandbox::SandboxLevel};

use crate::{
    Able, CAGE_UID, CageLimits, CageNetwork, CageRoot, CageSpec, CageUser, Capabilities, Mechanism,
    OneShotEnd, OneShotSpec, Program, STOP_SIGNAL, Sandbox, SandboxError, native::launch::readable,
};

/// How long a runtime program may take to run `true`.
const TIMEOUT: Duration = Duration::from_secs(10);

const LIMITS: CageLimits = CageLimits {
    memory: 64 << 20,
    cpu_millis: 1000,
    pids: 32,
    tmp: 1 << 20,
    files: 256,
};

/// Enough for a virtual machine to boot with.
const ONE_SHOT_MEMORY: u64 = 256 << 20;

/// Makes one cage of each kind that looks possible.
pub(crate) fn probe(sandbox: &Sandbox) -> Capabilities {
    let mut found = sandbox.capabilities().clone();
    for (level, able) in [
        (Isolation::Container, &mut found.container),
        (Isolation::Process, &mut found.process),
    ] {
        if able.is_able() {
            *able = attempt(sandbox, level, Mechanism::Native);
        }
    }
    for runtime in &mut found.runtimes {
        runtime.able = attempt(
            sandbox,
            Isolation::Container,
            Mechanism::Oci(runtime.name.clone()),
        );
    }
    found
}

/// Runs `true` in a one-shot cage of this level, where that looks possible.
pub(crate) fn probe_oneshot(sandbox: &Sandbox, level: SandboxLevel, runtime: Option<&str>) -> Able {
    if let no @ Able::No { .. } = sandbox.able_oneshot(level, runtime) {
        return no;
    }
    let cure = match level {
        SandboxLevel::Container => "run hob as root, or see its documentation on cages",
        SandboxLevel::Gvisor | SandboxLevel::Vm => {
            "update the runtime, or see its documentation on this machine's kernel"
        }
    };
    match run_true_once(sandbox, level, runtime) {
        Ok(end) if end.end.reason == EndReason::Ok => Able::Yes,
        Ok(end) => Able::no(format!("level `{level}`: {}", end.end), cure),
        Err(error) => Able::no(format!("level `{level}`: {error}"), cure),
    }
}

fn run_true_once(
    sandbox: &Sandbox,
    level: SandboxLevel,
    runtime: Option<&str>,
) -> Result<OneShotEnd, SandboxError> {
    let limits = CageLimits {
        memory: ONE_SHOT_MEMORY,
        ..LIMITS
    };
    let ready = sandbox.prepare(OneShotSpec {
        id: format!("probe-{}-{level}", std::process::id()),
        level,
        runtime: runtime.map(str::to_owned),
        uid: CAGE_UID,
        limits,
    })?;
    let running = ready.start(&Program {
        argv: vec!["true".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        files: Vec::new(),
        stdin: Vec::new(),
        limits,
    })?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let news = readable(running.pidfd(), left);
        let news = news.map_err(SandboxError::system("cannot wait for the cage"))?;
        if let Some(end) = running.try_end()? {
            return Ok(end);
        }
        if !news {
            return Err(SandboxError::Spec(format!(
                "`true` did not end within {} s",
                TIMEOUT.as_secs()
            )));
        }
    }
}

fn attempt(sandbox: &Sandbox, isolation: Isolation, mechanism: Mechanism) -> Able {
    let kind = match &mechanism {
        Mechanism::Native => isolation.to_string(),
        Mechanism::Oci(program) => program.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    let cure = match &mechanism {
        Mechanism::Native => "run hob as root, or see its documentation on cages".to_owned(),
        Mechanism::Oci(_) => format!("run `{kind}` by hand to see more, or update it"),
    };
    match run_true(sandbox, &kind, isolation, mechanism) {
        Ok(None) => Able::Yes,
        Ok(Some(end)) => Able::no(end, cure),
        Err(error) => Able::no(error, cure),
    }
}

/// How it ended, unless well.
fn run_true(
    sandbox: &Sandbox,
    kind: &str,
    isolation: Isolation,
    mechanism: Mechanism,
) -> Result<Option<String>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let output = File::options()
        .write(true)
        .open("/dev/null")
        .map_err(|error: io::Error| text(&error))?;
    let spec = CageSpec {
        id: format!("probe-{}-{kind}", std::process::id()),
        isolation,
        mechanism,
        argv: vec!["true".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        hostname: "probe".into(),
        root: CageRoot::Host,
        network: CageNetwork::Host,
        files: Vec::new(),
        binds: Vec::new(),
        limits: LIMITS,
        output,
        user: CageUser::Unprivileged,
        stop_signal: STOP_SIGNAL,
    };
    let cage = sandbox.spawn(spec).map_err(|error| text(&error))?;
    match cage.wait_timeout(TIMEOUT).map_err(|error| text(&error))? {
        Some(end) if end.reason == EndReason::Ok => Ok(None),
        Some(end) => Ok(Some(end.to_string())),
        None => Ok(Some(format!(
            "`true` did not end within {} s",
            TIMEOUT.as_secs()
        ))),
    }
}
