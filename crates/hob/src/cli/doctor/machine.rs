use std::{path::Path, sync::Arc};

use hob_engine::build::{BuilderConfig, FolderBuilder, Template, Templates};
use hob_model::sandbox::SandboxLevel;
use hob_sandbox::{Able, Capabilities, Sandbox, SandboxConfig};
use tempfile::TempDir;

use super::{Finding, State};
use crate::{
    app::{HELPER_ARGUMENT, candidates, is_tmpfs},
    config::{SandboxesConfig, Settings},
    environment::Environment,
};

/// What the kernel and the installed programs can do. `data` is where a build would work.
pub(super) fn examine(data: &Path, settings: &Settings, env: &Environment) -> Vec<Finding> {
    let mut findings = Vec::new();
    match trial() {
        Ok((sandbox, _state)) => {
            findings.extend(cages(&sandbox.probe()));
            match wanted(settings) {
                Ok(wanted) => {
                    let each = |level| strangers(&sandbox, level, &wanted);
                    findings.extend(SandboxLevel::ALL.map(each));
                }
                Err(finding) => findings.push(finding),
            }
            let builder = FolderBuilder::new(BuilderConfig::new(data), Arc::new(sandbox));
            let languages = Templates::built_in().iter();
            findings.extend(languages.map(|template| language(&builder, template)));
        }
        Err(error) => findings.push(Finding::not(
            State::Broken,
            "isolation",
            format!("cages cannot be tried: {error:#}"),
            "make room in the folder for temporary files",
        )),
    }
    findings.push(images());
    findings.push(run_folder(env));
    findings
}

/// A sandbox of the doctor's own, and the folder that it works in.
fn trial() -> anyhow::Result<(Sandbox, TempDir)> {
    let state = tempfile::tempdir()?;
    let sandbox = Sandbox::new(SandboxConfig {
        helper: "/proc/self/exe".into(),
        helper_args: vec![HELPER_ARGUMENT.into()],
        cgroup_name: format!("hob-doctor-{}", std::process::id()),
        state: state.path().to_owned(),
    })?;
    Ok((sandbox, state))
}

/// What the configuration file says of sandboxes.
fn wanted(settings: &Settings) -> Result<SandboxesConfig, Finding> {
    let Some(table) = settings.tables.get("sandbox") else {
        return Ok(SandboxesConfig::default());
    };
    table.clone().try_into().map_err(|error: toml::de::Error| {
        let detail = format!("`[sandbox]`: {}", error.message());
        Finding::not(
            State::Broken,
            "sandbox",
            detail,
            "mend the configuration file",
        )
    })
}

/// Whether what a stranger sends can be run at this level, by the runtime that is configured for it.
/// Without the level that is switched on, the server does not start.
fn strangers(sandbox: &Sandbox, level: SandboxLevel, wanted: &SandboxesConfig) -> Finding {
    let is_chosen = level == wanted.level && !wanted.is_elsewhere();
    let runtime = wanted.runtime.as_deref().filter(|_| is_chosen);
    let found = sandbox.probe_oneshot(level, runtime);
    let otherwise = match is_chosen && wanted.enabled {
        true => State::Broken,
        false => State::Limited,
    };
    able(&format!("sandbox {level}"), "works", &found, otherwise)
}

fn images() -> Finding {
    match hob_sandbox::network::able() {
        Able::Yes => Finding::ok("images", "run in networks of their own"),
        Able::No { why, cure } => Finding::not(State::Limited, "images", why, cure),
    }
}

fn language(builder: &FolderBuilder, template: &Template) -> Finding {
    let check = format!("language {}", template.name());
    match builder.check_tools(template) {
        Ok(()) => Finding::ok(check, template.description()),
        Err(error) => Finding {
            state: State::Limited,
            ..Finding::ok(check, error.to_string())
        },
    }
}

fn cages(machine: &Capabilities) -> Vec<Finding> {
    // One level is enough to run functions; without any, the first is what to mend.
    let none = machine.strongest().is_none();
    let worst = if none { State::Broken } else { State::Limited };
    let cgroup = &machine.cgroup;
    let cgroup_found = match cgroup.version {
        Some(version) => format!("version {version}: {}", cgroup.controllers.join(", ")),
        None => "none that hob may write".to_owned(),
    };
    let landlock = match machine.landlock_abi {
        0 => Finding::not(
            State::Limited,
            "landlock",
            "not in this kernel",
            "use a kernel of version 5.13 or later, with landlock among its `lsm=`",
        ),
        abi => Finding::ok("landlock", format!("version {abi}")),
    };
    let mut findings = vec![
        Finding::ok("kernel", machine.kernel.as_str()),
        able("isolation container", "works", &machine.container, worst),
        able("isolation process", "works", &machine.process, worst),
        able("cgroup limits", &cgroup_found, &cgroup.able, State::Limited),
        freezing(cgroup.freezer),
        able("seccomp", "works", &machine.seccomp, State::Limited),
        landlock,
        able(
            "user namespaces",
            "works",
            &machine.user_namespaces,
            State::Limited,
        ),
    ];
    for runtime in &machine.runtimes {
        let check = format!("runtime {}", runtime.name);
        let found = runtime.path.display().to_string();
        findings.push(able(&check, &found, &runtime.able, State::Limited));
    }
    for warning in &machine.warnings {
        // Most of them are the other half of a finding that is there already.
        let told = |finding: &Finding| warning.contains(&finding.detail);
        if !findings.iter().any(told) {
            let finding = Finding::ok("limits", warning.as_str());
            findings.push(Finding {
                state: State::Limited,
                ..finding
            });
        }
    }
    findings
}

fn able(check: &str, found: &str, able: &Able, otherwise: State) -> Finding {
    match able {
        Able::Yes => Finding::ok(check, found),
        Able::No { why, cure } => Finding::not(otherwise, check, why.as_str(), cure.as_str()),
    }
}

fn freezing(works: bool) -> Finding {
    match works {
        true => Finding::ok("freezing", "works"),
        false => Finding::not(
            State::Limited,
            "freezing",
            "no cgroup freezer that hob may write, so quiet functions stay hot until they are stopped",
            "run hob as root, or with cgroup v2 and a kernel of version 5.2 or later",
        ),
    }
}

fn run_folder(env: &Environment) -> Finding {
    let check = "tmpfs for secrets";
    let mut places = candidates("doctor", env).into_iter();
    match places.find(|path| is_tmpfs(path)) {
        Some(path) => {
            let parent = path.parent().unwrap_or(&path);
            Finding::ok(check, parent.display().to_string())
        }
        None => Finding::not(
            State::Limited,
            check,
            "none: secrets of running functions are written to disk",
            "mount a tmpfs on /dev/shm",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings {
            path: None,
            tables: toml::from_str(text).unwrap(),
            contexts: None,
        }
    }

    #[test]
    fn the_configured_runtime_is_tried_and_has_to_work_where_sandboxes_are_on() {
        let (sandbox, _state) = trial().unwrap();
        let chosen = "level = \"gvisor\"\nruntime = \"/no/such/runsc\"\n";
        for (enabled, state) in [(true, State::Broken), (false, State::Limited)] {
            let text = format!("[sandbox]\nenabled = {enabled}\n{chosen}");
            let wanted = wanted(&settings(&text)).unwrap();
            let finding = strangers(&sandbox, SandboxLevel::Gvisor, &wanted);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.detail.contains("/no/such/runsc"), "{finding:?}");
            // Another level's runtime is whatever is installed.
            let finding = strangers(&sandbox, SandboxLevel::Vm, &wanted);
            assert!(!finding.detail.contains("/no/such"), "{finding:?}");
        }
        assert_eq!(wanted(&settings("")).unwrap(), SandboxesConfig::default());
        let broken = wanted(&settings("[sandbox]\nlevel = \"castle\"")).unwrap_err();
        assert_eq!(broken.state, State::Broken);
        assert!(broken.detail.contains("castle"), "{broken:?}");
    }
}
