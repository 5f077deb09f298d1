use std::{net::TcpListener, os::fd::OwnedFd, path::Path, process::Command};

/// The variable by which the script below finds the log.
const LOG: &str = "HELD_LOG";
/// Moves the sockets, which can come by standard input and standard error only, to where
/// sd_listen_fds(3) has them, and becomes its arguments.
const SCRIPTS: [&str; 2] = [
    r#"exec 3<&0 </dev/null; unset HELD_LOG; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#,
    r#"exec 3<&0 4<&2 </dev/null 2>>"$HELD_LOG"; unset HELD_LOG; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@""#,
];

/// A listening socket that outlives the server which it is for.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    socket: TcpListener,
}

impl Held {
    pub(super) fn new(name: &str, socket: TcpListener) -> Self {
        let name = name.to_owned();
        Self { name, socket }
    }

    fn copy(&self) -> OwnedFd {
        self.socket.try_clone().expect("a descriptor").into()
    }
}

/// A run of `executable` that can be passed these sockets.
pub(super) fn command(held: &[Held], executable: &Path) -> Command {
    if held.is_empty() {
        return Command::new(executable);
    }
    let script = SCRIPTS.get(held.len() - 1).expect("two sockets at most");
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(executable);
    command
}

/// Passes them, whatever standard input and standard error were to be. Its log goes on at `log`.
pub(super) fn pass(held: &[Held], command: &mut Command, log: &Path) {
    let names: Vec<_> = held.iter().map(|held| held.name.as_str()).collect();
    if let Some(first) = held.first() {
        command.stdin(first.copy()).env(LOG, log);
        command.env("LISTEN_FDNAMES", names.join(":"));
    }
    if let Some(second) = held.get(1) {
        command.stderr(second.copy());
    }
}
