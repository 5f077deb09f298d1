use std::{fs, net::TcpListener, path::Path, process::Command, thread};

use hob_testkit::{Cli, Hob, has_programs};

use super::{can_test, curl};
use crate::bench::{HOB, write};

#[test]
fn a_restart_refuses_no_connection_at_the_sockets_that_systemd_holds() {
    if !can_test() {
        return;
    }
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (tls, redirect) = (listen(), listen());
    let (tls_at, redirect_at) = (tls.local_addr().unwrap(), redirect.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let other = listen().local_addr().unwrap();
    write(
        &config,
        &format!("[tls]\nlisten = \"{other}\"\nredirect = \"{redirect_at}\"\nown = true\n"),
    );
    let hob = Hob::builder(HOB).env("HOB_CONFIG", config);
    let mut hob = hob.holds("tls", tls).holds("redirect", redirect).start();
    let banner = hob.banner().join("\n");
    assert!(
        banner.contains(&format!("tls        https://{tls_at}")),
        "{banner}"
    );
    assert!(
        banner.contains(&format!("redirect   http://{redirect_at}")),
        "{banner}"
    );
    let warning = format!("`tls.listen {other}` has no effect: systemd passed a socket");
    assert!(banner.contains(&warning), "{banner}");
    assert!(!banner.contains("`tls.redirect"), "{banner}");

    let root = hob.data().join("pki/ca.pem");
    let url = "https://localhost/healthz";
    curl(tls_at, &root, url, &[]).ok();
    hob.kill();
    let waits = thread::spawn({
        let root = root.clone();
        move || curl(tls_at, &root, url, &[]).ok()
    });
    hob.restart();
    assert!(waits.join().unwrap().contains("200"));
}

#[test]
fn hob_install_has_systemd_hold_the_sockets_for_tls() {
    if !has_programs(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let table = "[tls]\nlisten = \"0.0.0.0:443\"\nredirect = \"0.0.0.0:80\"\nown = true\n";
    write(&config, table);
    let units = folder.path().join("units");
    let install = |config: &Path| {
        let cli = Cli::new(Path::new(HOB))
            .args(["install", "--unit-dir"])
            .args([&units]);
        let cli = cli.args(["--config"]).args([config]);
        cli.env("HOB_DATA", folder.path().join("data")).run().ok()
    };
    let said = install(&config);
    let names = ["hob-tls.socket", "hob-redirect.socket"];
    for (name, expected) in names.iter().zip([
        "ListenStream=0.0.0.0:443\nFileDescriptorName=tls\n",
        "ListenStream=0.0.0.0:80\nFileDescriptorName=redirect\n",
    ]) {
        assert!(said.contains(name), "{said}");
        let text = fs::read_to_string(units.join(name)).unwrap();
        assert!(text.contains(expected), "{text}");
    }
    let service = fs::read_to_string(units.join("hob.service")).unwrap();
    let sockets = "Sockets=hob.socket hob-metrics.socket hob-tls.socket hob-redirect.socket\n";
    assert!(service.contains(sockets), "{service}");
    let runtime = tempfile::tempdir().unwrap();
    let files = fs::read_dir(&units).unwrap().map(|one| one.unwrap().path());
    let verified = Command::new("systemd-analyze")
        .env("XDG_RUNTIME_DIR", runtime.path())
        .args(["--system", "verify"])
        .args(files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("hob"), "{said}");

    // Without TLS they go.
    let said = install(Path::new("/dev/null"));
    assert!(
        said.contains("removed    ") && !units.join(names[0]).exists(),
        "{said}"
    );
}
