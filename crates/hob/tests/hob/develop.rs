//! `hob dev`: one function in the foreground, built anew on every change.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use hob_testkit::{Cli, has_programs};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{HOB, handler, write};

/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(30);

struct Dev {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    url: String,
}

impl Dev {
    fn start(folder: &Path, temporary: &Path, args: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let mut child = Cli::new(Path::new(HOB))
            .args(["dev", "--listen", &address])
            .args(args)
            .args([folder])
            .env("TMPDIR", temporary)
            .into_command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let other = sender.clone();
        thread::spawn(move || pass_on(stdout, &sender));
        thread::spawn(move || pass_on(stderr, &other));
        Self {
            child,
            lines,
            seen: Vec::new(),
            url: format!("http://{address}/function/hello"),
        }
    }

    #[track_caller]
    fn expect(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("no {text} in {:#?}", self.seen),
            }
        }
    }

    fn call(&self) -> String {
        let output = std::process::Command::new("curl")
            .args(["-sS", "-d", "x", &self.url])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Ctrl-C.
    fn interrupt(mut self) -> i32 {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

fn pass_on(from: impl std::io::Read, to: &std::sync::mpsc::Sender<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let _ = to.send(line);
    }
}

#[test]
fn a_change_is_live_a_mistake_is_not_and_nothing_stays() {
    if !has_programs(&["python3", "curl"]) {
        return;
    }
    let here = tempfile::tempdir().unwrap();
    let temporary = here.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let folder = here.path().join("hello");
    let file = folder.join("handler.py");
    write(&file, &handler("print('spoke up')\nreturn 'one'"));
    let mut dev = Dev::start(&folder, &temporary, &[]);
    let url = dev.url.clone();
    dev.expect(&format!("hello is live at {url} "));
    assert_eq!(dev.call(), "one");
    dev.expect("spoke up");

    write(&file, &handler("return 'two'"));
    dev.expect("handler.py changed");
    dev.expect("hello is live at");
    assert_eq!(dev.call(), "two");

    write(&file, "def handle(:\n");
    dev.expect("SyntaxError");
    dev.expect("waiting for a change");
    assert_eq!(dev.call(), "two");

    write(&file, &handler("return 'three'"));
    dev.expect("hello is live at");
    assert_eq!(dev.call(), "three");

    assert_eq!(dev.interrupt(), 0);
    assert_eq!(
        fs::read_dir(&temporary).unwrap().count(),
        0,
        "the data directory is gone"
    );
}

#[test]
fn it_brings_secrets_from_a_folder() {
    if !has_programs(&["python3", "curl"]) {
        return;
    }
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("hello");
    let read = "return open('/var/openfaas/secrets/key').read()";
    write(&folder.join("handler.py"), &handler(read));
    write(&folder.join("hob.toml"), "secrets = [\"key\"]\n");
    write(&here.path().join("secrets/key"), "for development");
    let secrets = here.path().join("secrets");
    let args = ["--secrets", secrets.to_str().unwrap()];
    let mut dev = Dev::start(&folder, here.path(), &args);
    dev.expect("hello is live at");
    assert_eq!(dev.call(), "for development");
    assert_eq!(dev.interrupt(), 0);
}

#[test]
fn what_cannot_be_run_ends_it_at_once_with_the_cure() {
    let dev = |args: &[&str]| Cli::new(Path::new(HOB)).args(["dev"]).args(args).run();
    let line = dev(&["/nonexistent/hello"]).fails(1);
    assert!(line.contains("/nonexistent/hello does not exist"), "{line}");

    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("hello");
    write(&folder.join("index.html"), "hi");
    let folder = folder.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = dev(&[folder, "--listen", &address]).fails(1);
    assert!(line.contains(&format!("{address} is taken")), "{line}");

    let said = dev(&[folder, "--log", "hob=nonsense"]);
    assert_eq!(said.code, 64, "{said:?}");
    let line = dev(&[
        folder,
        "--listen",
        "127.0.0.1:0",
        "--secrets",
        "/nonexistent",
    ])
    .fails(1);
    assert!(line.contains("/nonexistent"), "{line}");
}
