//! One-shot cages with a kernel of their own.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hob_model::{EndReason, sandbox::SandboxLevel};
use hob_sandbox::{Able, CageLimits, OneShot, OneShotEnd, OneShotSpec, Program, ReadyCage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Test,
    yard::{self, PATIENCE, Yard, has, is_root, skip},
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
    ("levels::gvisor_ends_with_its_daemon", without_daemon),
    ("levels::gvisor_orphans_are_removed", orphans),
    (
        "levels::a_runtime_with_the_hosts_kernel_is_refused",
        host_kernel,
    ),
    ("levels::vm_is_made_or_refused_with_its_reason", vm),
];

const LIMITS: CageLimits = CageLimits {
    memory: 128 << 20,
    cpu_millis: 2000,
    pids: 64,
    tmp: 4 << 20,
    files: 256,
};

/// How long a killed cage may take to be dead.
const DEAD: Duration = Duration::from_millis(50);

fn spec(level: SandboxLevel, id: &str) -> OneShotSpec {
    OneShotSpec {
        id: id.into(),
        level,
        runtime: None,
        uid: 200_000,
        limits: LIMITS,
    }
}

fn shell(script: &str) -> Program {
    Program {
        argv: vec!["bash".into(), "script".into(), "a b".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        files: vec![("script".into(), script.into())],
        stdin: Vec::new(),
        limits: LIMITS,
    }
}

/// Where gVisor is.
fn yard() -> Option<Yard> {
    if !has("runsc") || !(is_root() || skip("gVisor's cages need root")) {
        return None;
    }
    Some(Yard::new("levels"))
}

fn ready(yard: &Yard, id: &str) -> ReadyCage {
    let ready = yard.sandbox().prepare(spec(SandboxLevel::Gvisor, id));
    ready.unwrap_or_else(|error| panic!("{error}"))
}

fn start(yard: &Yard, program: &Program) -> OneShot {
    let running = ready(yard, "one").start(program);
    running.unwrap_or_else(|error| panic!("{error}"))
}

/// What it said to stdout and stderr, and how it ended.
fn finish(mut running: OneShot) -> (String, String, OneShotEnd) {
    let read = |pipe: Option<OwnedFd>| text(&pipe.unwrap());
    let (stdout, stderr) = (read(running.stdout.take()), read(running.stderr.take()));
    (stdout, stderr, end(&running))
}

fn run(yard: &Yard, program: &Program) -> (String, String, OneShotEnd) {
    finish(start(yard, program))
}

fn end(running: &OneShot) -> OneShotEnd {
    wait(running.pidfd());
    running.try_end().unwrap().expect("ended")
}

fn wait(fd: BorrowedFd<'_>) {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ready = poll(
        &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
        Some(&patience),
    );
    assert_eq!(ready, Ok(1), "nothing comes");
}

fn text(pipe: &OwnedFd) -> String {
    let mut file = File::from(pipe.try_clone().unwrap());
    let mut bytes = Vec::new();
    loop {
        match file.read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(pipe.as_fd()),
            read => {
                read.unwrap();
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
}

fn script() {
    let Some(yard) = yard() else { return };
    let mut program = shell(
        "pwd; id -u; cat; echo $1 $A; cat inner/file; cat /proc/version; echo oh >&2; \
         readlink /proc/self/fd/0 >/dev/null; exit 3",
    );
    program.env.push(("A".into(), "x".into()));
    program
        .files
        .push(("inner/file".into(), b"in a folder\n".to_vec()));
    program.stdin = b"one\ntwo\n".repeat(20_000);
    let began = Instant::now();
    let ready = ready(&yard, "one");
    let prepared = began.elapsed();
    assert!(ready.record().bundle.is_some());
    let began = Instant::now();
    let running = ready.start(&program).unwrap();
    let started = began.elapsed();
    let (stdout, stderr, end) = finish(running);
    println!(
        "  prepared in {prepared:?}, started in {started:?}, all in {:?}",
        began.elapsed()
    );
    let stdin = String::from_utf8(program.stdin).unwrap();
    let rest = stdout.strip_prefix("/box\n12000\n").unwrap();
    let rest = rest.strip_prefix(&stdin).unwrap();
    assert!(
        rest.starts_with("a b x\nin a folder\nLinux version 4.4.0"),
        "{rest}"
    );
    assert_eq!(stderr, "oh\n");
    assert_eq!(
        (end.code, end.signal, end.end.reason),
        (3, None, EndReason::Exit)
    );
}

fn codes() {
    let Some(yard) = yard() else { return };
    for (script, code, signal, reason) in [
        ("exit 0", 0, None, EndReason::Ok),
        ("exit 137", 137, None, EndReason::Exit),
        ("kill -9 $$", -1, Some(9), EndReason::Exit),
        ("kill -SEGV $$", -1, Some(11), EndReason::Exit),
        // What goes on in the background ends with it.
        ("sleep 1000 & exit 7", 7, None, EndReason::Exit),
    ] {
        let running = start(&yard, &shell(script));
        wait(running.pidfd());
        assert!(running.usage().memory.is_some_and(|bytes| bytes > 0));
        assert!(running.usage().cpu.is_some_and(|cpu| !cpu.is_zero()));
        let (_, stderr, end) = finish(running);
        let found = (end.code, end.signal, end.end.reason);
        assert_eq!(found, (code, signal, reason), "{script}: {stderr}");
    }
}

fn nothing_of_the_host() {
    let Some(yard) = yard() else { return };
    let secret = yard.path("secret");
    std::fs::write(&secret, "host").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "cat {} ; ls /root /home /.hob 2>&1 | grep -v denied; cat /etc/shadow; \
         (echo > /dev/tcp/127.0.0.1/{port}) && echo REACHED; \
         (echo > /dev/tcp/169.254.169.254/80) && echo REACHED; \
         cut -d: -f1 /proc/net/dev | grep -v -e face -e Inter -e lo; touch /usr/x /etc/x && echo WROTE; \
         ls /proc/*/exe | wc -l; env | grep -v -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_=; \
         grep Cap /proc/self/status | grep -v 0000000000000000; mount -t tmpfs x /tmp && echo MOUNTED; \
         unshare -Ur true && echo UNSHARED; hostname",
        secret.display()
    );
    let (stdout, stderr, end) = run(&yard, &shell(&script));
    assert_eq!(end.code, 0, "{stderr}");
    println!("{stdout}\n--\n{stderr}");
    assert!(
        !stdout.contains("host\n") && stdout.ends_with("box\n"),
        "{stdout}"
    );
    assert!(
        !stdout.contains("REACHED") && !stdout.contains("WROTE"),
        "{stdout}"
    );
    assert!(!stdout.contains("MOUNTED"), "{stdout}");
}

fn bounds() {
    let Some(yard) = yard() else { return };
    let script = "head -c 8000000 /dev/zero > /box/big; head -c 8000000 /dev/zero > /tmp/big; \
                  stat -c %s /box/big /tmp/big";
    let (stdout, stderr, _) = run(&yard, &shell(script));
    println!("{stdout}{stderr}");
    for size in stdout.lines() {
        assert!(size.parse::<u64>().unwrap() <= LIMITS.tmp, "{stdout}");
    }
    let mut hog = shell("");
    hog.argv = vec![
        "python3".into(),
        "-c".into(),
        "x = bytearray(1 << 30)".into(),
    ];
    let (_, stderr, end) = run(&yard, &hog);
    assert_eq!(end.end.reason, EndReason::Memory, "{end:?} {stderr}");
    assert_eq!(end.code, -1);
    assert!(end.end.message.contains("134217728"), "{end:?}");
}

fn first_process() {
    let Some(yard) = yard() else { return };
    let script = "kill -9 1; kill -STOP 1; ls /proc/1/fd 2>/dev/null; cat /proc/1/environ 2>/dev/null; \
                  echo '{\"Ended\":{\"code\":0,\"signal\":null}}' > /proc/1/fd/0; \
                  echo '{\"Ended\":{\"code\":0,\"signal\":null}}' > /dev/stdin; exit 9";
    let (stdout, stderr, end) = run(&yard, &shell(script));
    assert_eq!((stdout.as_str(), end.code), ("", 9), "{stderr}");
}

fn fork_bomb() {
    let Some(yard) = yard() else { return };
    let script =
        "trap '' TERM INT HUP; echo on; (setsid sleep 1000 &) ; b() { b | b & }; b; sleep 1000";
    let mut running = start(&yard, &shell(script));
    let stdout = running.stdout.take().unwrap();
    wait(stdout.as_fd());
    let began = Instant::now();
    running.kill();
    while !yard.processes().is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", yard.processes());
    }
    let took = began.elapsed();
    println!("  dead after {took:?}");
    assert!(took < DEAD, "{took:?}");
    let end = end(&running);
    assert_eq!(end.code, -1);
    assert!(
        matches!(end.end.reason, EndReason::Cancelled | EndReason::Pids),
        "{end:?}"
    );
}

fn cannot_run() {
    let Some(yard) = yard() else { return };
    let mut program = shell("");
    program.argv = vec!["no-such-program".into()];
    let error = ready(&yard, "one").start(&program).expect_err("refused");
    assert!(error.is_callers_fault(), "{error}");
    assert!(error.to_string().contains("no-such-program"), "{error}");
    let mut program = shell("");
    program.files.push(("big".into(), vec![0; 8 << 20]));
    let error = ready(&yard, "two").start(&program).expect_err("refused");
    assert!(error.to_string().contains("write big"), "{error}");
}

fn unused() {
    let Some(yard) = yard() else { return };
    let cage = ready(&yard, "one");
    assert!(!yard.processes().is_empty());
    drop(cage);
    assert_eq!(yard.processes(), Vec::<String>::new());
    assert!(!yard.path("state/oci/one").exists());
}

/// Set for a process that is to be a daemon which is killed: to the folder of its cages.
pub(crate) const DAEMON: &str = "HOB_TEST_DAEMON";

/// Has a program run until it is killed itself.
pub(crate) fn daemon(state: &Path) -> ! {
    let sandbox = yard::sandbox(&daemon_name(state), state.to_owned());
    let ready = sandbox.prepare(spec(SandboxLevel::Gvisor, "one")).unwrap();
    let script = "trap '' HUP TERM; (setsid sleep 1000 &) ; echo on; sleep 1000";
    let running = ready.start(&shell(script)).unwrap();
    wait(running.stdout.as_ref().unwrap().as_fd());
    println!("on");
    loop {
        thread::park();
    }
}

fn daemon_name(state: &Path) -> String {
    let folder = state.parent().unwrap().file_name().unwrap();
    format!(
        "hob-test-daemon-{}",
        folder
            .to_string_lossy()
            .to_ascii_lowercase()
            .replace('.', "-")
    )
}

fn without_daemon() {
    let Some(yard) = yard() else { return };
    let state = yard.path("daemon");
    let mut daemon = Command::new("/proc/self/exe");
    let daemon = daemon.env(DAEMON, &state).stdout(Stdio::piped()).spawn();
    let mut daemon = daemon.unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "on\n");
    let name = daemon_name(&state);
    assert!(!yard::processes(&name).is_empty());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // Nobody tells the cage; it notices.
    yard::eventually("the cage ends", || yard::processes(&name).is_empty());
    assert!(state.join("oci/one").exists());
    let successor = yard::sandbox(&name, state.clone());
    assert_eq!(successor.sweep(&BTreeSet::new()).unwrap(), 1);
    assert!(!state.join("oci/one").exists());
}

fn orphans() {
    let Some(yard) = yard() else { return };
    let cage = ready(&yard, "one");
    let record = cage.record();
    let bundle = record.bundle.clone().unwrap();
    assert!(bundle.exists());
    drop(cage);
    // What `kill -9` leaves.
    std::fs::create_dir_all(bundle.join("state")).unwrap();
    assert!(yard.sandbox().remove_orphan(&record).unwrap());
    assert!(!bundle.exists());
    assert!(!yard.sandbox().remove_orphan(&record).unwrap());
}

fn host_kernel() {
    let Some(yard) = yard() else { return };
    if !has("runc") {
        return;
    }
    let mut spec = spec(SandboxLevel::Gvisor, "one");
    spec.runtime = Some("runc".into());
    let error = yard
        .sandbox()
        .prepare(spec)
        .expect_err("weaker")
        .to_string();
    println!("  {error}");
    assert!(error.contains("runc"), "{error}");
}

fn vm() {
    let yard = Yard::new("vm");
    let level = SandboxLevel::Vm;
    match yard.sandbox().able_oneshot(level, None) {
        Able::Yes => {
            let ready = yard.sandbox().prepare(spec(level, "one")).unwrap();
            let (stdout, _, end) = finish(ready.start(&shell("echo hello")).unwrap());
            assert_eq!((stdout.as_str(), end.code), ("hello\n", 0));
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
