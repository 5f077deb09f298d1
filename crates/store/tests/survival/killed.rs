//! `kill -9` in the middle of the work: what was acknowledged is there, nothing is half there.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use hob_model::{DEFAULT_NAMESPACE, port::Secrets};
use hob_store::{SecretStore, Store};

use crate::function;

const FOLDER: &str = "HOB_TEST_KILLED_FOLDER";
/// Acknowledged rounds before the kill.
const ROUNDS: u32 = 20;

fn secrets(folder: &Path) -> SecretStore {
    SecretStore::open(&folder.join("secrets"), &folder.join("identity.txt")).expect("opens")
}

/// Not a test of its own: the process that the test below kills.
#[test]
#[ignore = "run by the test below as a process to be killed"]
fn writer() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let (store, secrets) = (
        Store::open(Path::new(&folder)).expect("opens"),
        secrets(Path::new(&folder)),
    );
    let (mut function, namespace) = (function("hello"), DEFAULT_NAMESPACE.parse().expect("valid"));
    let name = "counter".parse().expect("valid");
    for round in 1.. {
        function.replicas = round;
        store.put_function(&function).expect("put");
        secrets
            .set(&namespace, &name, round.to_string().as_bytes())
            .expect("set");
        writeln!(std::io::stdout(), "acknowledged {round}").expect("parent reads");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let data = tempfile::tempdir().expect("tempdir");
    let mut child = Command::new(env::current_exe().expect("own path"))
        .args(["killed::writer", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, data.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let rounds = lines.map_while(Result::ok).filter_map(|line| {
        let round = line.split("acknowledged ").nth(1)?;
        round.parse::<u32>().ok()
    });
    let acknowledged = rounds.take(ROUNDS as usize).last().expect("wrote");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert_eq!(acknowledged, ROUNDS);

    // The lock went with the process, and the journal is replayed.
    let store = Store::open(data.path()).expect("reopens");
    let kept = store.functions().expect("reads");
    assert_eq!(kept.len(), 1);
    assert!(kept[0].replicas >= acknowledged);
    let secrets = secrets(data.path());
    let value = secrets
        .reveal(DEFAULT_NAMESPACE, &"counter".parse().expect("valid"))
        .expect("opens");
    let value: u32 = std::str::from_utf8(value.expose())
        .expect("text")
        .parse()
        .expect("whole");
    assert!(value >= acknowledged && value <= kept[0].replicas);
    let listed = secrets
        .list(&DEFAULT_NAMESPACE.parse().expect("valid"))
        .expect("lists");
    assert_eq!(listed.len(), 1);
}
