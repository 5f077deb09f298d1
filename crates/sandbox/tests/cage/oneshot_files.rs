//! One-shot cages: which files there are, and which a program can make.

use crate::{
    Test,
    oneshot::yard,
    stranger::{bash, program, run},
};

pub(crate) const TESTS: &[Test] = &[
    ("oneshot_files::sees_little_of_the_host_s_files", files),
    ("oneshot_files::sees_little_of_proc", proc),
    ("oneshot_files::writes_only_where_it_may", writes),
    ("oneshot_files::bytes_and_files_are_bounded", disk),
    ("oneshot_files::files_are_in_the_box", given_files),
];

fn files() {
    let Some(yard) = yard("files") else { return };
    let text = bash(
        &yard,
        "ls -A /; echo; ls -A /etc /root /home /run /var /sys /dev 2>&1",
    )
    .text();
    let (top, rest) = text.split_once("\n\n").unwrap();
    for name in top.lines() {
        let known = [
            "bin", "box", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "run",
            "sbin", "sys", "tmp", "usr", "var",
        ];
        assert!(known.contains(&name), "{name}");
    }
    for hidden in [
        "shadow",
        "sudoers",
        "ssh",
        "machine-id",
        "resolv.conf",
        "fstab",
        "maven",
        "private",
        "mqueue",
    ] {
        assert!(!rest.lines().any(|name| name == hidden), "{hidden}: {rest}");
    }
    assert!(
        bash(&yard, "ls /etc/ssl 2>/dev/null")
            .text()
            .lines()
            .all(|name| ["certs", "openssl.cnf"].contains(&name))
    );
    // Where an owner keeps settings and sources.
    let owned = "for f in /usr/local/etc /usr/local/src /usr/src; do ls -A $f; touch $f/x; done 2>/dev/null";
    assert_eq!(bash(&yard, owned).text(), "");
    let text = bash(
        &yard,
        "cat /etc/hostname /etc/hosts; cut -d: -f1 /etc/passwd",
    )
    .text();
    assert_eq!(
        text,
        "sandbox\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tsandbox\nroot\nsandbox\nnobody\n"
    );
}

fn proc() {
    let Some(yard) = yard("proc") else { return };
    let hidden = "cmdline config.gz crypto devices diskstats interrupts iomem ioports kallsyms key-users keys kmsg \
        kpagecount locks modules partitions sched_debug slabinfo softirqs swaps timer_list vmallocinfo vmstat zoneinfo";
    let script = format!(
        "cd /proc; cat {hidden} 2>/dev/null | wc -c; ls fs bus irq acpi driver tty pressure scsi 2>/dev/null | grep -v : | tr -d '\\n' | wc -c"
    );
    assert_eq!(bash(&yard, &script).text(), "0\n0\n");
    let script = "cd /proc; cat cpuinfo meminfo stat loadavg uptime version filesystems sys/kernel/random/uuid | wc -l; \
        for f in sys/kernel/core_pattern sysrq-trigger sys/vm/drop_caches; do echo 1 2>/dev/null > $f && echo WROTE $f; done; \
        cat /proc/1/cmdline /proc/1/environ; ls /proc/1/fd; find /sys | wc -l";
    let ran = bash(&yard, script);
    let (lines, rest) = ran
        .text()
        .split_once('\n')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert!(lines.parse::<u32>().unwrap() > 30, "{lines}");
    assert_eq!(rest, "1\n", "{}", ran.errors());
    assert_eq!(
        ran.errors().matches("No such file").count(),
        3,
        "{}",
        ran.errors()
    );
}

fn writes() {
    let Some(yard) = yard("writes") else { return };
    let script = "cut -d' ' -f2 /proc/mounts | sort -u | while read m; do test -d $m -a -w $m && echo $m; done; for f in / /usr /etc /dev /proc /sys /home /run /var /var/tmp; do \
        touch $f/x 2>/dev/null && echo WROTE $f; done; touch /box/x /tmp/x /dev/shm/x && echo fine; \
        stat -c %a /box /tmp /dev/shm; cp /bin/true /box/t && /box/t && echo executes";
    assert_eq!(
        bash(&yard, script).text(),
        "/box\n/dev/shm\n/tmp\nfine\n755\n1777\n1777\nexecutes\n"
    );
}

fn disk() {
    let Some(yard) = yard("disk") else { return };
    // All three places share the 16 MiB of the spec.
    let script = "for d in /box /tmp /dev/shm; do dd if=/dev/zero of=$d/big bs=1M count=64 2>/dev/null; done; \
        cat /box/big /tmp/big /dev/shm/big | wc -c; rm /box/big /tmp/big /dev/shm/big; \
        python3 -c '
import os
made = 0
for place in (\"/box\", \"/tmp\", \"/dev/shm\"):
    try:
        for n in range(100000):
            open(f\"{place}/{n}\", \"w\").close(); made += 1
    except OSError as e:
        print(e.errno)
print(made)'";
    let text = bash(&yard, script).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["16777216", "28", "28", "28"], "{text}");
    assert!(
        (16_000..=16_384).contains(&lines[4].parse::<u32>().unwrap()),
        "{text}"
    );
}

fn given_files() {
    let Some(yard) = yard("given") else { return };
    let mut program = program(&[
        "bash",
        "-c",
        "find . -type f | sort; cat a/b/c; ./run; stat -c '%U %a' a/b/c a; echo >> a/b/c && echo mine",
    ]);
    program.files = vec![
        ("a/b/c".into(), b"text\n".into()),
        ("run".into(), b"#!/bin/sh\necho ran\n".into()),
        ("empty".into(), Vec::new()),
        ("big".into(), vec![7; 5 << 20]),
    ];
    let ran = run(&yard, &program);
    assert_eq!(
        ran.text(),
        "./a/b/c\n./big\n./empty\n./run\ntext\nran\nsandbox 755\nsandbox 755\nmine\n",
        "{}",
        ran.errors()
    );
}
