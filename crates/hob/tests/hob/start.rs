//! Starting, and what stands in the way of it.

use std::{fs, net::TcpListener, path::Path};

use hob_testkit::{Cli, Hob};

use crate::bench::{Bench, HOB, write};

fn up(data: &Path, args: &[&str]) -> hob_testkit::Outcome {
    let command = Cli::new(Path::new(HOB)).args(["up", "--data"]);
    command.args([data]).args(args).run()
}

#[test]
fn the_start_tells_what_there_is_and_the_password_only_once() {
    let mut bench = Bench::new();
    let banner = bench.hob.banner().join("\n");
    let data = bench.hob.data().display().to_string();
    for expected in [
        concat!("hob ", env!("CARGO_PKG_VERSION")),
        &data,
        "isolation",
        "password",
    ] {
        assert!(banner.contains(expected), "no {expected} in {banner}");
    }
    let password = bench.hob.password().to_owned();
    assert!(
        !bench.hob.log().contains(&password),
        "a log keeps what was to be shown once"
    );
    bench.hob.stop();
    bench.hob.restart();
    let banner = bench.hob.banner().join("\n");
    assert!(!banner.contains("password"), "{banner}");
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_on() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = up(data.path(), &["--listen", &address]).fails(1);
    assert!(line.contains(&format!("{address} is taken")), "{line}");
    assert!(
        line.contains("ss -ltnp") && line.contains("--listen 127.0.0.1:"),
        "{line}"
    );
    assert_eq!(
        fs::read_dir(data.path()).unwrap().count(),
        0,
        "nothing was begun"
    );
}

#[test]
fn a_data_directory_has_one_server() {
    let bench = Bench::new();
    let line = up(bench.hob.data(), &["--listen", "127.0.0.1:0"]).fails(1);
    let data = bench.hob.data().display().to_string();
    assert!(line.contains(&data), "{line}");
    assert!(line.contains(&bench.hob.pid().to_string()), "{line}");
    // The first one did not notice.
    bench.hob.cli(["status"]).ok();
}

#[test]
fn a_data_directory_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    write(&file, "x");
    let line = up(&file, &["--listen", "127.0.0.1:0"]).fails(1);
    assert!(line.contains(&file.display().to_string()), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "x");
}

#[test]
fn a_setting_comes_from_the_flag_the_variable_or_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    write(&file, "isolation = \"process\"\nlog = \"hob=trace\"\n");
    let config = ["--config", file.to_str().unwrap()];
    let isolation = |hob: &Hob| hob.cli(["status", "-o", "json"]).json()["isolation"].clone();

    let hob = Hob::builder(HOB).args(config).start();
    assert_eq!(isolation(&hob), "process");
    drop(hob);
    let hob = Hob::builder(HOB)
        .args(config)
        .env("HOB_ISOLATION", "container");
    let hob = hob.start();
    assert_eq!(isolation(&hob), "container");
    drop(hob);
    let hob = Hob::builder(HOB)
        .env("HOB_ISOLATION", "container")
        .args(["--isolation", "process"])
        .start();
    assert_eq!(isolation(&hob), "process");
}

#[test]
fn a_bad_configuration_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let path = file.to_str().unwrap();
    for (text, expected) in [
        ("\nlisten_on = \"x\"\n", ":2: unknown field `listen_on`"),
        ("listen = 8080\n", ":1: "),
    ] {
        write(&file, text);
        let line = up(folder.path(), &["--config", path]).fails(64);
        assert!(line.contains(path) && line.contains(expected), "{line}");
    }
    let line = up(folder.path(), &["--config", "/nonexistent.toml"]).fails(64);
    assert!(line.contains("/nonexistent.toml"), "{line}");
}

#[test]
fn a_server_for_everybody_warns() {
    let hob = Hob::builder(HOB).args(["--listen", "0.0.0.0:0"]);
    let hob = hob.start();
    let banner = hob.banner().join("\n");
    assert!(
        banner.contains("warning: ") && banner.contains("0.0.0.0"),
        "{banner}"
    );
}
