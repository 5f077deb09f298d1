//! One-shot cages with a kernel of their own.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    time::{Duration, Instant},
};

use hob_model::{EndReason, sandbox::SandboxLevel};
use hob_sandbox::{Able, OneShot, OneShotSpec, Program, ReadyCage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Test, oneshot_left,
    stranger::{self, Ran, finish, program, wait},
    yard::{PATIENCE, Yard, eventually, has, is_root, skip},
};

pub(crate) const TESTS: &[Test] = &[
    ("levels::gvisor_runs_a_script_end_to_end", script),
    ("levels::gvisor_tells_exit_codes_and_signals", codes),
    (
        "levels::gvisor_shows_nothing_of_the_host",
        nothing_of_the_host,
    ),
    ("levels::gvisor_bounds_files_and_memory", bounds),
    (
        "levels::gvisor_keeps_the_first_process_from_the_program",
        first_process,
    ),
    ("levels::gvisor_kills_a_fork_bomb", fork_bomb),
    ("levels::gvisor_says_what_cannot_run", cannot_run),
    ("levels::gvisor_is_gone_when_it_is_not_used", unused),
    (
        "levels::gvisor_ends_with_its_daemon_and_is_cleaned_up",
        without_daemon,
    ),
    (
        "levels::a_runtime_with_the_hosts_kernel_is_refused",
        host_kernel,
    ),
    ("levels::vm_is_made_or_refused_with_its_reason", vm),
];

/// What a kill may take on an idle machine is 50 ms; the tests' machines are busy.
const DEAD: Duration = Duration::from_millis(500);

fn spec(level: SandboxLevel, id: &str) -> OneShotSpec {
    let spec = stranger::spec(id);
    OneShotSpec { level, ..spec }
}

fn shell(script: &str) -> Program {
    program(&["bash", "-c", script])
}

/// Where gVisor is.
fn yard(test: &str) -> Option<Yard> {
    let able = has("runsc") && (is_root() || skip("gVisor's cages need root"));
    able.then(|| Yard::new(test))
}

fn ready(yard: &Yard, id: &str) -> ReadyCage {
    let ready = yard.sandbox().prepare(spec(SandboxLevel::Gvisor, id));
    ready.unwrap_or_else(|error| panic!("{error}"))
}

fn start(yard: &Yard, program: &Program) -> OneShot {
    let running = ready(yard, "one").start(program);
    running.unwrap_or_else(|error| panic!("{error}"))
}

fn run(yard: &Yard, program: &Program) -> Ran {
    finish(start(yard, program))
}

fn writes_something(running: &OneShot) {
    let stdout = running.stdout.as_ref().unwrap();
    let mut news = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut news, Some(&patience)), Ok(1), "it says nothing");
}

fn script() {
    let Some(yard) = yard("script") else { return };
    let mut program = shell("pwd; id -u; cat; cat a/file; uname -rv; echo oh >&2; exit 3");
    program
        .files
        .push(("a/file".into(), b"in a folder\n".to_vec()));
    program.stdin = b"one\ntwo\n".repeat(20_000);
    let began = Instant::now();
    let ready = ready(&yard, "one");
    let prepared = began.elapsed();
    let running = ready.start(&program).unwrap();
    let started = began.elapsed() - prepared;
    let ran = finish(running);
    let all = began.elapsed();
    println!(
        "  ready after {prepared:?}, started in {started:?}, all in {all:?}; {:?}",
        ran.usage
    );
    let text = ran.text();
    let stdin = String::from_utf8(program.stdin).unwrap();
    let rest = text.strip_prefix("/box\n1000\n").unwrap();
    let rest = rest.strip_prefix(&stdin).unwrap();
    let kernel = rest.strip_prefix("in a folder\n").unwrap();
    let own = rustix::system::uname();
    assert!(
        !kernel.starts_with(own.release().to_str().unwrap()),
        "{kernel}"
    );
    assert_eq!(ran.errors(), "oh\n");
    assert_eq!((ran.end.code, ran.end.signal), (3, None));
    assert_eq!(ran.end.end.reason, EndReason::Exit);
    assert!(ran.usage.memory.is_some_and(|bytes| bytes > 0));
    assert!(ran.usage.cpu.is_some_and(|cpu| !cpu.is_zero()));
}

fn codes() {
    let Some(yard) = yard("codes") else { return };
    for (script, code, signal, reason) in [
        ("exit 0", 0, None, EndReason::Ok),
        ("exit 137", 137, None, EndReason::Exit),
        ("kill -9 $$", -1, Some(9), EndReason::Exit),
        ("kill -SEGV $$", -1, Some(11), EndReason::Exit),
        // What goes on in the background ends with it.
        (
            "(setsid sleep 1000 &); sleep 1000 & exit 7",
            7,
            None,
            EndReason::Exit,
        ),
    ] {
        let ran = run(&yard, &shell(script));
        let found = (ran.end.code, ran.end.signal, ran.end.end.reason);
        assert_eq!(found, (code, signal, reason), "{script}: {}", ran.errors());
    }
}

fn nothing_of_the_host() {
    let Some(yard) = yard("host") else { return };
    let secret = yard.path("secret");
    fs::write(&secret, "HOST").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "cat {}; ls /.hob && echo ENTERED; ls /root /home; cat /etc/shadow && echo READ; \
         for to in 127.0.0.1/{port} 169.254.169.254/80; do (echo > /dev/tcp/$to) && echo REACHED; done; \
         for folder in / /usr /etc /dev /root /home; do touch $folder/x && echo WROTE $folder; done; \
         env | cut -d= -f1 | sort | tr '\\n' ' '; grep Cap /proc/self/status | grep -v 0000000000000000; \
         mount -t tmpfs x /tmp && echo MOUNTED; echo /usr/local/etc/* /usr/src/*; hostname; cut -d: -f1 /etc/passwd",
        secret.display()
    );
    let ran = run(&yard, &shell(&script));
    let expected =
        "HOME PATH PWD SHLVL _ /usr/local/etc/* /usr/src/*\nsandbox\nroot\nsandbox\nnobody\n";
    assert_eq!(ran.text(), expected, "{}", ran.errors());
}

fn bounds() {
    let Some(yard) = yard("bounds") else { return };
    // One size for all places together.
    let fill = |first: &str, second: &str| {
        let script = format!(
            "for f in {first} {second}; do head -c 10000000 /dev/zero > $f/big; cat $f/big; done | wc -c; \
             cd {first}; pwd"
        );
        let text = run(&yard, &shell(&script)).text();
        let (bytes, folder) = text.trim().split_once('\n').unwrap();
        // What does not fit into the last page is not written.
        let room = 16_700_000..=16_777_216;
        assert!(room.contains(&bytes.parse().unwrap()), "{text}");
        assert_eq!(folder, first);
    };
    fill("/box", "/tmp");
    fill("/tmp", "/dev/shm");
    fill("/dev/shm", "/box");
    let mut program = shell("head -c 9000000 /dev/zero > big; wc -c < big");
    program.limits.tmp = 1 << 20;
    assert_eq!(run(&yard, &program).text(), "1048576\n");
    let hog = self::program(&["/usr/bin/python3", "-c", "x = bytearray(1 << 30)"]);
    let ran = run(&yard, &hog);
    assert_eq!(ran.end.end.reason, EndReason::Memory, "{ran:?}");
    assert_eq!(ran.end.code, -1);
}

fn first_process() {
    let Some(yard) = yard("first") else { return };
    let word = r#"'{"Ended":{"Exited":0}}'"#;
    let script = format!(
        "kill -9 1; kill -STOP 1; kill -TERM 1; ls /proc/1/fd; \
         echo {word} > /proc/1/fd/0; echo {word} > /dev/stdin; exit 9"
    );
    let ran = run(&yard, &shell(&script));
    assert_eq!(
        (ran.text().as_str(), ran.end.code),
        ("", 9),
        "{}",
        ran.errors()
    );
}

fn fork_bomb() {
    let Some(yard) = yard("bomb") else { return };
    let script =
        "trap '' TERM INT HUP; (setsid sleep 1000 &); echo on; b() { b | b & }; b; sleep 1000";
    let running = start(&yard, &shell(script));
    writes_something(&running);
    let began = Instant::now();
    running.kill();
    eventually("all are dead", || yard.processes().is_empty());
    let took = began.elapsed();
    println!("  dead after {took:?}");
    assert!(took < DEAD, "{took:?}");
    let end = wait(&running);
    assert_eq!(end.code, -1);
    let reasons = [EndReason::Cancelled, EndReason::Pids, EndReason::Memory];
    assert!(reasons.contains(&end.end.reason), "{end:?}");
}

fn cannot_run() {
    let Some(yard) = yard("cannot") else { return };
    let absent = ready(&yard, "one").start(&program(&["no-such-program"]));
    let error = absent.expect_err("refused");
    assert!(error.is_callers_fault(), "{error}");
    assert!(error.to_string().contains("no-such-program"), "{error}");
    let mut big = shell("true");
    big.files.push(("big".into(), vec![0; 17 << 20]));
    let error = ready(&yard, "two").start(&big).expect_err("refused");
    assert!(error.is_callers_fault(), "{error}");
}

fn unused() {
    let Some(yard) = yard("unused") else { return };
    let cage = ready(&yard, "one");
    assert!(!yard.processes().is_empty());
    assert!(cage.record().bundle.is_some_and(|bundle| bundle.is_dir()));
    drop(cage);
    assert_eq!(yard.processes(), Vec::<String>::new());
    assert!(!yard.path("state/oci/one").exists());
}

fn without_daemon() {
    let Some(yard) = yard("daemon") else { return };
    let name = format!("hob-test-{}-daemon-g", std::process::id());
    let records = oneshot_left::abandoned(&name, SandboxLevel::Gvisor);
    let groups = || records.iter().flat_map(|record| &record.cgroups);
    let lives = |folder| fs::read_to_string(folder).is_ok_and(|pids: String| !pids.is_empty());
    // Nobody tells the cages; they notice.
    eventually("the cages end", || {
        !groups().any(|folder| lives(folder.join("cgroup.procs")))
    });
    let bundle = records[0].bundle.clone().unwrap();
    assert!(bundle.exists());
    assert!(yard.sandbox().remove_orphan(&records[0]).unwrap());
    assert!(!bundle.exists());
    assert!(!yard.sandbox().remove_orphan(&records[0]).unwrap());
    let state = std::env::temp_dir().join(&name);
    let successor = oneshot_left::sandbox(&name, &state);
    assert_eq!(successor.sweep(&BTreeSet::new()).unwrap(), 1);
    assert!(!records[1].bundle.as_ref().unwrap().exists());
    drop(successor);
    fs::remove_dir_all(state).unwrap();
}

/// Called like gVisor's, it makes a cage as good as that of any container.
const PRETENDER: &str = "#!/bin/sh
for word; do case $word in --network=*|--ignore-cgroups|--overlay2=*) shift;; esac; done
exec runc \"$@\"
";

fn host_kernel() {
    let Some(yard) = yard("kernel") else { return };
    if !has("runc") {
        return;
    }
    let pretender = yard.path("runsc");
    fs::write(&pretender, PRETENDER).unwrap();
    fs::set_permissions(&pretender, fs::Permissions::from_mode(0o755)).unwrap();
    let mut spec = spec(SandboxLevel::Gvisor, "one");
    spec.runtime = Some(pretender.display().to_string());
    let error = yard.sandbox().prepare(spec).expect_err("weaker");
    let error = error.to_string();
    assert!(error.contains("weaker than level `gvisor`"), "{error}");
}

fn vm() {
    let yard = Yard::new("vm");
    let level = SandboxLevel::Vm;
    match yard.sandbox().able_oneshot(level, None) {
        Able::Yes => {
            let ready = yard.sandbox().prepare(spec(level, "one")).unwrap();
            let ran = finish(ready.start(&shell("echo hello; exit 3")).unwrap());
            assert_eq!((ran.text().as_str(), ran.end.code), ("hello\n", 3));
        }
        Able::No { why, cure } => {
            println!("  {why}; {cure}");
            assert!(why.contains("level `vm` needs"), "{why}");
            let error = yard
                .sandbox()
                .prepare(spec(level, "one"))
                .expect_err("refused");
            assert!(error.to_string().contains(&why), "{error}");
        }
    }
    let able = yard.sandbox().able_oneshot(level, Some("/usr/bin/no-such"));
    let Able::No { why, .. } = able else {
        panic!("{able:?}")
    };
    assert!(why.contains("no-such"), "{why}");
    if has("runsc") {
        let able = yard.sandbox().able_oneshot(level, Some("runsc"));
        assert!(!able.is_able(), "gVisor is no virtual machine");
    }
}
