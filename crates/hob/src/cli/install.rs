mod flags;

use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use hob_store::{Store, StoreError};

use super::{Context, up};
use crate::{
    config::Config,
    environment::Environment,
    exit::Failure,
    output,
    systemd::{Plan, SERVICE, Scope, Systemctl, Unit, UnitFile, names, units},
};
use flags::UpFlags;

/// Folders whose content does not stay.
const PASSING: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];
/// What cargo calls the folders that it builds in.
const BUILDS: [&str; 2] = ["debug", "release"];

/// Keep hob running as a service of systemd, now and after every start of the machine
///
/// For root it is a service of the machine, else one of the user. systemd holds the addresses, so
/// that calls wait while hob restarts. The settings given here are those of the service. Nothing
/// is copied: the service runs this very executable.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// Show the unit files, and do nothing
    #[arg(long)]
    print: bool,
    /// Write the unit files, and say how to have systemd use them
    #[arg(long)]
    no_enable: bool,
    #[command(flatten)]
    place: UnitArgs,
    #[command(flatten)]
    up: UpFlags,
}

/// Where units are.
#[derive(Debug, Args)]
pub(super) struct UnitArgs {
    /// Folder of the unit files, with nothing told to systemd [default: /etc/systemd/system for root, else ~/.config/systemd/user]
    #[arg(long, value_name = "DIR")]
    unit_dir: Option<PathBuf>,
}

/// The folder of the units, and whether systemd can be told of them.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) systemctl: Option<Systemctl>,
}

// === impl UnitArgs ===

impl UnitArgs {
    pub(super) fn find(self, env: &Environment) -> anyhow::Result<Place> {
        let scope = Scope::of(env);
        let runs = self.unit_dir.is_none() && scope.runs(env);
        Ok(Place {
            folder: match self.unit_dir {
                Some(folder) => std::path::absolute(folder)?,
                None => scope.folder(env)?,
            },
            systemctl: runs.then_some(Systemctl(scope)),
        })
    }
}

// === impl Install ===

impl Install {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let env = &context.env;
        let config = self.up.server.resolve(env)?;
        let executable = std::env::current_exe()
            .and_then(|path| path.canonicalize())
            .context("cannot tell which executable this is")?;
        let units = planned(&config, &executable, &self.up.flags, env)?;
        let place = self.place.find(env)?;
        if self.print {
            return print(&units, &place.folder);
        }
        let files = names().map(|name| UnitFile::read(&place.folder, name));
        let files = files.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let enabler = place.systemctl.filter(|_| !self.no_enable);
        let is_new = files.iter().all(|file| file.text().is_none());
        // What runs already may be this service.
        let may_run = enabler.is_none() || !is_new;
        if !may_run {
            try_addresses(&config)?;
        }
        if passes(&executable) {
            eprintln!(
                "warning: {0} is in a folder that is built anew or cleared: `install {0} /usr/local/bin/hob`, and install that one",
                executable.display()
            );
        }
        // Else the first start would show it, to a log that keeps it.
        let password = match Store::open(&config.data) {
            Ok(store) => store.ensure_admin_password()?,
            // That hob has shown it.
            Err(StoreError::InUse { .. }) if may_run => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(password) = &password {
            output::line(&up::shown_once(password).join("\n"))?;
        }
        let changed = put(&units, &files, enabler)?;
        let changed = if is_new { Vec::new() } else { changed };
        enable(&units, enabler, &changed, env)
    }
}

fn planned(
    config: &Config,
    executable: &Path,
    flags: &[std::ffi::OsString],
    env: &Environment,
) -> anyhow::Result<Vec<Unit>> {
    let scope = Scope::of(env);
    units(&Plan {
        scope,
        subgroups: Systemctl(scope).has_subgroups(),
        executable,
        data: &config.data,
        flags,
        calls: config.listen(),
        metrics: config.metrics(),
        tls: config.tls.as_ref().map(|tls| tls.listen),
        redirect: config.tls.as_ref().and_then(|tls| tls.redirect),
    })
}

fn print(units: &[Unit], folder: &Path) -> anyhow::Result<()> {
    let shown = units.iter().map(|unit| {
        let path = folder.join(unit.name);
        format!("# {}\n{}", path.display(), unit.text)
    });
    output::line(shown.collect::<Vec<_>>().join("\n").trim_end())
}

/// Says who has an address, which systemd would not.
fn try_addresses(config: &Config) -> anyhow::Result<()> {
    up::listen(config.listen(), "--listen").map_err(Failure::failed)?;
    if let Some(address) = config.metrics() {
        up::listen(address, "--metrics")
            .map_err(|problem| Failure::failed(format!("{problem}, or `--metrics off`")))?;
    }
    let Some(tls) = &config.tls else {
        return Ok(());
    };
    up::listen(tls.listen, "tls.listen =").map_err(Failure::failed)?;
    if let Some(address) = tls.redirect {
        up::listen(address, "tls.redirect =").map_err(Failure::failed)?;
    }
    Ok(())
}

/// Whether an executable will not be there for long, or be another one.
fn passes(executable: &Path) -> bool {
    let parts: Vec<_> = executable.components().collect();
    let is_build = |pair: &[Component<'_>]| {
        pair[0].as_os_str() == "target" && BUILDS.iter().any(|name| pair[1].as_os_str() == *name)
    };
    PASSING.iter().any(|folder| executable.starts_with(folder)) || parts.windows(2).any(is_build)
}

/// Writes what is planned, and takes away what no longer is. Returns the names of those that
/// are not as they were.
fn put(
    units: &[Unit],
    files: &[UnitFile],
    enabler: Option<Systemctl>,
) -> anyhow::Result<Vec<&'static str>> {
    let mut changed = Vec::new();
    for (name, file) in names().into_iter().zip(files) {
        let shown = file.path().display();
        let said = match units.iter().find(|unit| unit.name == name) {
            Some(unit) if file.write(&unit.text)? => format!("wrote      {shown}"),
            Some(_) => {
                output::line(&format!("unchanged  {shown}"))?;
                continue;
            }
            None if file.text().is_none() => continue,
            None => {
                if let Some(systemctl) = enabler {
                    // In time for `hob up` to have none of it.
                    systemctl.run(&["disable", "--now", name])?;
                }
                file.remove()?;
                format!("removed    {shown}")
            }
        };
        changed.push(name);
        output::line(&said)?;
    }
    Ok(changed)
}

/// What systemd has to be told after a change of some units.
fn orders<'a>(units: &'a [Unit], changed: &[&str]) -> Vec<Vec<&'a str>> {
    let names: Vec<_> = units.iter().map(|unit| unit.name).collect();
    let order = |verb: &'a str, names: &[&'a str]| [&[verb], names].concat();
    let mut orders = vec![order("daemon-reload", &[]), order("enable", &names)];
    let is_socket = |name: &&str| *name != SERVICE;
    let sockets: Vec<_> = names.iter().copied().filter(is_socket).collect();
    match changed {
        [] => orders.push(order("start", &names)),
        [SERVICE] => orders.push(order("restart", &[SERVICE])),
        // Of a service that runs, no socket starts; this one takes them along when it starts.
        _ => orders.extend([order("stop", &sockets), order("restart", &[SERVICE])]),
    }
    orders
}

/// Has systemd use the units, or says how.
fn enable(
    units: &[Unit],
    enabler: Option<Systemctl>,
    changed: &[&str],
    env: &Environment,
) -> anyhow::Result<()> {
    let orders = orders(units, changed);
    let scope = Scope::of(env);
    match enabler {
        Some(systemctl) => {
            for order in &orders {
                systemctl.run(order)?;
            }
            output::line("hob runs, and will after every start of the machine")?;
            let journal = match scope {
                Scope::System => "journalctl -u hob -f",
                Scope::User => "journalctl --user -u hob -f",
            };
            let status = Systemctl(scope).line(&["status", SERVICE]);
            output::line(&format!("  {status}\n  {journal}"))?;
        }
        None => {
            let lines = orders.iter().map(|order| Systemctl(scope).line(order));
            let lines: Vec<_> = lines.map(|line| format!("\n  {line}")).collect();
            output::line(&format!("to have systemd use them:{}", lines.concat()))?;
        }
    }
    if scope == Scope::User {
        output::line(
            "a user's services run while the user is logged in; for all the time: `loginctl enable-linger`",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_changed_is_made_anew_while_the_service_is_down() {
        let units = names().map(|name| Unit {
            name,
            text: String::new(),
        });
        let last = |changed: &[&str]| orders(&units, changed).split_off(2);
        let start = vec![
            "start",
            "hob.socket",
            "hob-metrics.socket",
            "hob-tls.socket",
            "hob-redirect.socket",
            "hob.service",
        ];
        assert_eq!(last(&[]), [start]);
        assert_eq!(last(&[SERVICE]), [["restart", "hob.service"]]);
        let stop = vec![
            "stop",
            "hob.socket",
            "hob-metrics.socket",
            "hob-tls.socket",
            "hob-redirect.socket",
        ];
        let restart = vec!["restart", "hob.service"];
        assert_eq!(last(&["hob.socket", SERVICE]), [stop, restart]);
    }

    #[test]
    fn an_executable_that_does_not_stay_is_seen() {
        for (path, expected) in [
            ("/usr/local/bin/hob", false),
            ("/home/ada/target/hob", false),
            ("/home/ada/hob/target/release/hob", true),
            ("/tmp/hob", true),
        ] {
            assert_eq!(passes(Path::new(path)), expected, "{path}");
        }
    }
}
