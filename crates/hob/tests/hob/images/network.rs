//! Images in networks of their own, on a machine that the test makes up.

use std::{fs, net::TcpStream, sync::Arc};

use hob_testkit::{Hob, Net, has_programs};

use super::desk::{Recipe, hob};

pub(crate) const NEEDED: [&str; 5] = ["busybox", "ip", "nft", "unshare", "nsenter"];

/// Asks somebody else, by CGI: the query is the address.
const ASK: &str = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\n\
    timeout 3 wget -q -O - \"http://$QUERY_STRING\" 2>&1 || echo failed\n";

#[test]
fn functions_reach_the_gateway_and_each_other_by_name_and_nobody_reaches_them() {
    if !has_programs(&NEEDED) {
        return;
    }
    let net = Arc::new(Net::new());
    let recipe = Recipe {
        files: &[
            ("www/cgi-bin/ask", ASK),
            ("www/cgi-bin/ip", "#!/bin/sh\necho\nip addr\n"),
        ],
        ..Recipe::default()
    };
    let hob = hob(&[recipe]).inside(&net).start();
    for name in ["one", "two"] {
        hob.cli(["deploy", "--image", "local.test/hello:1", "--name", name])
            .ok();
    }
    let ask = |what: &str| {
        let path = format!("/function/one/cgi-bin/ask?{what}");
        hob.get(&path).expect(200).text().to_owned()
    };
    let page = "hello from an image\n";
    assert_eq!(ask("gateway.openfaas:8080/function/two/"), page);
    assert_eq!(
        ask("gateway.openfaas.svc.cluster.local:8080/function/two/"),
        page
    );
    assert_eq!(ask("two.openfaas-fn:8080/"), page);
    assert_eq!(
        ask("two.openfaas-fn.svc.cluster.local:8080/index.html"),
        page
    );
    assert_eq!(ask("gateway.openfaas:8080/healthz"), "ok\n");
    // The control API asks for its password here as well.
    assert!(ask("gateway.openfaas:8080/hob/v1/status").contains("401"));

    let seen = hob.get("/function/two/cgi-bin/ip").expect(200);
    let address = seen
        .text()
        .split_whitespace()
        .find(|word| word.starts_with("10.62."))
        .and_then(|word| word.split('/').next())
        .unwrap()
        .to_owned();
    assert!(
        ask(&format!("{address}:8080/")).contains("failed"),
        "not from another function"
    );
    let timeout = std::time::Duration::from_secs(2);
    let target = format!("{address}:8080").parse().unwrap();
    let reached = net.enter(|| TcpStream::connect_timeout(&target, timeout).is_ok());
    assert!(!reached, "not from the machine's other programs");

    // A function that comes later is known to those that run.
    hob.cli(["deploy", "--image", "local.test/hello:1", "--name", "three"])
        .ok();
    assert_eq!(ask("three.openfaas-fn:8080/"), page);
    hob.cli(["remove", "three"]).ok();
    assert!(ask("three.openfaas-fn:8080/").contains("failed"));

    let mut hob = hob;
    hob.stop();
    let links = net.command("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    assert_eq!(links.lines().count(), 1, "only lo is left:\n{links}");
    let tables = net
        .command("nft")
        .args(["list", "tables"])
        .output()
        .unwrap();
    assert!(tables.stdout.is_empty(), "{tables:?}");
}

#[test]
fn images_of_a_killed_server_go_on_in_their_networks() {
    if !has_programs(&NEEDED) {
        return;
    }
    let net = Arc::new(Net::new());
    let recipe = Recipe {
        files: &[("www/cgi-bin/ask", ASK)],
        ..Recipe::default()
    };
    let mut hob = hob(&[recipe]).inside(&net).start();
    for name in ["one", "two"] {
        hob.cli(["deploy", "--image", "local.test/hello:1", "--name", name])
            .ok();
    }
    let pids = |hob: &Hob| {
        ["one", "two"].map(|name| {
            let detail = hob.cli(["describe", name, "-o", "json"]).json();
            detail["instances"][0]["pid"].as_u64()
        })
    };
    let before = pids(&hob);
    hob.kill();
    hob.restart();
    assert_eq!(pids(&hob), before);
    let page = "hello from an image\n";
    let ask = |hob: &Hob, what: &str| {
        let path = format!("/function/one/cgi-bin/ask?{what}");
        hob.get(&path).expect(200).text().to_owned()
    };
    assert_eq!(hob.get("/function/one").expect(200).text(), page);
    assert_eq!(ask(&hob, "two.openfaas-fn:8080/"), page);
    // Beside them, new ones find room and are seen.
    hob.cli(["deploy", "--image", "local.test/hello:1", "--name", "three"])
        .ok();
    assert_eq!(ask(&hob, "three.openfaas-fn:8080/"), page);

    // What no record names is swept up.
    hob.kill();
    let records = fs::read_dir(hob.data().join("run/replicas")).unwrap();
    for record in records.flatten() {
        fs::remove_file(record.path()).unwrap();
    }
    hob.restart();
    assert_eq!(pids(&hob), [None, None]);
    assert_eq!(ask(&hob, "two.openfaas-fn:8080/"), page);
    hob.stop();
    let links = net.command("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    assert_eq!(links.lines().count(), 1, "only lo is left:\n{links}");
}
