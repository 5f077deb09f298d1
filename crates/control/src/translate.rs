//! From what OpenFaaS's clients say to what hob's settings are.

use std::collections::BTreeMap;

use hob_model::{
    Auth, CageUse, Limits, Manifest, ManifestError, Memory, NameError, Network, QuantityError,
    Scale, SecretName, Settings, Timespan,
    openfaas::{FunctionDeployment, ScaleLabels},
};
use thiserror::Error;

/// Least memory of a function: what a watchdog written in Go needs.
const LEAST_MEMORY: Memory = Memory(8 << 20);
/// What the old field `network` says for none.
const NO_NETWORK: &str = "none";
/// What it says for all.
const ALL_NETWORKS: &str = "outbound";
/// Variables of the watchdog from which the function's one timeout comes.
const TIMEOUTS: [&str; 3] = ["exec_timeout", "write_timeout", "read_timeout"];

/// What a client said that means nothing.
#[derive(Debug, Error)]
pub(crate) enum AskedError {
    #[error("validation failed: {0}")]
    Name(#[from] NameError),
    #[error("validation failed: {0}")]
    Quantity(#[from] QuantityError),
    #[error("validation failed: {0}")]
    Manifest(#[from] ManifestError),
    #[error("validation failed: envProcess: holds a NUL byte")]
    Process,
}

/// What becomes of the settings `former`, which a function has or its folder brings along.
///
/// What a client can say counts as it says it. What it cannot say stays: an idle time, origins, a
/// cage, who may call it and by which names. What it says by way of something else, such as a timeout by a variable of the watchdog or
/// an idle time by a label, counts where that is not what it was; so that settings which come back as they were shown
/// change nothing.
pub(crate) fn translate(
    asked: FunctionDeployment,
    former: &Settings,
) -> Result<Settings, AskedError> {
    let texts = |map: &Option<BTreeMap<_, _>>| map.clone().unwrap_or_default();
    // Mistakes are told below, when the manifest is completed.
    let read = |labels: &BTreeMap<_, _>| ScaleLabels::read(labels).unwrap_or_default();
    let (said, said_before) = (read(&texts(&asked.labels)), read(&former.labels));
    let manifest = Manifest {
        env: texts(&asked.env_vars),
        secrets: secrets(&asked)?,
        timeout: Some(timeout(&texts(&asked.env_vars), former)),
        idle: Some(idle(&said, &said_before, former)),
        freeze: Some(former.freeze),
        prewake: former.prewake,
        limits: limits(&asked, former)?,
        scale: scale(&said, &said_before, former),
        cors: former.cors.clone(),
        auth: former.auth.clone(),
        rate: former.rate.clone(),
        domain: former.domain.clone(),
        isolation: former.isolation,
        runtime: former.runtime.clone(),
        // What was asked for by `hob.toml` is put back below, where the annotation is what it was.
        sandbox: None,
        network: match asked.network.as_deref() {
            Some(NO_NETWORK) => Network::None,
            Some(ALL_NETWORKS) => Network::Outbound,
            _ => former.network,
        },
        labels: texts(&asked.labels),
        annotations: texts(&asked.annotations),
        ..Manifest::default()
    };
    let mut manifest = manifest.completed()?;
    if asked
        .env_process
        .as_ref()
        .is_some_and(|text| text.contains('\0'))
    {
        return Err(AskedError::Process);
    }
    let before = annotated(former);
    if manifest.schedule == before.schedule {
        manifest.schedule.clone_from(&former.schedule);
    }
    if manifest.sandbox == before.sandbox {
        manifest.sandbox = Some(former.sandbox);
    }
    if manifest.asynchronous == before.asynchronous {
        manifest.asynchronous = Some(former.asynchronous.clone());
    }
    Ok(Settings {
        openfaas: Some(Box::new(asked)),
        ..Settings::from(&manifest)
    })
}

/// Keeps what stands before a function, and between its calls, where `settings` have nothing of it:
/// clients that cannot say who may call must not open what was closed, whatever they put in its place.
pub(crate) fn keep_guards(settings: &mut Settings, former: &Settings) {
    if settings.auth == Auth::None {
        settings.auth = former.auth.clone();
    }
    if settings.rate.is_none() {
        settings.rate = former.rate.clone();
    }
    if settings.domain.is_empty() {
        settings.domain = former.domain.clone();
    }
    if settings.sandbox == CageUse::Shared {
        settings.sandbox = former.sandbox;
    }
}

/// The same for a deployment that came along with a folder: it is laid over what the folder's
/// `hob.toml` says, key by key.
pub(crate) fn lay_over(
    mut asked: FunctionDeployment,
    built: &Settings,
) -> Result<Settings, AskedError> {
    beneath(&mut asked.env_vars, &built.env);
    beneath(&mut asked.labels, &built.labels);
    beneath(&mut asked.annotations, &built.annotations);
    let mut secrets = asked.secrets.take().unwrap_or_default();
    for secret in &built.secrets {
        if !secrets.iter().any(|asked| asked == secret.as_str()) {
            secrets.push(secret.to_string());
        }
    }
    asked.secrets = (!secrets.is_empty()).then_some(secrets);
    translate(asked, built)
}

fn beneath(asked: &mut Option<BTreeMap<String, String>>, built: &BTreeMap<String, String>) {
    if built.is_empty() {
        return;
    }
    let over = asked.take().unwrap_or_default();
    let mut all = built.clone();
    all.extend(over);
    *asked = Some(all);
}

fn secrets(asked: &FunctionDeployment) -> Result<Vec<SecretName>, NameError> {
    let secrets = asked.secrets.iter().flatten();
    secrets.map(|name| name.parse()).collect()
}

fn timeout(env: &BTreeMap<String, String>, former: &Settings) -> Timespan {
    let of = |env: &BTreeMap<String, String>| {
        let texts = TIMEOUTS.iter().filter_map(|name| env.get(*name));
        let spans = texts.filter_map(|text| text.parse::<Timespan>().ok());
        // To the watchdog, none is no limit of its own.
        let longest = spans.filter(|span| !span.0.is_zero()).max();
        longest.map(|span| span.min(Settings::LONGEST_TIMEOUT))
    };
    let asked = of(env);
    match asked == of(&former.env) {
        true => former.timeout,
        false => asked.unwrap_or(Settings::TIMEOUT),
    }
}

fn idle(said: &ScaleLabels, before: &ScaleLabels, former: &Settings) -> Timespan {
    match said.idle() == before.idle() {
        true => former.idle,
        false => said.idle().unwrap_or(Settings::IDLE),
    }
}

/// What the folder said goes where a label says something new, which would not count else.
fn scale(said: &ScaleLabels, before: &ScaleLabels, former: &Settings) -> Scale {
    let (mut scale, default) = (former.scale.clone(), Scale::default());
    if (said.min, said.zero) != (before.min, before.zero) {
        scale.min = default.min;
    }
    if said.max != before.max {
        scale.max = default.max;
    }
    if (said.load, said.target, said.proportion) != (before.load, before.target, before.proportion)
    {
        scale.target = default.target;
    }
    if said.window != before.window {
        scale.window = default.window;
    }
    scale
}

fn limits(asked: &FunctionDeployment, former: &Settings) -> Result<Limits, QuantityError> {
    let of = |asked: Option<&FunctionDeployment>| {
        let limits = asked.and_then(|asked| asked.limits.clone());
        limits.unwrap_or_default()
    };
    let (asked, before) = (of(Some(asked)), of(former.openfaas.as_deref()));
    let mut limits = former.limits.clone();
    if asked.memory != before.memory {
        limits.memory = match asked.memory.as_str() {
            "" => Limits::default().memory,
            text => text.parse::<Memory>()?.max(LEAST_MEMORY),
        };
    }
    if asked.cpu != before.cpu {
        limits.cpu = match asked.cpu.as_str() {
            "" => Limits::default().cpu,
            text => text.parse()?,
        };
    }
    Ok(limits)
}

/// What the annotations alone make of a manifest.
fn annotated(former: &Settings) -> Manifest {
    let manifest = Manifest {
        annotations: former.annotations.clone(),
        ..Manifest::default()
    };
    // They were read when they came.
    manifest.completed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hob_model::{Cors, Cpu, openfaas::FunctionResources};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
        let pairs = pairs.iter();
        Some(pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    /// As a folder brings them along.
    fn of_folder() -> Settings {
        let text = "timeout = \"7s\"\nidle = \"9s\"\ncors = \"*\"\nauth = \"token\"\nrate = \"60/1m\"\ndomain = \"a.example.net\"\nsecrets = [\"a\"]\n\
            schedule = \"0 9 * * *\"\nfreeze = \"never\"\nprewake = \"1m\"\n[env]\nA = \"1\"\n[limits]\nmemory = \"64Mi\"\npids = 9\n";
        Settings::from(&Manifest::parse(text).expect("valid"))
    }

    fn asked() -> FunctionDeployment {
        FunctionDeployment {
            env_vars: map(&[("A", "1")]),
            secrets: Some(vec!["a".into()]),
            ..FunctionDeployment::default()
        }
    }

    #[test]
    fn what_comes_back_as_it_was_shown_changes_nothing() {
        let former = of_folder();
        let again = translate(asked(), &former).expect("valid");
        let as_before = Settings {
            openfaas: None,
            ..again.clone()
        };
        assert_eq!(as_before, former);
        assert_eq!(translate(asked(), &again).expect("valid"), again);
    }

    #[test]
    fn what_is_said_counts_and_what_cannot_be_said_stays() {
        let former = of_folder();
        let new = FunctionDeployment {
            env_vars: map(&[("B", "2"), ("exec_timeout", "3s"), ("read_timeout", "2")]),
            annotations: map(&[("topic", "cron-function"), ("schedule", "* * * * *")]),
            limits: Some(FunctionResources {
                memory: "5Mi".into(),
                cpu: "100m".into(),
                ..FunctionResources::default()
            }),
            network: Some("none".into()),
            ..FunctionDeployment::default()
        };
        let now = translate(new.clone(), &former).expect("valid");
        assert_eq!(now.timeout, Timespan::from_secs(3));
        assert_eq!(now.limits.memory, LEAST_MEMORY);
        assert_eq!((now.limits.cpu, now.limits.pids), (Cpu(100), 9));
        assert_eq!((now.idle, &now.cors), (former.idle, &Some(Cors::Any)));
        assert_eq!(now.schedule.len(), 1);
        assert_ne!(now.schedule, former.schedule);
        assert!(now.secrets.is_empty() && !now.env.contains_key("A"));
        // What is left out again goes back to the defaults; a network that was taken does not.
        let then = translate(FunctionDeployment::default(), &now).expect("valid");
        assert_eq!(then.timeout, Settings::TIMEOUT);
        assert_eq!(then.limits.memory, Limits::default().memory);
        assert!(then.schedule.is_empty());
        assert_eq!(then.network, Network::None);
        let open = FunctionDeployment {
            network: Some("outbound".into()),
            ..new
        };
        let open = translate(open, &then).expect("valid");
        assert_eq!(open.network, Network::Outbound);
    }

    #[test]
    fn labels_of_scale_count_over_the_folder_where_they_are_new() {
        let text = "idle = \"9s\"\n[scale]\nmin = 1\nmax = 3\ntarget = 7\nconcurrency = 2\n";
        let former = Settings::from(&Manifest::parse(text).expect("valid"));
        let labels = |pairs| FunctionDeployment {
            labels: map(pairs),
            ..FunctionDeployment::default()
        };
        let team = translate(labels(&[("team", "a")]), &former).expect("valid");
        assert_eq!((&team.scale, team.idle), (&former.scale, former.idle));
        let new = [
            ("com.openfaas.scale.max", "5"),
            ("com.openfaas.scale.zero", "true"),
            ("com.openfaas.scale.zero-duration", "2m"),
        ];
        let now = translate(labels(&new), &team).expect("valid");
        let scaling = now.scaling();
        assert_eq!((scaling.min, scaling.most(), scaling.target), (0, 5, 2.0));
        assert_eq!((now.idle, now.scale.target), (Timespan::from_secs(120), 7));
        assert_eq!(
            translate(labels(&new), &now).expect("valid").scale,
            now.scale
        );
    }

    #[test]
    fn a_cage_for_each_call_stays_until_somebody_says_otherwise() {
        let annotated = |annotations| FunctionDeployment {
            annotations: map(annotations),
            ..FunctionDeployment::default()
        };
        let former = Settings::from(&Manifest::parse("sandbox = \"per-call\"").expect("valid"));
        let same = translate(annotated(&[]), &former).expect("valid");
        assert_eq!(same.sandbox, CageUse::PerCall);
        let shared = translate(annotated(&[("hob.sandbox", "shared")]), &same).expect("valid");
        assert_eq!(shared.sandbox, CageUse::Shared);
        let asked = annotated(&[("hob.sandbox", "per-call")]);
        let fresh = translate(asked.clone(), &Settings::default()).expect("valid");
        assert_eq!(fresh.sandbox, CageUse::PerCall);
        assert_eq!(translate(asked, &fresh).expect("valid"), fresh);
        let gone = translate(annotated(&[]), &fresh).expect("valid");
        assert_eq!(gone.sandbox, CageUse::Shared);
        let mut another = Settings::default();
        keep_guards(&mut another, &fresh);
        assert_eq!(another.sandbox, CageUse::PerCall);
    }

    #[test]
    fn a_deployment_is_laid_over_a_folder() {
        let over = FunctionDeployment {
            image: "registry.example.net/hello:1".into(),
            env_vars: map(&[("A", "2"), ("B", "3")]),
            secrets: Some(vec!["b".into()]),
            ..FunctionDeployment::default()
        };
        let settings = lay_over(over, &of_folder()).expect("valid");
        assert_eq!((&*settings.env["A"], &*settings.env["B"]), ("2", "3"));
        let names: Vec<_> = settings.secrets.iter().map(SecretName::as_str).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(settings.timeout, Timespan::from_secs(7));
        let shown = settings.openfaas.expect("kept");
        assert_eq!(shown.env_vars.as_ref(), Some(&settings.env));
        // Nothing is added to what was sent where the folder says nothing.
        assert_eq!((shown.labels, shown.annotations), (None, None));
    }

    #[test]
    fn mistakes_are_named() {
        let limit = |memory: &str, cpu: &str| FunctionDeployment {
            limits: Some(FunctionResources {
                memory: memory.into(),
                cpu: cpu.into(),
                ..FunctionResources::default()
            }),
            ..FunctionDeployment::default()
        };
        let labels = FunctionDeployment {
            labels: map(&[("com.openfaas.scale.min", "few")]),
            ..FunctionDeployment::default()
        };
        let secret = FunctionDeployment {
            secrets: Some(vec!["../x".into()]),
            ..FunctionDeployment::default()
        };
        for (asked, expected) in [
            (limit("much", ""), "memory `much`"),
            (limit("", "fast"), "cpu `fast`"),
            (labels, "label `com.openfaas.scale.min`"),
            (secret, "secret name `../x`"),
        ] {
            let error = translate(asked, &Settings::default()).expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
