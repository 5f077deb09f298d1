//! Servers elsewhere that were logged in to: over TLS, by name, and with nothing that others could
//! read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use hob_testkit::{Cli, Outcome, has_programs};
use tempfile::TempDir;

use crate::{
    bench::{Bench, HOB},
    tls::tls_address,
};

/// By TLS, with a certificate for `localhost`, which the machine knows without asking anybody, and
/// for its own addresses.
const CONFIG: &str = "[tls]\nlisten = \"127.0.0.1:0\"\nown = true\n";

/// A server that speaks TLS, and a user of another machine, who has a home of his own.
struct Away {
    bench: Bench,
    home: TempDir,
}

impl Away {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        Self {
            bench: Bench::configured(config),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> PathBuf {
        self.bench.hob.data().join("pki/ca.pem")
    }

    fn url(&self) -> String {
        self.url_at("localhost")
    }

    fn url_at(&self, host: &str) -> String {
        format!("https://{host}:{}", tls_address(&self.bench.hob).port())
    }

    fn password(&self) -> &str {
        self.bench.hob.password()
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("hob/contexts.toml")
    }

    fn command<const N: usize>(&self, args: [&str; N]) -> Cli {
        Cli::new(Path::new(HOB))
            .env("HOB_DATA", self.home.path().join("no-server"))
            .env("XDG_CONFIG_HOME", self.home.path())
            .args(args)
    }

    fn hob<const N: usize>(&self, args: [&str; N]) -> Outcome {
        self.command(args).run()
    }

    /// Logs in as it should be done.
    fn login<const N: usize>(&self, more: [&str; N]) -> Outcome {
        let root = self.root();
        let command = self.command(["login", &self.url(), "--ca", root.to_str().unwrap()]);
        let password = format!("{}\n", self.password());
        command.args(more).stdin(password).run()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn whoever_logged_in_works_over_tls_with_every_kind_of_request() {
    if !has_programs(&["python3"]) {
        return;
    }
    let away = Away::new();
    let said = away.login([]).ok();
    let expected = format!("logged in to {} as admin: context `localhost`", away.url());
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(mode(&away.file()), 0o600);
    assert_eq!(mode(away.file().parent().unwrap()), 0o700);

    // An upload, a stream of events, JSON both ways, a body from standard input, a call, a stream
    // of log lines.
    let body = "import sys\nsys.stdout.write('heard ' + req + '\\n')\nsys.stdout.flush()\nreturn 'Hello ' + req";
    let folder = away.bench.python("hello", body);
    fs::write(folder.join("padding"), noise(1 << 20)).unwrap();
    let said = away.hob(["deploy", folder.to_str().unwrap()]).ok();
    let live = format!("hello is live at {}/function/hello", away.url());
    assert!(said.starts_with(&live), "{said}");
    assert_eq!(away.hob(["invoke", "hello", "-d", "Ada"]).ok(), "Hello Ada");
    assert!(away.hob(["list"]).ok().contains("hello"));
    away.command(["secret", "set", "key"]).stdin("x").run().ok();
    assert!(away.hob(["secret", "list"]).ok().contains("key"));
    let mut follower = away.command(["logs", "hello", "-f"]).into_command();
    follower.stdout(std::process::Stdio::piped());
    let mut follower = follower.spawn().unwrap();
    let mut line = String::new();
    let lines = follower.stdout.take().unwrap();
    let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(lines), &mut line);
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!((read.unwrap(), line.as_str()), (10, "heard Ada\n"));
    let export = away.home.path().join("export");
    away.hob(["export", "hello", export.to_str().unwrap()]).ok();
    let padding = export.join("function/padding");
    assert_eq!(fs::metadata(padding).unwrap().len(), 1 << 20);
    away.hob(["remove", "hello"]).ok();
    // What a server says of an upload before it has all of it.
    let garbage = away.home.path().join("garbage.tar");
    fs::write(&garbage, noise(32 << 20)).unwrap();
    let line = away
        .hob(["image", "load", garbage.to_str().unwrap()])
        .fails(1);
    assert!(line.contains("archive"), "{line}");
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        // Knuth's generator: any will do.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_login_that_does_not_work_is_explained_and_keeps_nothing() {
    // At addresses that its certificate does not name, too.
    let away = Away::with(&CONFIG.replace("127.0.0.1", "0.0.0.0"));
    let root = away.root();
    let root = root.to_str().unwrap();
    let url = away.url();
    let login = |args: &[&str], password: &str| {
        let command = away.command(["login"]).args(args).stdin(password);
        command.run()
    };
    let right = away.password();

    let line = login(&["http://127.0.0.1:1"], right).fails(4);
    assert!(line.contains("no hob answers at"), "{line}");
    let line = login(&[&url], right).fails(4);
    assert!(
        line.contains("is not trusted") && line.contains("--ca FILE"),
        "{line}"
    );
    let by_address = away.url_at("127.0.0.2");
    let line = login(&[&by_address, "--ca", root], right).fails(4);
    assert!(line.contains("is not valid"), "{line}");
    let plain = format!("https://{}", away.bench.hob.address());
    let line = login(&[&plain, "--ca", root], right).fails(4);
    assert!(line.contains("speaks no TLS"), "{line}");
    let plain = url.replace("https", "http");
    let line = login(&[&plain], right).fails(1);
    assert!(line.contains("write https://"), "{line}");
    let line = login(&[&url, "--ca", root], "wrong").fails(5);
    assert!(line.contains("does not accept this password"), "{line}");
    let line = login(&[&url, "--ca", root], "hob_wrong").fails(5);
    assert!(line.contains("does not accept this token"), "{line}");
    let line = login(&[&url, "--ca", root], "\n").fails(1);
    assert!(line.contains("is empty"), "{line}");
    let key = away.bench.hob.data().join("pki/ca.key");
    let line = login(&[&url, "--ca", key.to_str().unwrap()], right).fails(64);
    assert!(line.contains("there are none"), "{line}");
    let line = login(&[&url, "--name", "local"], right).fails(64);
    assert!(line.contains("choose another"), "{line}");
    assert!(!away.file().exists());
}

#[test]
fn a_password_is_never_sent_in_the_open_nor_taken_from_the_command_line() {
    let away = Away::new();
    // Nobody is asked: 192.0.2.1 is an address for examples.
    let line = away.hob(["login", "http://192.0.2.1:8080"]).fails(64);
    assert!(line.contains("--plain-http"), "{line}");
    for args in [
        ["--password", "hunter2"],
        ["--password=hunter2", "--plain-http"],
    ] {
        let said = away.command(["login", &away.url()]).args(args).run();
        assert!(!said.stderr.contains("hunter2"), "{said:?}");
        let line = said.fails(64);
        assert!(line.contains("--password-stdin"), "{line}");
    }
    let line = away
        .hob(["login", "https://admin:hunter2@localhost"])
        .fails(64);
    assert!(
        line.contains("no place") && !line.contains("hunter2"),
        "{line}"
    );

    // On the machine itself nobody listens in.
    let url = away.bench.hob.url();
    let command = away.command(["login", &url, "--name", "here"]);
    command.stdin(away.password()).run().ok();
    away.hob(["list"]).ok();
    let said = away.hob(["context", "show", "here"]);
    assert!(!said.clone().ok().contains(away.password()), "{said:?}");
}

#[test]
fn the_terminal_asks_and_shows_nothing() {
    if !has_programs(&["python3"]) {
        return;
    }
    let away = Away::new();
    let program = "import os, pty, sys\n\
        pid, fd = pty.fork()\n\
        if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
        seen, sent = b'', False\n\
        while True:\n    \
            try: part = os.read(fd, 4096)\n    \
            except OSError: break\n    \
            if not part: break\n    \
            seen += part\n    \
            if not sent and b'token: ' in seen:\n        \
                os.write(fd, os.environ['WORD'].encode() + b'\\n')\n        \
                sent = True\n\
        sys.stdout.buffer.write(seen)\n\
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    let output = Command::new("python3")
        .args(["-c", program, HOB, "login", &away.url(), "--ca"])
        .arg(away.root())
        .env("WORD", away.password())
        .env("XDG_CONFIG_HOME", away.home.path())
        .env_remove("HOB_SERVER")
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        seen.contains("password of admin at https://localhost:"),
        "{seen}"
    );
    assert!(!seen.contains(away.password()), "{seen}");
    assert!(away.hob(["list"]).stderr.contains("no functions"));
}

#[test]
fn several_servers_are_told_apart_by_name() {
    let (home, work) = (Away::new(), Bench::new());
    home.login(["--name", "home"]).ok();
    let url = work.hob.url();
    let login = home.command(["login", &url, "--name", "work"]);
    login.stdin(work.hob.password()).run().ok();
    home.bench.deploy(&home.bench.site("at-home", "hi"));
    work.deploy(&work.site("at-work", "hi"));

    let lists = |command: Cli| command.run().ok();
    assert!(lists(home.command(["list"])).contains("at-work"));
    assert!(lists(home.command(["list", "--context", "home"])).contains("at-home"));
    assert!(lists(home.command(["list"]).env("HOB_CONTEXT", "home")).contains("at-home"));
    // A flag goes before a variable, and a server before a context.
    let both = || home.command(["list"]).env("HOB_CONTEXT", "home");
    assert!(lists(both().args(["--context", "work"])).contains("at-work"));
    assert!(lists(both().env("HOB_SERVER", &url)).contains("at-work"));
    assert!(lists(both().args(["--server", &url])).contains("at-work"));
    let line = both()
        .args(["--server", &url, "--context", "work"])
        .run()
        .fails(64);
    assert!(line.contains("leave one of them out"), "{line}");
    // A server that was logged in to is known by its address, with its authority.
    let line = format!("{}/", home.url());
    assert!(lists(home.command(["list", "--server", &line])).contains("at-home"));

    let said = home.hob(["context", "use", "home"]).ok();
    assert!(
        said.contains("context `home` is used from now on"),
        "{said}"
    );
    assert!(home.hob(["list"]).ok().contains("at-home"));
    let status = home.hob(["status"]).ok();
    let shown = format!("home ({})", home.url());
    assert!(status.lines().next().unwrap().ends_with(&shown), "{status}");
    assert_eq!(home.hob(["status", "-o", "json"]).json()["context"], "home");
    let list = home.hob(["context", "list", "-o", "json"]).json();
    let names: Vec<_> = list.as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 3);
    assert_eq!(list[1]["name"], "home");
    assert_eq!(list[1]["user"], "admin");
    assert_eq!([&list[0]["used"], &list[1]["used"]], [false, true]);
    let said = home
        .command(["context", "use", "work"])
        .env("HOB_CONTEXT", "home");
    let said = said.run();
    assert!(
        said.stderr.contains("HOB_CONTEXT is set in this shell"),
        "{said:?}"
    );

    home.hob(["context", "rename", "work", "office"]).ok();
    assert!(home.hob(["list"]).ok().contains("at-work"));
    let line = home.hob(["context", "use", "work"]).fails(3);
    assert!(line.contains("`work` does not exist"), "{line}");
    // The socket of this machine, where nobody listens.
    home.hob(["context", "use", "local"]).ok();
    home.hob(["list"]).fails(4);
    home.hob(["context", "use", "office"]).ok();
    home.hob(["context", "remove", "office"]).ok();
    home.hob(["list"]).fails(4);
    assert_eq!(
        home.hob(["context", "show", "-o", "json"]).json()["name"],
        "local"
    );
}

#[test]
fn a_token_is_a_login_too_however_little_it_may_do() {
    let away = Away::new();
    away.login(["--name", "home"]).ok();
    let token = |name, scope| {
        let made = away.hob(["token", "create", name, "--scope", scope]).ok();
        made.trim().to_owned()
    };
    let (deploys, secrets) = (
        token("ci", "functions:write"),
        token("vault", "secrets:write"),
    );
    let login = |name: &str, token: &str| {
        let command = away.command(["login", &away.url(), "--name", name]);
        command.stdin(token).run().ok()
    };
    let said = login("ci", &deploys);
    assert!(said.contains("as a token: context `ci`"), "{said}");
    let site = away.bench.site("welcome", "hi");
    away.hob(["deploy", site.to_str().unwrap()]).ok();
    // It may not even ask how the server is.
    login("vault", &secrets);
    let line = away.hob(["list"]).fails(5);
    assert!(line.contains("token `vault`"), "{line}");
    away.command(["secret", "set", "key"]).stdin("x").run().ok();
    let line = away.hob(["remove", "welcome"]).fails(5);
    assert!(line.contains("token `vault`"), "{line}");
    // Revoked, it is refused with the way back in.
    away.hob(["token", "revoke", "vault", "--context", "home"])
        .ok();
    let line = away.hob(["secret", "list"]).fails(5);
    assert!(line.contains("--name vault"), "{line}");

    let audit = ["audit", "--context", "home", "-o", "json"];
    let audit = away.hob(audit).json();
    let lines = audit.as_array().unwrap().iter().map(|record| {
        let text = |key: &str| record[key].as_str().unwrap().to_owned();
        let who = (text("who"), text("action"), text("target"));
        format!("{} {} {} {}", who.0, who.1, who.2, record["status"])
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "admin token.create ci 201",
            "admin token.create vault 201",
            "token:ci function.deploy welcome 200",
            "token:vault secret.set key 201",
            "token:vault function.remove welcome 403",
            "admin token.revoke vault 204",
        ]
    );
}

#[test]
fn a_logout_forgets_the_password_and_keeps_the_way() {
    let away = Away::new();
    away.login(["--name", "home"]).ok();
    let said = away.hob(["logout"]).ok();
    assert!(said.contains("context `home`"), "{said}");
    let kept = fs::read_to_string(away.file()).unwrap();
    assert!(
        !kept.contains(away.password()) && kept.contains("BEGIN CERTIFICATE"),
        "{kept}"
    );
    let line = away.hob(["list"]).fails(5);
    let cure = format!("hob login {} --name home", away.url());
    assert!(line.contains(&cure), "{line}");
    let line = away.hob(["logout", "home"]).fails(1);
    assert!(line.contains("has no login"), "{line}");
    // It is the context that other verbs would use.
    away.login(["--name", "other"]).ok();
    let of_variable = || away.command(["logout"]).env("HOB_CONTEXT", "home");
    let line = of_variable().run().fails(1);
    assert!(line.contains("`home` has no login"), "{line}");
    let said = of_variable().args(["--context", "other"]).run().ok();
    assert!(said.contains("context `other`"), "{said}");
    let line = away.hob(["logout", "home", "--context", "other"]).fails(64);
    assert!(line.contains("leave one of them out"), "{line}");
    let line = away.hob(["logout", "--context", "local"]).fails(64);
    assert!(line.contains("takes no login"), "{line}");
    away.hob(["context", "remove", "other"]).ok();
    away.hob(["context", "use", "home"]).ok();
    // The authority is known from before.
    let login = away.command(["login", &away.url()]);
    let said = login.stdin(away.password()).run().ok();
    assert!(said.contains("context `home`"), "{said}");
    away.hob(["list"]).ok();
}

#[test]
fn a_file_that_others_can_read_is_mended_and_one_that_they_can_change_is_refused() {
    let away = Away::new();
    away.login([]).ok();
    let set = |mode| fs::set_permissions(away.file(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o644);
    let said = away.hob(["list"]);
    assert!(
        said.stderr
            .contains("warning: others could read the passwords"),
        "{said:?}"
    );
    said.ok();
    assert_eq!(mode(&away.file()), 0o600);
    set(0o620);
    let line = away.hob(["list"]).fails(64);
    assert!(line.contains("chmod 600"), "{line}");
    set(0o600);
    // Whatever is wrong with it, no password of it is shown.
    let broken = fs::read_to_string(away.file())
        .unwrap()
        .replace("username = ", "username = = ");
    fs::write(away.file(), broken).unwrap();
    let said = away.hob(["list"]);
    assert!(!said.stderr.contains(away.password()), "{said:?}");
    assert!(said.fails(64).contains("line "));
}

#[test]
fn authorities_of_a_variable_are_trusted_too() {
    let away = Away::new();
    let command = away.command(["list"]).env("HOB_SERVER", away.url());
    let command = command.env("HOB_PASSWORD", away.password());
    let command = command.env("HOB_CA", away.root());
    let said = command.run();
    assert!(!said.stderr.contains("warning"), "{said:?}");
    said.ok();
}

#[test]
fn a_new_password_is_that_of_the_context_too() {
    let away = Away::new();
    away.login([]).ok();
    let new = "correct horse battery";
    let passwd = away.command(["passwd", "--password-stdin"]);
    passwd.stdin(new).run().ok();
    away.hob(["list"]).ok();
    let kept = fs::read_to_string(away.file()).unwrap();
    assert!(
        kept.contains(new) && !kept.contains(away.password()),
        "{kept}"
    );
}

#[test]
fn a_new_password_is_shown_though_it_cannot_be_kept() {
    let away = Away::new();
    away.login([]).ok();
    // No file can be written, which root is told as well.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" passwd --generate";
    let said = Cli::new(Path::new("sh"))
        .env("HOB_DATA", away.home.path().join("no-server"))
        .env("XDG_CONFIG_HOME", away.home.path())
        .args(["-c", script, HOB])
        .run();
    let warning = "warning: context `localhost` still has the old password";
    let cure = format!("`hob login {} --name localhost`", away.url());
    assert!(
        said.stderr.contains(warning) && said.stderr.contains(&cure),
        "{said:?}"
    );
    let new = said.ok();
    away.hob(["list"]).fails(5);
    let login = away.command(["login", &away.url()]);
    login.stdin(new).run().ok();
    away.hob(["list"]).ok();
}
