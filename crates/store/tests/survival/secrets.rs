use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use hob_model::{
    Label, SecretName,
    port::{SecretError, Secrets},
};
use hob_store::{SecretStore, StoreError, Written};

const NS: &str = "openfaas-fn";

fn open(data: &Path) -> SecretStore {
    SecretStore::open(&data.join("secrets"), &data.join("identity.txt")).expect("opens")
}

fn ns() -> Label {
    NS.parse().expect("valid")
}

fn name(text: &str) -> SecretName {
    text.parse().expect("valid")
}

fn reveal(store: &SecretStore, secret: &str) -> Vec<u8> {
    let value = store.reveal(NS, &name(secret)).expect("opens");
    value.expose().to_vec()
}

fn names(store: &SecretStore) -> Vec<String> {
    let listed = store.list(&ns()).expect("lists");
    listed.into_iter().map(|secret| secret.name).collect()
}

#[test]
fn exactly_the_bytes_that_were_set_come_back() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let every_byte: Vec<u8> = (0..=255).collect();
    let largest = vec![7; SecretStore::LARGEST];
    for value in [
        b"\n".as_slice(),
        b"no newline",
        b"two\r\n\n",
        b"\0",
        &every_byte,
        &largest,
    ] {
        store.set(&ns(), &name("x"), value).expect("set");
        assert_eq!(reveal(&store, "x"), value);
    }
}

#[test]
fn a_secret_that_is_to_be_new_or_not_is_not_the_other() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let set = |only, value: &[u8]| store.set_only(only, &ns(), &name("key"), value);
    assert!(!set(Written::Updated, b"none").expect("no error"));
    assert!(names(&store).is_empty());
    assert!(set(Written::New, b"one").expect("sets"));
    assert!(!set(Written::New, b"two").expect("no error"));
    assert_eq!(reveal(&store, "key"), b"one");
    assert!(set(Written::Updated, b"two").expect("sets"));
    assert_eq!(reveal(&store, "key"), b"two");
}

#[test]
fn setting_says_whether_the_secret_is_new_and_removing_whether_it_was_there() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let set = |value: &[u8]| store.set(&ns(), &name("x"), value).expect("set");
    assert_eq!(set(b"1"), Written::New);
    assert_eq!(set(b"2"), Written::Updated);
    assert_eq!(reveal(&store, "x"), b"2");
    assert!(store.remove(&ns(), &name("x")).expect("remove"));
    assert!(!store.remove(&ns(), &name("x")).expect("remove"));
    let error = store.reveal(NS, &name("x")).expect_err("gone");
    assert!(matches!(error, SecretError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("hob secret set x"), "{error}");
}

#[test]
fn namespaces_are_apart_and_cannot_lead_elsewhere() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let staging: Label = "staging".parse().expect("valid");
    store.set(&staging, &name("x"), b"s").expect("set");
    assert!(names(&store).is_empty());
    assert_eq!(store.list(&staging).expect("lists").len(), 1);
    for outside in ["../staging", "..", "", "/", "staging/"] {
        let error = store.reveal(outside, &name("x")).expect_err(outside);
        assert!(
            matches!(error, SecretError::NotFound { .. }),
            "{outside}: {error}"
        );
    }
}

#[test]
fn a_list_is_sorted_and_passes_junk_by() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    for secret in ["b", "a.b", "c-1"] {
        store.set(&ns(), &name(secret), b"x").expect("set");
    }
    let folder = data.path().join("secrets").join(NS);
    for junk in [
        "README",
        ".draft",
        "x.age.swp",
        "Upper.age",
        ".age",
        "a b.age",
    ] {
        fs::write(folder.join(junk), "junk").expect("write");
    }
    fs::create_dir(folder.join("folder.age")).expect("mkdir");
    assert_eq!(names(&store), ["a.b", "b", "c-1"]);
    store
        .set(&ns(), &name("d"), b"x")
        .expect("a draft of a crash is no obstacle");
    assert_eq!(reveal(&store, "d"), b"x");
}

#[test]
fn values_that_nobody_means_are_refused_and_the_former_stands() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    store.set(&ns(), &name("x"), b"good").expect("set");
    let empty = store.set(&ns(), &name("x"), b"").expect_err("empty");
    assert!(matches!(empty, StoreError::SecretEmpty(_)) && empty.is_callers_fault());
    let large = vec![0; SecretStore::LARGEST + 1];
    let large = store.set(&ns(), &name("x"), &large).expect_err("large");
    assert!(
        matches!(large, StoreError::SecretTooLarge { .. }),
        "{large}"
    );
    assert_eq!(reveal(&store, "x"), b"good");

    let long = ["x".repeat(63).as_str(); 4].join(".")[..253].to_owned();
    let error = store.set(&ns(), &name(&long), b"x").expect_err("long");
    assert!(
        matches!(error, StoreError::SecretNameTooLong { .. }),
        "{error}"
    );
    assert!(!store.remove(&ns(), &name(&long)).expect("not there"));
    store.set(&ns(), &name(&long[..251]), b"x").expect("fits");
    assert_eq!(reveal(&store, &long[..251]), b"x");
}

#[test]
fn only_the_owner_reads_the_files() {
    let data = tempfile::tempdir().expect("tempdir");
    open(data.path()).set(&ns(), &name("x"), b"x").expect("set");
    let mode = |path: &str| {
        let metadata = fs::metadata(data.path().join(path)).expect("metadata");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("identity.txt"), 0o600);
    assert_eq!(mode("secrets"), 0o700);
    assert_eq!(mode("secrets/openfaas-fn"), 0o700);
    assert_eq!(mode("secrets/openfaas-fn/x.age"), 0o600);
}

#[test]
fn secrets_survive_the_move_of_their_folder() {
    let home = tempfile::tempdir().expect("tempdir");
    let (old, new) = (home.path().join("old"), home.path().join("new"));
    fs::create_dir(&old).expect("mkdir");
    open(&old).set(&ns(), &name("x"), b"value").expect("set");
    fs::rename(&old, &new).expect("rename");
    assert_eq!(reveal(&open(&new), "x"), b"value");
}

#[test]
fn a_lost_identity_is_never_replaced_while_secrets_need_it() {
    let data = tempfile::tempdir().expect("tempdir");
    let (identity, aside) = (data.path().join("identity.txt"), data.path().join("aside"));
    open(data.path()).set(&ns(), &name("x"), b"x").expect("set");
    fs::rename(&identity, &aside).expect("rename");

    let store = open(data.path());
    let error = store.set(&ns(), &name("y"), b"y").expect_err("no key");
    assert!(
        matches!(error, StoreError::IdentityMissing { .. }),
        "{error}"
    );
    let error = store
        .reveal(NS, &name("x"))
        .expect_err("no key")
        .to_string();
    assert!(error.contains("identity.txt` is missing"), "{error}");
    assert!(!identity.exists());

    // Put back, it works at once.
    fs::rename(&aside, &identity).expect("rename");
    assert_eq!(reveal(&store, "x"), b"x");
}

#[test]
fn damaged_files_are_named_in_one_line_and_the_rest_opens() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    store.set(&ns(), &name("good"), b"topsecret").expect("set");
    let folder = data.path().join("secrets").join(NS);
    let sealed = fs::read(folder.join("good.age")).expect("read");
    fs::write(folder.join("cut.age"), &sealed[..sealed.len() - 3]).expect("write");
    fs::write(folder.join("text.age"), "topsecret").expect("write");
    fs::write(folder.join("empty.age"), "").expect("write");
    for bad in ["cut", "text", "empty"] {
        let error = store.reveal(NS, &name(bad)).expect_err(bad).to_string();
        assert!(error.contains(bad) && error.lines().count() == 1, "{error}");
        assert!(!error.contains("topsecret"), "{error}");
    }
    assert_eq!(reveal(&store, "good"), b"topsecret");
}

#[test]
fn an_identity_file_that_is_none_is_named_and_kept() {
    let data = tempfile::tempdir().expect("tempdir");
    let identity = data.path().join("identity.txt");
    for text in ["", "# only a comment\n", "AGE-SECRET-KEY-1XYZ\n", "hello"] {
        fs::write(&identity, text).expect("write");
        let error = open(data.path())
            .set(&ns(), &name("x"), b"x")
            .expect_err(text);
        assert!(error.to_string().contains("identity.txt"), "{error}");
        assert_eq!(fs::read_to_string(&identity).expect("read"), text);
    }
}

// === with the real age ===

/// `None`, loudly, where there is no `age`; a failure where tests must be complete.
fn age(program: &str, args: &[&str], input: &[u8]) -> Option<Output> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: no {program} ({error}): apt-get install age");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).expect("age reads");
    drop(stdin);
    let output = child.wait_with_output().expect("age ends");
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    Some(output)
}

#[test]
fn the_real_age_opens_our_files_and_we_open_its() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let path = |text: &str| data.path().join(text).display().to_string();
    let identity = path("identity.txt");
    store
        .set(&ns(), &name("ours"), b"exact\r\nbytes\0")
        .expect("set");
    let ours = path("secrets/openfaas-fn/ours.age");
    let Some(output) = age("age", &["-d", "-i", &identity, &ours], b"") else {
        return;
    };
    assert_eq!(output.stdout, b"exact\r\nbytes\0");

    let recipient = age("age-keygen", &["-y", &identity], b"").expect("both come together");
    let recipient = String::from_utf8(recipient.stdout).expect("text");
    for (file, armor) in [("theirs", None), ("armored", Some("-a"))] {
        let target = path(&format!("secrets/openfaas-fn/{file}.age"));
        let mut args = vec!["-r", recipient.trim(), "-o", &target];
        args.extend(armor);
        age("age", &args, b"by hand").expect("there");
        assert_eq!(reveal(&store, file), b"by hand");
    }
    assert_eq!(names(&store), ["armored", "ours", "theirs"]);
}

#[test]
fn an_identity_made_by_age_keygen_is_used() {
    let data = tempfile::tempdir().expect("tempdir");
    let identity = data.path().join("identity.txt").display().to_string();
    if age("age-keygen", &["-o", &identity], b"").is_none() {
        return;
    }
    let made = fs::read_to_string(&identity).expect("read");
    let store = open(data.path());
    store.set(&ns(), &name("x"), b"x").expect("set");
    assert_eq!(reveal(&open(data.path()), "x"), b"x");
    assert_eq!(fs::read_to_string(&identity).expect("read"), made);
}
