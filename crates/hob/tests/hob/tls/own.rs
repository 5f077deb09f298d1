use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use hob_testkit::assert_eventually;

use super::{can_test, curl, doors, presented, with_tls};
use crate::bench::{Bench, write};

#[test]
fn the_own_authority_signs_for_the_server_and_for_every_domain_of_a_function() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let table = "own = true\ndomains = [\"hob.home.arpa\", \"192.168.7.7\"]";
    let hob = with_tls(folder.path(), table).start();
    let mut bench = Bench { hob, folder };
    let root = bench.hob.data().join("pki/ca.pem");
    let (tls, redirect) = doors(&bench.hob);
    for host in ["hob.home.arpa", "localhost", "127.0.0.1"] {
        let got = curl(tls, &root, &format!("https://{host}/healthz"), &[]);
        assert!(got.ok().contains("200"), "{host}");
    }
    assert!(presented(tls, "").contains("192.168.7.7"));

    // A function's domain gets its certificate while hob runs.
    let shop = bench.site("shop", "things");
    write(&shop.join("hob.toml"), "domain = [\"shop.home.arpa\"]\n");
    bench.deploy(&shop);
    let url = "https://shop.home.arpa/";
    assert_eventually!(curl(tls, &root, url, &[]).code == Some(0));
    assert!(curl(tls, &root, url, &[]).ok().ends_with("things"));
    let first = presented(tls, "shop.home.arpa");
    assert!(
        first.contains("DNS:shop.home.arpa") && !first.contains("hob.home.arpa"),
        "{first}"
    );
    let sent = curl(redirect, &root, "http://shop.home.arpa/", &[]);
    assert!(sent.text.contains("308"), "{sent:?}");
    let table = bench.hob.cli(["certificate", "list"]).ok();
    assert!(
        table.contains("shop.home.arpa") && table.contains("own"),
        "{table}"
    );

    // What the server itself is called is no function's, or that would be told its passwords.
    let thief = bench.site("thief", "mine");
    for domain in ["hob.home.arpa", "HOB.home.arpa/system", "gateway.openfaas"] {
        write(&thief.join("hob.toml"), &format!("domain = \"{domain}\"\n"));
        let line = bench.hob.cli(["deploy", thief.to_str().unwrap()]).fails(1);
        assert!(line.contains("is this server's own name"), "{line}");
    }
    let url = "https://hob.home.arpa/system/functions";
    assert!(curl(tls, &root, url, &[]).ok().contains("401"));

    // It is the same one after a restart, and gone with its function.
    bench.hob.kill();
    let own = bench.hob.data().join("pki/own");
    // Another one was cut short, and of a third the host is long gone.
    write(&own.join("hob.home.arpa.pem"), "-----BEGIN CERT");
    let gone = own.join("gone.home.arpa.pem");
    write(&gone, "");
    let long_ago = SystemTime::now() - Duration::from_secs(91 * 24 * 3600);
    let file = File::options().write(true).open(&gone).unwrap();
    file.set_modified(long_ago).unwrap();
    bench.hob.restart();
    let (tls, _) = doors(&bench.hob);
    assert_eq!(presented(tls, "shop.home.arpa"), first);
    let got = curl(tls, &root, "https://hob.home.arpa/healthz", &[]);
    assert!(got.ok().contains("200"));
    assert_eventually!(!gone.exists());
    bench.hob.cli(["remove", "shop"]).ok();
    assert_eventually!(presented(tls, "shop.home.arpa").contains("hob.home.arpa"));
}
