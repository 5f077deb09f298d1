//! Runs on machines of Fly, of which a fake keeps the books: no account is at hand for tests.

use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt, path::Path};

use hob_testkit::{FLY_APP, FLY_TOKEN, FakeFly, Hob, HobBuilder, assert_eventually};
use tempfile::TempDir;

use crate::bench::{HOB, write};

const RUN: &str = "/run";

/// A server that has its runs made there.
fn server(fly: &FakeFly, folder: &TempDir, more: &str) -> HobBuilder {
    let (file, token) = (
        folder.path().join("config.toml"),
        folder.path().join("token"),
    );
    write(&token, &format!("{FLY_TOKEN}\n"));
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = format!(
        "[sandbox]\nenabled = true\npool.size = 1\n[sandbox.fly]\napp = \"{FLY_APP}\"\n\
         image = \"registry.fly.io/workers:1\"\nregion = \"fra\"\npool = \"box\"\n\
         token_file = {token:?}\napi = \"{}\"\nworkers = \"{}\"\n{more}\n",
        fly.api(),
        fly.flycast(),
    );
    write(&file, &settings);
    Hob::builder(HOB).args([OsStr::new("--config"), file.as_os_str()])
}

fn roster(data: &Path) -> String {
    fs::read_to_string(data.join(format!("fly-{FLY_APP}.json"))).unwrap()
}

#[test]
fn a_run_is_made_on_a_machine_that_is_stopped_after_it() {
    let (fly, folder) = (FakeFly::start(), tempfile::tempdir().unwrap());
    let mut hob = server(&fly, &folder, "").start();
    let answer = hob.post(RUN, "echo <hi>\nexit 3").expect(200);
    let expected =
        "event: stdout\ndata: \"\\u003chi\\u003e\\n\"\n\nevent: exit\ndata: {\"code\":3}\n\n";
    assert_eq!(answer.text(), expected);
    let machines = fly.machines();
    assert_eq!(machines.len(), 1);
    assert!(machines[0].name.starts_with("worker-box-"));
    assert_eq!(answer.header("worker"), machines[0].id);
    assert_eventually!(fly.machines()[0].state == "stopped");
    assert!(roster(hob.data()).contains(&machines[0].id));
    assert_eq!(
        hob.post("/run?raw=1", "echo a").expect(200).text(),
        "a\n\nexit: 0\n"
    );
    assert_eq!(fly.machines().len(), 1);
    assert!(!hob.log().contains(FLY_TOKEN), "{}", hob.log());
    hob.stop();
    assert!(fly.running().is_empty());
}

#[test]
fn after_a_crash_the_next_server_stops_what_ran_and_goes_on_with_it() {
    let (fly, folder) = (FakeFly::start(), tempfile::tempdir().unwrap());
    let mut hob = server(&fly, &folder, "").start();
    let address = hob.address();
    let mut hung = std::net::TcpStream::connect(address).unwrap();
    let request = "POST /run HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nhang";
    std::io::Write::write_all(&mut hung, request.as_bytes()).unwrap();
    assert_eventually!(fly.runs().len() == 1);
    hob.kill();
    assert_eq!(fly.running().len(), 1);
    hob.restart();
    assert_eventually!(fly.running().is_empty());
    assert_eq!(
        hob.post("/run?raw=1", "echo a").expect(200).text(),
        "a\n\nexit: 0\n"
    );
    assert_eq!(fly.machines().len(), 1);
    hob.stop();
    assert!(fly.running().is_empty());
}

#[test]
fn machines_are_destroyed_with_the_server_where_that_is_wanted() {
    let (fly, folder) = (FakeFly::start(), tempfile::tempdir().unwrap());
    let mut hob = server(&fly, &folder, "close = \"destroy\"").start();
    hob.post(RUN, "echo hi").expect(200);
    hob.stop();
    assert!(fly.machines().is_empty());
}
