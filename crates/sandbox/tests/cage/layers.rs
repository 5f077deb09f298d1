//! Roots made of an image's layers.

use std::fs;

use hob_model::{EndReason, Isolation};
use hob_sandbox::{Access, CageRoot, Mechanism, SandboxError};

use crate::{
    Test,
    image::{Layer, shell, spec, user},
    yard::{PATIENCE, Yard, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("layers::hide_what_is_below_them", hide),
    ("layers::nothing_is_written_to_them", sealed),
    ("layers::nothing_of_the_host_is_there", nothing_of_the_host),
    ("layers::the_image_names_the_user", users),
    ("layers::root_has_no_rights", root),
    ("layers::setuid_files_give_nothing", setuid),
    ("layers::symlinks_lead_no_mount_elsewhere", hostile),
    ("layers::files_and_binds_are_on_top", files),
    ("layers::a_missing_working_directory_is_made", cwd),
    ("layers::the_stop_signal_is_the_image_s", stop_signal),
    ("layers::may_be_127", many),
    ("layers::are_refused_where_they_cannot_be", refused),
];

fn hide() {
    let yard = Yard::new("l-hide");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    base.file("srv/gone", "");
    base.file("srv/kept", "below\n");
    base.file("srv/changed", "below\n");
    base.file("var/old/file", "");
    let top = Layer::new(&yard, "top,with:signs");
    top.folder("srv");
    top.whiteout("srv/gone");
    top.file("srv/changed", "above\n");
    top.opaque("var/old");
    top.file("var/old/new", "");
    let text = shell(
        &yard,
        &[&top, &base],
        "ls /srv /var/old; cat /srv/kept /srv/changed; id -u image; hostname",
    );
    assert_eq!(
        text,
        "/srv:\nchanged\nkept\n\n/var/old:\nnew\nbelow\nabove\n33\ncage\n"
    );
}

fn sealed() {
    let yard = Yard::new("l-sealed");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    let top = Layer::new(&yard, "top");
    base.file("srv/file", "");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(base.path("srv"), everybody).unwrap();
    let before = (base.state(), top.state());
    let script = "for f in / /srv /etc /dev /run /sys /proc/sys; do touch $f/x 2>/dev/null && echo WROTE $f; done; \
        chmod 700 /srv 2>/dev/null && echo CHANGED; cat /srv/file; \
        touch /tmp/x /dev/shm/x && echo fine; echo > /dev/null; stat -c %a / /run /dev /tmp /dev/shm";
    for who in [user(0, 0, &[]), user(33, 44, &[])] {
        let mut spec = spec(&yard, &[&top, &base], &["sh", "-c", script]);
        spec.user = who;
        let (_, text) = yard.run_spec(spec);
        assert_eq!(text, "fine\n755\n755\n755\n1777\n1777\n");
    }
    assert_eq!((base.state(), top.state()), before);
}

fn nothing_of_the_host() {
    let yard = Yard::new("l-host");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    let script = "ls /; ls /etc /sys; ls /proc/acpi /proc/scsi 2>/dev/null | grep -v :; \
        cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/proc/ | sort";
    let text = shell(&yard, &[&base], script);
    let words: Vec<&str> = text.split_whitespace().collect();
    let expected = "bin dev etc proc run sys tmp /etc: group hostname hosts passwd /sys: / /dev/full /dev/null \
        /dev/random /dev/shm /dev/tty /dev/urandom /dev/zero /proc /sys /tmp";
    assert_eq!(words, expected.split_whitespace().collect::<Vec<_>>());
}

fn users() {
    let yard = Yard::new("l-users");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    assert_eq!(
        shell(&yard, &[&base], "id -u; id -g; id -G"),
        "12000\n12000\n12000\n"
    );
    let script = "id -u; id -g; id -G; id -un; grep -E '^(Uid|Cap|NoNew)' /proc/self/status";
    let mut spec = spec(&yard, &[&base], &["sh", "-c", script]);
    spec.user = user(33, 44, &[55, 66]);
    let (_, text) = yard.run_spec(spec);
    assert!(
        text.starts_with("33\n44\n44 55 66\nimage\nUid:\t33\t33\t33\t33\n"),
        "{text}"
    );
    assert_eq!(text.matches("\t0000000000000000\n").count(), 5, "{text}");
}

fn root() {
    let yard = Yard::new("l-root");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    let script = "id -u; id -G; grep -E '^(Cap|NoNew)' /proc/self/status; \
        mount -t tmpfs x /tmp; hostname evil; cat /proc/1/environ; echo 1 > /proc/sys/vm/drop_caches; \
        cat /secret/file";
    let mut spec = spec(&yard, &[&base], &["sh", "-c", script]);
    spec.user = user(0, 0, &[]);
    let secret = yard.bind("secret", "/secret", Access::ReadOnly);
    fs::write(secret.source.join("file"), "SECRET").unwrap();
    // Of somebody else: with the capabilities of root, it would be readable all the same.
    std::os::unix::fs::chown(secret.source.join("file"), Some(1), Some(1)).unwrap();
    let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(secret.source.join("file"), nobody).unwrap();
    spec.binds = vec![secret];
    let (_, text) = yard.run_spec(spec);
    assert!(text.starts_with("0\n0\n"), "{text}");
    assert_eq!(text.matches("\t0000000000000000\n").count(), 5, "{text}");
    assert!(text.contains("NoNewPrivs:\t1\n"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
    let refused = ["not permitted", "ermission denied", "Read-only"];
    let refused = refused.map(|words| text.matches(words).count());
    assert_eq!(refused, [1, 3, 1], "{text}");
}

fn setuid() {
    let yard = Yard::new("l-setuid");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    base.setuid("setuid/id");
    let mut spec = spec(&yard, &[&base], &["/setuid/id", "-u"]);
    spec.user = user(33, 44, &[]);
    assert_eq!(yard.run_spec(spec).1, "33\n");
}

/// Every place where something is mounted leads elsewhere, or tries to.
fn hostile() {
    let yard = Yard::new("l-hostile");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    let evil = Layer::new(&yard, "evil");
    let victim = yard.path("victim");
    fs::create_dir(&victim).unwrap();
    evil.link("proc", "/etc");
    evil.link("dev", "/");
    evil.link("run", "/etc");
    evil.link("tmp", "/etc");
    evil.link("sys", victim.to_str().unwrap());
    evil.link("data", victim.to_str().unwrap());
    evil.folder("etc");
    evil.link("etc/hosts", "../../../../../../bin/busybox");
    evil.link("etc/hostname", victim.join("x").to_str().unwrap());
    evil.link("etc/resolv.conf", "/proc/self/fd/0");
    evil.link("var", "..");
    let before = (base.state(), evil.state());
    let script = "cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/proc/ | sort; ls /etc /var; cat /etc/hostname; \
        cat /etc/resolv.conf; touch /data/inside; ls -d /tmp/.";
    let mut spec = spec(&yard, &[&evil, &base], &["sh", "-c", script]);
    spec.user = user(0, 0, &[]);
    spec.files = vec![("/etc/resolv.conf".into(), "nameserver\n".into())];
    spec.binds = vec![
        yard.bind("data", "/data", Access::ReadWrite),
        yard.bind("deep", "/var/lib/deep", Access::ReadOnly),
    ];
    let (_, text) = yard.run_spec(spec);
    let words: Vec<&str> = text.split_whitespace().collect();
    let expected = "/ /data /dev/full /dev/null /dev/random /dev/shm /dev/tty /dev/urandom /dev/zero /proc /sys \
        /tmp /var/lib/deep /etc: group hostname hosts passwd resolv.conf /var: lib cage nameserver /tmp/.";
    assert_eq!(words, expected.split_whitespace().collect::<Vec<_>>());
    assert!(yard.path("data/inside").exists());
    assert_eq!(fs::read_dir(victim).unwrap().count(), 0);
    assert_eq!((base.state(), evil.state()), before);
}

fn files() {
    let yard = Yard::new("l-files");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    base.file("etc/resolv.conf", "the image's\n");
    base.link("etc/hosts", "/nowhere");
    fs::write(yard.path("hosts"), "first\n").unwrap();
    let script = "cat /etc/resolv.conf /opt/own/file /etc/hosts; \
        while ! grep -q second /etc/hosts; do sleep 0.01; done; echo seen; touch /etc/hosts || echo sealed";
    let mut spec = spec(&yard, &[&base], &["sh", "-c", script]);
    spec.files = vec![
        ("/etc/resolv.conf".into(), "given\n".into()),
        ("/opt/own/file".into(), "own\n".into()),
    ];
    let mut hosts = yard.bind("unused", "/etc/hosts", Access::ReadOnly);
    hosts.source = yard.path("hosts");
    spec.binds = vec![hosts];
    let cage = yard.start(spec);
    let mut text = String::new();
    eventually("it has read", || {
        text += &yard.output();
        text.contains("first")
    });
    assert_eq!(text, "given\nown\nfirst\n");
    // In place, as the file itself is what hangs inside.
    fs::write(yard.path("hosts"), "second\n").unwrap();
    cage.wait_timeout(PATIENCE).unwrap().expect("ends");
    let text = yard.output();
    assert!(
        text.starts_with("seen\n") && text.ends_with("sealed\n"),
        "{text}"
    );
}

fn cwd() {
    let yard = Yard::new("l-cwd");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    base.folder("srv/real");
    base.link("srv/link", "real");
    let started_in = |folder: &str| {
        let mut spec = spec(&yard, &[&base], &["pwd"]);
        spec.cwd = folder.into();
        spec
    };
    let before = base.state();
    for (folder, seen) in [
        ("", "/\n"),
        ("/srv/link", "/srv/real\n"),
        ("/srv/real", "/srv/real\n"),
        ("/srv/new/place", "/srv/new/place\n"),
        ("/new", "/new\n"),
    ] {
        assert_eq!(yard.run_spec(started_in(folder)).1, seen);
    }
    let error = yard.refusal(started_in("/srv/link/new")).to_string();
    assert!(error.contains("enter the folder /srv/link/new"), "{error}");
    assert_eq!(base.state(), before);
}

fn stop_signal() {
    let yard = Yard::new("l-stop");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    let script = "trap 'exit 7' QUIT; trap 'exit 8' TERM; echo up; while :; do sleep 0.01; done";
    let mut asked = spec(&yard, &[&base], &["sh", "-c", script]);
    asked.stop_signal = 3;
    let cage = yard.start(asked);
    eventually("up", || yard.output().contains("up"));
    cage.terminate();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("ends");
    assert_eq!(end.message, "exit status 7");
    for signal in [9, 40] {
        let mut asked = spec(&yard, &[&base], &["sleep", "1000"]);
        asked.stop_signal = signal;
        let cage = yard.start(asked);
        cage.terminate();
        let end = cage.wait_timeout(PATIENCE).unwrap().expect("ends");
        let expected = format!("exit status {} (signal {signal})", 128 + signal);
        assert_eq!(end.message, expected);
    }
    for signal in [0, 65] {
        let mut asked = spec(&yard, &[&base], &["true"]);
        asked.stop_signal = signal;
        let error = yard.refusal(asked).to_string();
        assert!(error.contains("must be 1 to 64"), "{error}");
    }
}

fn many() {
    let yard = Yard::new("l-many");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    let name = |number: usize| format!("a-name-that-makes-a-longer-path-{number}");
    let more: Vec<Layer> = (1..127)
        .map(|number| {
            let layer = Layer::new(&yard, &name(number));
            layer.file(&format!("srv/{number}"), "");
            layer
        })
        .collect();
    let mut layers: Vec<&Layer> = more.iter().collect();
    layers.push(&base);
    assert_eq!(shell(&yard, &layers, "ls /srv | wc -l"), "126\n");
}

fn refused() {
    let mut yard = Yard::new("l-refused");
    let layer = Layer::new(&yard, "empty");
    let refusal = |yard: &Yard, layers: &[&Layer]| {
        let error = yard.refusal(spec(yard, layers, &["true"]));
        assert!(matches!(error, SandboxError::Spec(_)), "{error}");
        error.to_string()
    };
    assert!(refusal(&yard, &[]).contains("must have 1 to 127"));
    assert!(refusal(&yard, &[&layer; 128]).contains("must have 1 to 127"));
    yard.isolation = Isolation::Process;
    assert!(refusal(&yard, &[&layer]).contains("needs isolation `container`"));
    yard.isolation = Isolation::Container;
    yard.mechanism = Mechanism::Oci("runc".into());
    assert!(refusal(&yard, &[&layer]).contains("needs hob's own cages"));
    yard.mechanism = Mechanism::Native;
    let mut missing = spec(&yard, &[&layer], &["true"]);
    missing.root = CageRoot::Layers(vec![yard.path("nowhere")]);
    let error = yard.refusal(missing).to_string();
    assert!(
        error.contains("open the layer") && error.contains("nowhere"),
        "{error}"
    );
    let mut nobody = yard.spec(&["true"]);
    nobody.user = user(u32::MAX, 0, &[]);
    assert!(yard.refusal(nobody).to_string().contains("stands for none"));
    // The host's root, too, has its own user and files on request.
    let mut asked = yard.spec(&["sh", "-c", "id -u; cat /etc/resolv.conf"]);
    asked.user = user(4321, 1, &[]);
    asked.files = vec![("/etc/resolv.conf".into(), "given\n".into())];
    asked.cwd = "".into();
    let (end, text) = yard.run_spec(asked);
    assert_eq!(
        (end.reason, text.as_str()),
        (EndReason::Ok, "4321\ngiven\n")
    );
}
