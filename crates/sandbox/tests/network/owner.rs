//! Other processes that the tests need: a daemon to be killed, and one that is not root.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{Read, Write, stdin, stdout},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use hob_sandbox::network::{Network, NetworkConfig, Outbound};

use crate::machine::config;

/// Names what the second run is to be.
pub(crate) const ROLE: &str = "HOB_NETWORK_TEST_ROLE";
const STATE: &str = "HOB_NETWORK_TEST_STATE";

pub(crate) fn main(role: &OsStr) -> ExitCode {
    let state = PathBuf::from(env::var_os(STATE).unwrap());
    if role == "nobody" {
        let error = Network::new(NetworkConfig::new(state), &[]).expect_err("refused");
        println!("{error}");
        return ExitCode::SUCCESS;
    }
    let network = Network::new(
        NetworkConfig {
            // So that nothing is half made when it is killed.
            spares: 0,
            ..config(&state)
        },
        &[],
    )
    .unwrap();
    let _leased = [Outbound::Yes, Outbound::No].map(|kind| network.lease(kind).unwrap());
    stdout().write_all(b"up\n").unwrap();
    // Until it is killed.
    let _ = stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

/// A daemon that has leased one namespace of each kind.
pub(crate) fn start(state: &Path) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .env(ROLE, "owner")
        .env(STATE, state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    child
}

/// What a daemon that is not root says.
pub(crate) fn nobody(state: &Path) -> String {
    fs::set_permissions(state, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = state.join("test");
    fs::copy("/proc/self/exe", &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .env(ROLE, "nobody")
        .env(STATE, state)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
