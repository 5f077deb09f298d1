//! What a program in a container sees and may do.

use hob_model::EndReason;
use hob_sandbox::{Access, SandboxError};

use crate::{Test, yard::Yard};

pub(crate) const TESTS: &[Test] = &[
    ("view::runs_a_program_and_keeps_its_output", runs),
    ("view::sees_no_process_of_the_host", sees_no_process),
    ("view::has_no_rights", has_no_rights),
    ("view::preempts_nobody", preempts_nobody),
    ("view::writes_only_to_tmp_and_writable_binds", writes),
    ("view::the_host_s_secrets_are_not_there", no_secrets),
    ("view::refuses_system_calls", refuses),
    ("view::errors_name_the_cause", errors),
    ("view::inherits_nothing", inherits_nothing),
];

fn runs() {
    let yard = Yard::new("runs");
    let (end, text) = yard.run(&[
        "sh",
        "-c",
        "echo out; echo err >&2; hostname; id -un; exit 3",
    ]);
    assert_eq!(
        (end.reason, end.message.as_str()),
        (EndReason::Exit, "exit status 3")
    );
    assert_eq!(text, "out\nerr\ncage\nhob\n");
    assert_eq!(yard.run(&["true"]).0.reason, EndReason::Ok);
}

fn sees_no_process() {
    let yard = Yard::new("pids");
    // Init and the shell, which looks by itself: a pipe's other end may not be there yet.
    assert_eq!(yard.shell("echo /proc/[0-9]*").trim(), "/proc/1 /proc/2");
    assert_eq!(yard.shell("echo $$").trim(), "2");
}

fn has_no_rights() {
    let yard = Yard::new("rights");
    let status = yard.shell("cat /proc/self/status");
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Seccomp_filters"), "1");
    assert_eq!(field("Uid"), "12000\t12000\t12000\t12000");
    assert_eq!(field("Gid"), "12000\t12000\t12000\t12000");
    assert_eq!(field("Groups"), "");
    assert_eq!(field("SigBlk"), "0000000000000000");
    assert_eq!(field("SigIgn"), "0000000000000000");
    // Nor can it look into its own init, which has hob's memory.
    assert!(
        yard.shell("cat /proc/1/environ; ls /proc/1/fd")
            .matches("Permission denied")
            .count()
            >= 2
    );
}

/// The gateway lives off it: see docs/decisions/0005.
fn preempts_nobody() {
    let yard = Yard::new("policy");
    let policy = yard.shell("chrt -p $$");
    assert!(policy.contains("SCHED_BATCH"), "{policy}");
}

fn writes() {
    let yard = Yard::new("writes");
    let mut spec = yard.spec(&["sh", "-c",
        "for f in / /usr /etc /dev /proc/sys /function /var/tmp; do touch $f/x 2>/dev/null && echo WROTE $f; done; \
         touch /data/x /tmp/x /dev/shm/x && echo fine; cat /function/file; \
         dd if=/dev/zero of=/tmp/big bs=1M count=64 2>/dev/null; stat -c %s /tmp/big; stat -c %a /tmp"]);
    spec.binds = vec![
        yard.bind("bundle", "/function", Access::ReadOnly),
        yard.bind("data", "/data", Access::ReadWrite),
    ];
    std::fs::write(yard.path("bundle/file"), "bundle\n").unwrap();
    let (_, text) = yard.run_spec(spec);
    // 16 MiB is the limit of the spec.
    assert_eq!(text, "fine\nbundle\n16777216\n1777\n");
    assert!(yard.path("data/x").exists());
}

fn no_secrets() {
    let yard = Yard::new("secrets");
    let text = yard.shell("cat /etc/shadow /root/x /proc/kcore /proc/keys; ls /sys /home /run /var; cut -d: -f1 /etc/passwd");
    assert!(text.matches("No such file").count() >= 2, "{text}");
    assert!(text.ends_with("root\nhob\nnobody\n"), "{text}");
    assert_eq!(
        yard.shell("test -s /etc/resolv.conf && ls /etc/ssl/certs | head -1 | wc -l")
            .trim(),
        "1"
    );
}

fn refuses() {
    let yard = Yard::new("refuses");
    let script = "import ctypes,os,socket\n\
        c=ctypes.CDLL(None,use_errno=True)\n\
        def t(n,*a):\n  ctypes.set_errno(0); r=c.syscall(n,*a); return r if r>=0 else -ctypes.get_errno()\n\
        print(t(165,0,0,0,0,0), t(272,0x10000000), t(101,0,1,0,0), t(425,8,0), t(435,0,0), t(321,0,0,0), t(56,0x10000011,0,0,0,0))\n\
        try: socket.socket(40, 1)\n\
        except OSError as e: print(e.errno)\n\
        socket.socket(); socket.socket(socket.AF_UNIX)\n\
        try: os.kill(1, 9); print('sent')\n\
        except OSError as e: print(e.errno)\n";
    if cfg!(target_arch = "x86_64") {
        // mount, unshare, ptrace, io_uring, clone3, bpf, clone(NEWUSER); then vsock; killing init
        // is allowed and does nothing, as for every init.
        assert_eq!(
            yard.run(&["/usr/bin/python3", "-c", script]).1,
            "-1 -1 -1 -1 -38 -1 -1\n1\nsent\n"
        );
    }
    assert!(
        yard.shell("unshare -U true")
            .contains("Operation not permitted")
    );
}

fn errors() {
    let yard = Yard::new("errors");
    let exec = |argv: &[&str]| match yard.refusal(yard.spec(argv)) {
        error @ SandboxError::Exec { .. } => error.to_string(),
        other => panic!("{other}"),
    };
    assert!(
        exec(&["no-such-program"])
            .starts_with("exec `no-such-program`: not found in the cage's PATH")
    );
    assert_eq!(
        exec(&["/no/such"]),
        "exec `/no/such`: not found in the cage: check the path"
    );
    assert!(exec(&["/etc/passwd"]).contains("may not be executed"));
    let mut spec = yard.spec(&["true"]);
    spec.cwd = "/nowhere".into();
    let error = yard.refusal(spec).to_string();
    assert!(
        error.contains("enter the folder /nowhere") && error.contains("No such file"),
        "{error}"
    );
    let mut spec = yard.spec(&["true"]);
    spec.binds = vec![yard.bind("b", "/usr/new/place", Access::ReadOnly)];
    let error = yard.refusal(spec).to_string();
    assert!(error.contains("on /usr/new/place: No such file"), "{error}");
    assert!(!std::fs::exists("/usr/new").unwrap());
    let mut spec = yard.spec(&["true"]);
    spec.id = "../x".into();
    assert!(yard.refusal(spec).is_callers_fault());
}

fn inherits_nothing() {
    let yard = Yard::new("inherits");
    assert_eq!(
        yard.shell("env | cut -d= -f1 | sort | tr '\\n' ' '").trim(),
        "HOME PATH PWD"
    );
    assert_eq!(yard.run(&["ls", "/proc/self/fd"]).1, "0\n1\n2\n3\n");
    assert_eq!(yard.shell("umask; ulimit -n; ulimit -c"), "0022\n256\n0\n");
}
