use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    answer::{self, Answer},
    eventually::wait_until,
};

/// Longest wait for it to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The program that [`Prometheus`] runs.
pub const PROMETHEUS_PROGRAM: &str = "prometheus";

/// A real Prometheus on a free port, which scrapes one target every second.
/// It and all that it keeps goes when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts it. See [`crate::has_programs`] for whether it can.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn scraping(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: hob\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, text).expect("its configuration");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let log = fs::File::create(folder.path().join("log")).expect("its log");
        let child = Command::new(PROMETHEUS_PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let prometheus = Self {
            child: child.expect("prometheus starts"),
            address,
            folder,
        };
        let ready = || {
            let answer = prometheus.get("/-/ready");
            answer.is_some_and(|answer| answer.status == StatusCode::OK)
        };
        if !wait_until(START_TIMEOUT, ready) {
            let log = fs::read_to_string(prometheus.folder.path().join("log"));
            panic!("prometheus does not come up:\n{}", log.unwrap_or_default());
        }
        prometheus
    }

    /// The samples that a query gives now: the labels of each and its value.
    ///
    /// # Panics
    /// When the query is refused.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        let answer = answer.expect("prometheus answers").expect(200).json();
        let data = &answer["data"];
        let sample = |labels: &Value, sample: &Value| {
            let value = sample[1].as_str().expect("a value");
            (labels.clone(), value.parse().expect("a number"))
        };
        if data["resultType"] == "scalar" {
            return vec![sample(&Value::Null, &data["result"])];
        }
        let samples = data["result"].as_array().expect("samples").iter();
        samples
            .map(|one| sample(&one["metric"], &one["value"]))
            .collect()
    }

    fn get(&self, path: &str) -> Option<Answer> {
        let request = Request::builder().uri(path).body(Bytes::new());
        answer::send(self.address, request.expect("a valid request"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
