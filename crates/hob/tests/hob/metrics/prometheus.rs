//! What Prometheus's own programs make of it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use hob_testkit::{PROMETHEUS_PROGRAM, Prometheus, assert_eventually, has_programs};

use crate::bench::Bench;

#[test]
fn promtool_finds_nothing_to_mend() {
    if !has_programs(&["promtool"]) {
        return;
    }
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "hi"));
    bench.hob.get("/function/welcome/").expect(200);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let mut promtool = promtool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(bench.hob.metrics().as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // OpenFaaS's own name, which dashboards ask for.
    let rest: Vec<_> = said
        .lines()
        .filter(|line| {
            !line.starts_with("gateway_function_invocation_started counter metrics should")
        })
        .collect();
    assert!(rest.is_empty(), "{said}");
}

#[test]
fn a_prometheus_answers_what_the_dashboard_asks() {
    if !has_programs(&["python3", PROMETHEUS_PROGRAM]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&bench.python("hello", "return 'hi'"));
    hob.get("/function/hello").expect(200);
    let prometheus = Prometheus::scraping(hob.metrics_address().unwrap());
    let one = |query: &str| {
        let found = prometheus.query(query);
        let own = |labels: &serde_json::Value| {
            labels.is_null() || labels["function_name"] == "hello.openfaas-fn"
        };
        let value = found.first().map(|(_, value)| *value);
        value.filter(|_| found.iter().all(|(labels, _)| own(labels)))
    };
    // The four of the public board.
    assert_eventually!(one("gateway_service_count") == Some(1.0));
    let total = "scalar(sum(gateway_function_invocation_total{code=\"200\"}))";
    assert_eventually!(one(total) == Some(1.0));
    // Rates need calls between two scrapes.
    let rate = "rate(gateway_function_invocation_total[20s])";
    assert_eventually!({
        hob.get("/function/hello").expect(200);
        one(rate).is_some_and(|rate| rate > 0.0)
    });
    let mean =
        "rate(gateway_functions_seconds_sum[20s])/rate(gateway_functions_seconds_count[20s])";
    assert_eventually!(one(mean).is_some_and(|mean| mean > 0.0 && mean < 10.0));
    let quantile = "histogram_quantile(0.99, sum(rate(gateway_functions_seconds_bucket[20s])) by (le, function_name))";
    assert_eventually!(one(quantile).is_some_and(|most| most > 0.0));
}
