use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{environment::Environment, exit::Failure};

/// There while systemd is process 1; sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
/// Where an administrator's units of the machine are.
const SYSTEM_UNITS: &str = "/etc/systemd/system";
/// The first systemd with `DelegateSubgroup=`.
const SUBGROUPS_SINCE: u32 = 254;

/// Whose systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The machine's.
    System,
    /// That of the user who asks.
    User,
}

/// The program by which systemd is told what to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Systemctl(pub(crate) Scope);

// === impl Scope ===

impl Scope {
    /// The one that this user may change.
    pub(crate) fn of(env: &Environment) -> Self {
        if env.root { Self::System } else { Self::User }
    }

    /// Where its unit files are.
    ///
    /// # Errors
    /// When no home directory is known.
    pub(crate) fn folder(self, env: &Environment) -> anyhow::Result<PathBuf> {
        if self == Self::System {
            return Ok(SYSTEM_UNITS.into());
        }
        let config = env.xdg("XDG_CONFIG_HOME", ".config");
        let folder = config.map(|config| config.join("systemd/user"));
        folder.ok_or_else(|| {
            Failure::usage("no home directory is known: set HOME, or name a folder with --unit-dir")
                .into()
        })
    }

    /// Whether it runs.
    pub(crate) fn runs(self, env: &Environment) -> bool {
        let of_user = || {
            let runtime = env.path("XDG_RUNTIME_DIR");
            runtime.is_some_and(|folder| folder.join("systemd/private").exists())
        };
        Path::new(BOOTED).is_dir() && (self == Self::System || of_user())
    }
}

// === impl Systemctl ===

impl Systemctl {
    /// Whether this systemd starts a service in a cgroup of its own below the service's. An older
    /// one cannot start it while something is left in there.
    pub(crate) fn has_subgroups(self) -> bool {
        let said = Command::new("systemctl").arg("--version").output();
        let said = said.map(|output| output.stdout).unwrap_or_default();
        version(&String::from_utf8_lossy(&said)).is_some_and(|version| version >= SUBGROUPS_SINCE)
    }

    /// An order as it is typed.
    pub(crate) fn line(self, order: &[&str]) -> String {
        let user = match self.0 {
            Scope::System => "",
            Scope::User => "--user ",
        };
        format!("systemctl {user}{}", order.join(" "))
    }

    /// Has it done.
    ///
    /// # Errors
    /// What systemctl said, and where more of it is.
    pub(crate) fn run(self, order: &[&str]) -> anyhow::Result<()> {
        let line = self.line(order);
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        let output = command.args(words).stdin(Stdio::null()).output();
        let output =
            output.map_err(|error| Failure::failed(format!("cannot run `{line}`: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().replace('\n', " ");
        let journal = match self.0 {
            Scope::System => "journalctl -u hob",
            Scope::User => "journalctl --user -u hob",
        };
        let message = format!("`{line}` failed: {said} (`{journal}` may tell more)");
        Err(Failure::failed(message).into())
    }
}

/// The number in `systemd 252 (252.38-1~deb12u1)`.
fn version(text: &str) -> Option<u32> {
    let word = text.strip_prefix("systemd ")?.split_whitespace().next()?;
    word.split(['.', '~', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_number_before_any_suffix() {
        assert_eq!(version("systemd 252 (252.38-1~deb12u1)\n+PAM"), Some(252));
        assert_eq!(version("systemd 256~rc3 (256~rc3)"), Some(256));
        assert_eq!(version("systemd 257.1-1 (x)"), Some(257));
        assert_eq!(version("busybox"), None);
    }

    #[test]
    fn a_user_has_a_systemd_of_their_own() {
        let env = Environment::from([("HOME", "/home/ada")]);
        let folder = Scope::User.folder(&env).expect("a home");
        assert_eq!(folder, Path::new("/home/ada/.config/systemd/user"));
        let line = Systemctl(Scope::User).line(&["start", "hob.service"]);
        assert_eq!(line, "systemctl --user start hob.service");
    }
}
