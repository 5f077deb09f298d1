use std::{collections::BTreeSet, process::Command};

use hob_testkit::has_programs;
use serde_json::Value;

use super::{can_test, doors, with_tls};

/// Everything that it knows to ask of a server, but for what needs a public one.
const CHECKS: [&str; 15] = [
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--heartbleed",
    "--robot",
    "--openssl_ccs",
    "--compression",
    "--fallback",
    "--reneg",
    "--early_data",
    "--elliptic_curves",
    "--ems",
];

#[test]
fn sslyze_finds_nothing_weak() {
    // `make test` installs it.
    if !can_test() || !has_programs(&["sslyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hob = with_tls(folder.path(), "own = true").start();
    let (tls, _) = doors(&hob);
    let report = folder.path().join("report.json");
    let output = Command::new("sslyze")
        .args(CHECKS)
        .args([
            "--mozilla_config",
            "disable",
            "--sni",
            "localhost",
            "--quiet",
        ])
        .arg(format!("--json_out={}", report.display()))
        .arg(tls.to_string())
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&report);
    let text = text.unwrap_or_else(|_| panic!("{output:?}"));
    let report: Value = serde_json::from_str(&text).unwrap();
    let result = &report["server_scan_results"][0]["scan_result"];
    assert!(result.is_object(), "{text}");
    let of = |check: &str| {
        let one = &result[check];
        assert_eq!(one["status"], "COMPLETED", "{check}: {one}");
        one["result"].clone()
    };

    let suites = |check: &str| -> BTreeSet<String> {
        let accepted = of(check)["accepted_cipher_suites"].clone();
        let accepted = accepted.as_array().unwrap().iter();
        let names = accepted.map(|one| one["cipher_suite"]["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert!(suites(&format!("{old}_cipher_suites")).is_empty(), "{old}");
    }
    let (tls_1_2, tls_1_3) = (
        suites("tls_1_2_cipher_suites"),
        suites("tls_1_3_cipher_suites"),
    );
    assert!(
        !tls_1_2.is_empty() && tls_1_3.len() == 3,
        "{tls_1_2:?} {tls_1_3:?}"
    );
    for suite in &tls_1_2 {
        // Ephemeral keys, and a cipher that authenticates.
        assert!(suite.starts_with("TLS_ECDHE_"), "{suite}");
        assert!(
            suite.contains("_GCM_") || suite.contains("CHACHA20_POLY1305"),
            "{suite}"
        );
    }

    assert_eq!(of("heartbleed")["is_vulnerable_to_heartbleed"], false);
    assert_eq!(
        of("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"],
        false
    );
    let robot = of("robot")["robot_result"].clone();
    assert!(
        robot.as_str().unwrap().starts_with("NOT_VULNERABLE"),
        "{robot}"
    );
    assert_eq!(of("tls_compression")["supports_compression"], false);
    let renegotiation = of("session_renegotiation");
    assert_eq!(
        renegotiation["is_vulnerable_to_client_renegotiation_dos"],
        false
    );
    assert_eq!(renegotiation["supports_secure_renegotiation"], true);
    assert_eq!(of("tls_1_3_early_data")["supports_early_data"], false);
    assert_eq!(
        of("tls_extended_master_secret")["supports_ems_extension"],
        true
    );
}
