//! One-shot cages: what a stranger's program sees and may do.

use std::{
    fs,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use hob_model::EndReason;
use hob_sandbox::SandboxError;

use crate::{
    Test,
    stranger::{LIMITS, UID, able, bash, prepare, program, refusal, run, start},
    yard::{Yard, has, is_root, skip},
};

pub(crate) const TESTS: &[Test] = &[
    ("oneshot::runs_a_program_once", runs),
    ("oneshot::every_namespace_is_its_own", namespaces),
    ("oneshot::has_no_rights_in_any_namespace", no_rights),
    ("oneshot::the_host_knows_it_as_its_uid", host_ids),
    ("oneshot::inherits_nothing", inherits_nothing),
    ("oneshot::reaches_nothing_but_itself", network),
    ("oneshot::refuses_system_calls", refuses),
    ("oneshot::limits_are_the_program_s", lower_limits),
    ("oneshot::errors_name_the_cause", errors),
    ("oneshot::languages_run", languages),
    ("oneshot::node_watches_files", watches),
];

pub(crate) fn yard(test: &str) -> Option<Yard> {
    let yard = Yard::new(test);
    able(&yard).then_some(yard)
}

fn runs() {
    let Some(yard) = yard("once") else { return };
    let mut program = program(&["sh", "-c", "echo out; echo err >&2; cat; exit 3"]);
    program.stdin = b"in\n".into();
    let ran = run(&yard, &program);
    assert_eq!(
        (ran.text().as_str(), ran.errors().as_str()),
        ("out\nin\n", "err\n")
    );
    assert_eq!((ran.end.code, ran.end.signal), (3, None));
    assert_eq!(ran.end.end.reason, EndReason::Exit);
    assert!(
        ran.usage.cpu.is_some_and(|cpu| !cpu.is_zero()),
        "{:?}",
        ran.usage
    );
    assert!(
        ran.usage.memory.is_some_and(|bytes| bytes > 0),
        "{:?}",
        ran.usage
    );
    assert_eq!(
        run(&yard, &self::program(&["true"])).end.end.reason,
        EndReason::Ok
    );
}

fn namespaces() {
    let Some(yard) = yard("spaces") else { return };
    for name in ["pid", "mnt", "net", "ipc", "uts", "cgroup", "user"] {
        let inside = bash(&yard, &format!("readlink /proc/self/ns/{name}")).text();
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(inside.starts_with(name), "{inside}");
        assert_ne!(inside.trim(), outside.display().to_string());
    }
    let text = bash(
        &yard,
        "hostname; sort -u -t: -k3 /proc/self/cgroup | cut -d: -f3; echo /proc/[0-9]*",
    )
    .text();
    // Its init, which is hob's, is out of sight.
    let mut lines = text.lines();
    assert_eq!(
        (lines.next(), lines.next()),
        (Some("sandbox"), Some("/")),
        "{text}"
    );
    assert!(
        !text.contains("/proc/1 ") && lines.next().is_some_and(|line| line.starts_with("/proc/")),
        "{text}"
    );
}

fn no_rights() {
    let Some(yard) = yard("rights") else { return };
    let status = bash(
        &yard,
        "cat /proc/self/status; cat /proc/self/setgroups /proc/self/uid_map /proc/self/gid_map",
    )
    .text();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(
        (field("Seccomp"), field("Seccomp_filters")),
        ("2".into(), "1".into())
    );
    assert_eq!(field("Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(field("Gid"), "1000\t1000\t1000\t1000");
    assert_eq!(field("Groups"), "");
    assert_eq!(
        (field("SigBlk"), field("SigIgn")),
        ("0000000000000000".into(), "0000000000000000".into())
    );
    let words: Vec<&str> = status
        .lines()
        .rev()
        .take(2)
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(words.len(), 6, "one user, one group: {words:?}");
    assert!(status.contains("\ndeny\n"), "{status}");
    let text = bash(&yard, "id -un; id -gn; id -u; echo ~; pwd; stat -c %U /box").text();
    assert_eq!(text, "sandbox\nsandbox\n1000\n/box\n/box\nsandbox\n");
}

fn host_ids() {
    let Some(yard) = yard("ids") else { return };
    if !is_root() {
        skip("needs root to have users of its own");
        return;
    }
    let running = start(&yard, &program(&["sleep", "1000"]));
    let uids: Vec<String> = yard
        .processes()
        .iter()
        .map(|line| {
            let folder = line.split(' ').next().unwrap();
            let status = fs::read_to_string(format!("{folder}/status")).unwrap();
            status
                .lines()
                .find(|line| line.starts_with("Uid:"))
                .unwrap()
                .to_owned()
        })
        .collect();
    // Its init as well has given up being root.
    assert_eq!(uids, vec![format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}"); 2]);
    drop(running);
}

fn inherits_nothing() {
    let Some(yard) = yard("inherits") else { return };
    assert_eq!(
        bash(&yard, "env | cut -d= -f1 | sort | tr '\\n' ' '")
            .text()
            .trim(),
        "HOME PATH PWD SHLVL _"
    );
    assert_eq!(
        run(&yard, &program(&["ls", "/proc/self/fd"])).text(),
        "0\n1\n2\n3\n"
    );
    assert_eq!(
        bash(&yard, "umask; ulimit -n; ulimit -c").text(),
        "0022\n256\n0\n"
    );
    // The input is a file of its own, at its beginning, and nobody's to write to.
    let mut program = program(&[
        "bash",
        "-c",
        "cat; cat < /dev/stdin; echo x >> /proc/self/fd/0; echo x > /dev/stdout; echo y > /dev/stderr",
    ]);
    program.stdin = b"input\n".into();
    let ran = run(&yard, &program);
    assert_eq!(ran.text(), "input\ninput\nx\n", "{}", ran.errors());
    assert!(
        ran.errors().contains("not permitted") && ran.errors().ends_with("y\n"),
        "{}",
        ran.errors()
    );
}

fn network() {
    let Some(yard) = yard("network") else { return };
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("hob-test-{}", std::process::id());
    let _abstract =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let script = format!(
        r#"
import socket, threading
def attempt(family, address):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(5)
    try:
        s.connect(address); return "REACHED"
    except OSError as e:
        return e.errno
print(attempt(socket.AF_INET, ("127.0.0.1", {port})))
print(attempt(socket.AF_INET, ("169.254.169.254", 80)))
print(attempt(socket.AF_UNIX, "\0{name}"))
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_VSOCK, socket.SOCK_STREAM)):
    try: socket.socket(family, kind); print("MADE", family)
    except OSError as e: pass
for host in ("127.0.0.1", "localhost", "::1"):
    server = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    threading.Thread(target=lambda: server.accept()[0].sendall(b"hello")).start()
    print(socket.create_connection(server.getsockname()[:2]).recv(5))
print(open("/proc/net/dev").read().count(":"))
"#,
        port = service.local_addr().unwrap().port()
    );
    let ran = run(&yard, &program(&["/usr/bin/python3", "-c", &script]));
    let hello = "b'hello'\n".repeat(3);
    assert_eq!(
        ran.text(),
        format!("111\n101\n111\n{hello}1\n"),
        "{}",
        ran.errors()
    );
}

fn refuses() {
    let Some(yard) = yard("refuses") else { return };
    let script = r#"
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), str(answer))
MISSING = dict(clone3=435, io_setup=206, shmget=29, msgget=68, mq_open=240, vmsplice=278, mincore=27, fsetxattr=190)
REFUSED = dict(mount=165, umount2=166, unshare=272, setns=308, pivot_root=155, chroot=161, ptrace=101, bpf=321, perf_event_open=298,
    add_key=248, keyctl=250, request_key=249, io_uring_setup=425, userfaultfd=323, open_by_handle_at=304, name_to_handle_at=303,
    process_vm_readv=310, kcmp=312, pidfd_getfd=438, init_module=175, kexec_load=246, reboot=169, swapon=167, settimeofday=164, fsopen=430,
    open_tree=428, sethostname=170, iopl=172, quotactl=179)
for name, number in MISSING.items():
    if call(number, 0, 0, 0, 0, 0) != "ENOSYS": print(name, call(number, 0, 0, 0, 0, 0))
for name, number in REFUSED.items():
    if call(number, 0, 0, 0, 0, 0) != "EPERM": print(name, call(number, 0, 0, 0, 0, 0))
print(call(56, 0x10000000 | 17, 0, 0, 0, 0), call(16, 0, 0x5412, b"x"), call(135, 0x0040000), call(162), call(259, -100, b"/box/dev", 0o020666, 0x103))
"#;
    if cfg!(target_arch = "x86_64") {
        let ran = run(&yard, &program(&["/usr/bin/python3", "-c", script]));
        assert_eq!(
            ran.text(),
            "EPERM ENOTTY EPERM 0 EPERM\n",
            "{}",
            ran.errors()
        );
    }
    let ran = bash(
        &yard,
        "mkfifo /box/pipe && (echo through > /box/pipe & cat /box/pipe); unshare -U true; cat <(echo substituted)",
    );
    assert_eq!(ran.text(), "through\nsubstituted\n");
    assert!(ran.errors().contains("not permitted"));
}

fn lower_limits() {
    let Some(yard) = yard("lower") else { return };
    let mut program = program(&[
        "bash",
        "-c",
        "ulimit -n; dd if=/dev/zero of=/tmp/x bs=1M count=9 2>/dev/null; stat -c %s /tmp/x",
    ]);
    program.limits.tmp = 2 << 20;
    program.limits.files = 64;
    assert_eq!(run(&yard, &program).text(), "64\n2097152\n");
    let mut program = self::program(&["/usr/bin/python3", "-c", "bytearray(100 << 20)"]);
    program.limits.memory = 64 << 20;
    let ran = run(&yard, &program);
    assert_eq!(
        (ran.end.end.reason, ran.end.code),
        (EndReason::Memory, -1),
        "{ran:?}"
    );
    program.limits.memory = LIMITS.memory + 1;
    assert!(
        refusal(&yard, &program)
            .to_string()
            .contains("limit memory")
    );
}

fn errors() {
    let Some(yard) = yard("errors") else { return };
    let exec = |argv: &[&str]| match refusal(&yard, &program(argv)) {
        error @ SandboxError::Exec { .. } => error.to_string(),
        other => panic!("{other}"),
    };
    assert!(exec(&["no-such-program"]).contains("not found in the cage's PATH"));
    assert!(exec(&["/etc/passwd"]).contains("may not be executed"));
    let mut program = program(&["true"]);
    for bad in ["../x", "/x", "a/../../x", ""] {
        program.files = vec![(bad.into(), Vec::new())];
        assert!(refusal(&yard, &program).is_callers_fault(), "{bad}");
    }
    program.files = vec![("big".into(), vec![0; 17 << 20])];
    assert!(
        refusal(&yard, &program)
            .to_string()
            .contains("the files take")
    );
    // Two of one name, one in place of a folder.
    program.files = vec![("a".into(), Vec::new()), ("a/b".into(), Vec::new())];
    assert!(
        refusal(&yard, &program)
            .to_string()
            .contains("is a folder of others")
    );
    let first = prepare(&yard, "twice");
    let error = yard
        .sandbox()
        .prepare(crate::stranger::spec("twice"))
        .unwrap_err();
    assert!(
        error.to_string().contains("cannot make a cgroup"),
        "{error}"
    );
    drop(first);
}

fn languages() {
    let Some(yard) = yard("langs") else { return };
    let hello: [(&str, &[&str]); 4] = [
        (
            "/usr/bin/python3",
            &[
                "/usr/bin/python3",
                "-c",
                "import json, ssl, sqlite3, asyncio, subprocess, multiprocessing as m\nwith m.Pool(2) as p: print('hello', sum(p.map(abs, [-1, 1])))",
            ],
        ),
        (
            "node",
            &[
                "node",
                "-e",
                "const w = require('worker_threads'); require('child_process').execSync('true'); setTimeout(() => console.log('hello', require('os').cpus().length > 0 ? 2 : 0), 1)",
            ],
        ),
        ("perl", &["perl", "-e", "print 'hello ', 1 + 1, qq(\\n)"]),
        (
            "gcc",
            &[
                "bash",
                "-c",
                "printf '#include <stdio.h>\\nint main() { puts(\"hello 2\"); }' > a.c && gcc a.c && ./a.out",
            ],
        ),
    ];
    for (tool, argv) in hello {
        if has(tool) {
            let ran = run(&yard, &program(argv));
            assert_eq!(ran.text(), "hello 2\n", "{tool}: {}", ran.errors());
        }
    }
}

/// Changes can be watched, others that read cannot.
fn watches() {
    let Some(yard) = yard("watches") else { return };
    if !has("node") {
        return;
    }
    let script = "const fs = require('fs');
        fs.watch('/box', (kind, name) => { console.log(name); process.exit(); });
        fs.writeFileSync('/box/new', 'x');";
    let ran = run(&yard, &program(&["node", "-e", script]));
    assert_eq!(ran.text(), "new\n", "{}", ran.errors());
}
