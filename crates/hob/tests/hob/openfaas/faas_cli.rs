//! The real faas-cli, where this machine has it.

use std::{fs, path::PathBuf, sync::Arc};

use hob_testkit::{Cli, Hob, Net, Outcome, has_programs, rare_program};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    bench::{handler, write},
    images::{
        desk::{Recipe, hob},
        network::NEEDED,
    },
    tls::tls_address,
};

/// It answers every path with what comes, where a folder has no page.
const ECHO: &str = "#!/bin/sh\necho\ncat\nenv\nls /var/openfaas/secrets\n";
const IMAGE: &str = "local.test/hello:1";

/// The program, at home in a folder of the test's.
struct FaasCli {
    hob: Hob,
    // faas-cli cannot ask for no network, so functions get one on a machine that the test makes up.
    net: Arc<Net>,
    program: PathBuf,
    home: TempDir,
    /// Where it looks for the server.
    gateway: String,
}

impl FaasCli {
    /// A server with an image, and nobody logged in.
    fn find() -> Option<Self> {
        Self::with("")
    }

    /// The same, with this configuration file.
    fn with(config: &str) -> Option<Self> {
        if !has_programs(&NEEDED) {
            return None;
        }
        let program = rare_program("faas-cli")?;
        let echo = Recipe {
            entrypoint: &["/bin/httpd", "-f", "-p", "8080", "-h", "/echo"],
            files: &[("echo/cgi-bin/index.cgi", ECHO)],
            ..Recipe::default()
        };
        let net = Arc::new(Net::new());
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.toml");
        write(&file, config);
        let hob = hob(&[echo]).env("HOB_CONFIG", file).inside(&net).start();
        Some(Self {
            gateway: hob.url(),
            hob,
            net,
            program,
            home,
        })
    }

    /// The same, with the owner logged in.
    fn logged_in() -> Option<Self> {
        let faas = Self::find()?;
        let login = ["login", "--username", "admin", "--password-stdin"];
        assert_eq!(faas.run(&login, faas.hob.password()).code, 0);
        Some(faas)
    }

    #[track_caller]
    fn says(&self, args: &[&str], expected: &str) -> String {
        let outcome = self.run(args, "");
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let well = outcome.code == 0 && said.contains(expected);
        assert!(well, "{args:?}: {outcome:?}\n{}", self.hob.log());
        said
    }

    #[track_caller]
    fn fails(&self, args: &[&str], expected: &str) {
        let outcome = self.run(args, "");
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let well = outcome.code != 0 && said.contains(expected);
        assert!(well, "{args:?}: {outcome:?}");
    }

    fn run(&self, args: &[&str], stdin: &str) -> Outcome {
        self.command(args).stdin(stdin).run()
    }

    fn command(&self, args: &[&str]) -> Cli {
        let cli = Cli::inside(&self.net, &self.program)
            .args(args)
            .args(["--gateway", &self.gateway]);
        let cli = cli.dir(self.home.path()).env("HOME", self.home.path());
        cli.env("OPENFAAS_CONFIG", self.home.path())
    }

    fn write(&self, file: &str, text: &str) {
        write(&self.home.path().join(file), text);
    }

    /// Deploys a folder, and returns the image that it is shown as.
    fn folder(&self) -> String {
        let folder = self.home.path().join("python");
        let body = "import os\nreturn os.environ.get('WHO', 'nobody')";
        write(&folder.join("handler.py"), &handler(body));
        write(&folder.join("hob.toml"), "timeout = \"7s\"\n");
        let folder = folder.to_str().unwrap();
        self.hob.cli(["deploy", folder, "--name", "folder"]).ok();
        let listed: Value =
            serde_json::from_str(&self.run(&["list", "--json"], "").stdout).unwrap();
        listed[0]["image"].as_str().unwrap().to_owned()
    }

    fn revision(&self, name: &str) -> Value {
        let seen = self.hob.cli(["describe", name, "-o", "json"]).json();
        seen["revision"].clone()
    }
}

#[test]
fn an_image_is_deployed_called_and_removed() {
    let Some(faas) = FaasCli::find() else { return };
    let login = ["login", "--username", "admin", "--password-stdin"];
    let wrong = faas.run(&login, "wrong");
    assert!(wrong.code != 0, "{wrong:?}");
    faas.fails(&["list"], "Unauthorized");
    let outcome = faas.run(&login, faas.hob.password());
    assert!(outcome.code == 0, "{outcome:?}");
    faas.says(&["version", "--warn-update=false"], "hob");
    faas.says(&["ready"], "");

    let image = ["--image", IMAGE];
    let more = ["--env", "A=b", "--fprocess", "cat", "--label", "team=a"];
    let deploy = [&["deploy", "--name", "hello"][..], &image, &more].concat();
    faas.says(&deploy, "202 Accepted");
    let first = faas.revision("hello");
    // Again, which changes nothing.
    faas.says(&deploy, "202 Accepted");
    assert_eq!(faas.revision("hello"), first);
    faas.says(&["ready", "hello"], "hello");
    faas.says(&["list"], "hello");
    faas.says(&["describe", "hello"], IMAGE);
    faas.says(&["describe", "hello"], "team: a");
    faas.says(&["describe", "hello"], "Ready");
    let outcome = faas.run(&["invoke", "hello"], "Dracula");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for expected in ["Dracula", "A=b\n", "fprocess=cat\n"] {
        assert!(outcome.stdout.contains(expected), "{outcome:?}");
    }
    faas.says(&["remove", "hello"], "Removing");
    faas.hob.get("/function/hello").expect(404);
    let outcome = faas.run(&["describe", "hello"], "");
    assert!(outcome.code != 0, "{outcome:?}");
    let outcome = faas.run(&["remove", "hello"], "");
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(
        said.contains("No existing function to remove"),
        "{outcome:?}"
    );
}

#[test]
fn it_comes_by_tls_once_the_own_authority_is_trusted() {
    let table = "[tls]\nlisten = \"127.0.0.1:0\"\nown = true\n";
    let Some(mut faas) = FaasCli::with(table) else {
        return;
    };
    let port = tls_address(&faas.hob).port();
    faas.gateway = format!("https://localhost:{port}");
    let root = faas.hob.data().join("pki/ca.pem");
    let login = ["login", "--username", "admin", "--password-stdin"];
    let password = faas.hob.password();
    // Go trusts those of this file, and else those of the machine.
    let trusting = |args: &[&str]| faas.command(args).env("SSL_CERT_FILE", &root);
    let does = |args: &[&str], stdin: &str, expected: &str| {
        let outcome = trusting(args).stdin(stdin).run();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let well = outcome.code == 0 && said.contains(expected);
        assert!(well, "{args:?}: {outcome:?}\n{}", faas.hob.log());
    };

    let stranger = faas.run(&login, password);
    let said = format!("{}{}", stranger.stdout, stranger.stderr);
    assert!(
        stranger.code != 0 && said.contains("unknown authority"),
        "{stranger:?}"
    );
    assert!(trusting(&login).stdin("wrong").run().code != 0);
    does(&login, password, "credentials saved");
    faas.fails(&["list"], "Cannot connect");
    let deploy = ["deploy", "--name", "hello", "--image", IMAGE];
    does(&deploy, "", "202 Accepted");
    does(&["list"], "", "hello");
    does(&["invoke", "hello"], "Dracula", "Dracula");
    does(&["remove", "hello"], "", "Removing");
    does(&["logout"], "", "removed");
    assert!(trusting(&["list"]).run().code != 0);
}

#[test]
fn a_token_logs_in_and_does_what_its_scopes_let_it() {
    let Some(faas) = FaasCli::find() else { return };
    let token = |name: &str, scopes: &str| {
        let made = faas.hob.cli(["token", "create", name, "--scope", scopes]);
        made.ok().trim_end().to_owned()
    };
    let login = |token: &str| faas.run(&["login", "--password", token], "");
    let image = ["deploy", "--name", "hello", "--image", IMAGE];

    let wrong = login("hob_wrong");
    assert!(wrong.code != 0, "{wrong:?}");
    // It asks for the list of functions to find out whether a login is good.
    let read = login(&token("read", "functions:read"));
    assert_eq!(read.code, 0, "{read:?}");
    faas.says(&["list"], "Function");
    faas.says(&["version", "--warn-update=false"], "hob");
    faas.fails(&image, "403");
    // It ends well whatever it was told.
    faas.run(&["secret", "create", "key", "--from-literal", "x"], "");
    assert_eq!(faas.hob.cli(["secret", "list"]).ok(), "");

    let ci = login(&token("ci", "functions:write,secrets:write"));
    assert_eq!(ci.code, 0, "{ci:?}");
    faas.says(&image, "202 Accepted");
    faas.says(&["secret", "create", "key", "--from-literal", "x"], "202");
    faas.says(&["secret", "list"], "key");
    faas.says(&["remove", "hello"], "Removing");
    faas.hob.cli(["token", "revoke", "ci"]).ok();
    faas.fails(&["list"], "Unauthorized");
}

#[test]
fn secrets_are_made_changed_and_removed() {
    let Some(faas) = FaasCli::logged_in() else {
        return;
    };
    faas.says(&["secret", "create", "key", "--from-literal", "one"], "202");
    faas.says(
        &["secret", "create", "key", "--from-literal", "two"],
        "already exists",
    );
    faas.write("value", "three\n");
    let replace = [
        "secret",
        "create",
        "key",
        "--from-file",
        "value",
        "--replace",
    ];
    faas.says(&replace, "202");
    faas.says(&["secret", "list"], "key");
    let image = ["--image", IMAGE, "--secret", "key"];
    faas.says(
        &[&["deploy", "--name", "hello"][..], &image].concat(),
        "202",
    );
    let outcome = faas.run(&["invoke", "hello"], "");
    assert!(outcome.stdout.ends_with("key\n"), "{outcome:?}");
    faas.says(
        &["secret", "update", "key", "--from-literal", "four"],
        "202",
    );
    faas.says(&["remove", "hello"], "Removing");
    faas.says(&["secret", "remove", "key"], "");
    faas.says(&["secret", "list"], "No secrets found");
    faas.fails(&["secret", "remove", "key"], "");
    let missing = [
        "deploy", "--name", "hello", "--image", IMAGE, "--secret", "key",
    ];
    faas.fails(&missing, "secret `key` does not exist");
}

#[test]
fn namespaces_are_made_changed_and_removed() {
    let Some(faas) = FaasCli::logged_in() else {
        return;
    };
    let deploy = [
        "deploy", "--name", "hello", "--image", IMAGE, "-n", "staging",
    ];
    faas.fails(&deploy, "namespace not valid");
    faas.says(
        &["namespace", "create", "staging", "--label", "a=b"],
        "Created",
    );
    faas.fails(&["namespace", "create", "staging"], "409");
    faas.says(&["namespace", "list"], "staging");
    faas.says(&["namespace", "get", "staging"], "staging");
    faas.says(
        &["namespace", "update", "staging", "--label", "a=c"],
        "Updated",
    );
    faas.says(&deploy, "202 Accepted");
    faas.says(&["list", "-n", "staging"], "hello");
    let outcome = faas.run(&["invoke", "hello", "-n", "staging"], "Mina");
    assert!(outcome.stdout.starts_with("Mina"), "{outcome:?}");
    faas.says(
        &[
            "secret",
            "create",
            "key",
            "--from-literal",
            "1",
            "-n",
            "staging",
        ],
        "202",
    );
    faas.says(&["namespace", "remove", "staging"], "");
    faas.hob.get("/function/hello.staging").expect(404);
    let listed = faas.says(&["namespace", "list"], "openfaas-fn");
    assert!(!listed.contains("staging"), "{listed}");
}

#[test]
fn one_stack_holds_folders_and_images() {
    let Some(faas) = FaasCli::logged_in() else {
        return;
    };
    if !has_programs(&["python3"]) {
        return;
    }
    let folder = faas.folder();
    let stack = |who: &str| {
        format!(
            "version: 1.0\nprovider:\n  name: openfaas\n  gateway: {}\nfunctions:\n  \
             folder:\n    lang: dockerfile\n    handler: ./folder\n    image: {folder}\n    \
             environment:\n      WHO: {who}\n    labels:\n      team: a\n    limits:\n      \
             memory: 40Mi\n  hello:\n    lang: dockerfile\n    handler: ./hello\n    \
             image: {IMAGE}\n    fprocess: cat\n    secrets:\n      - key\n    annotations:\n      \
             note: |\n        two\n        lines\n    requests:\n      cpu: 100m\n",
            faas.hob.url()
        )
    };
    faas.says(&["secret", "create", "key", "--from-literal", "one"], "202");
    faas.write("stack.yml", &stack("Mina"));
    let deploy = ["deploy", "--read-template=false"];
    faas.fails(&["diff"], "Differences found");
    faas.says(&deploy, "202 Accepted");
    assert_eq!(faas.hob.get("/function/folder").expect(200).text(), "Mina");
    faas.says(&["diff"], "no differences found");
    let revisions = || [faas.revision("folder"), faas.revision("hello")];
    let first = revisions();
    faas.says(&deploy, "202 Accepted");
    assert_eq!(revisions(), first);

    faas.write("stack.yml", &stack("Lucy"));
    faas.fails(&["diff"], "env.WHO");
    faas.says(&deploy, "202 Accepted");
    assert_eq!(faas.hob.get("/function/folder").expect(200).text(), "Lucy");
    faas.says(&["diff"], "no differences found");
    // What faas-cli cannot say is as the folder had it.
    let seen = faas.hob.cli(["describe", "folder", "-o", "json"]).json();
    assert_eq!(seen["settings"]["timeout"], "7s");

    let replace = [
        "deploy",
        "--read-template=false",
        "--replace",
        "--update=false",
    ];
    faas.says(&replace, "202 Accepted");
    assert_eq!(faas.hob.get("/function/folder").expect(200).text(), "Lucy");
    faas.says(&["diff"], "no differences found");
    faas.says(&["remove"], "Removing");
    faas.says(&["list"], "");
    assert!(
        fs::read_dir(faas.hob.data().join("bundles"))
            .unwrap()
            .count()
            > 0
    );
}
