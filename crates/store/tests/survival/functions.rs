use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use hob_model::{FunctionName, Run, openfaas::FunctionNamespace};
use hob_store::{Store, StoreError};

use crate::function;

fn open(folder: &Path) -> Store {
    Store::open(folder).expect("store opens")
}

fn refusal(folder: &Path) -> StoreError {
    Store::open(folder).expect_err("must be refused")
}

fn sqlite(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("hob.db")).expect("opens");
    connection.execute_batch(sql).expect("sql");
}

#[test]
fn functions_come_back_exactly_and_in_order() {
    let data = tempfile::tempdir().expect("tempdir");
    let (mut b, a) = (function("b"), function("a.staging"));
    b.revision.run = Run::Static { root: ".".into() };
    let store = open(data.path());
    store.put_function(&a).expect("put");
    store.put_function(&b).expect("put");
    drop(store);

    let store = open(data.path());
    assert_eq!(store.functions().expect("read"), [b.clone(), a.clone()]);
    assert_eq!(store.function(&a.name).expect("read"), Some(a));
}

#[test]
fn a_function_is_replaced_scaled_and_removed() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut function = function("hello");
    let other: FunctionName = "other".parse().expect("valid");
    store.put_function(&function).expect("put");
    function.revision.digest = "e".repeat(64);
    store.put_function(&function).expect("put");
    assert!(store.set_replicas(&function.name, 0, None).expect("set"));
    assert!(!store.set_replicas(&other, 1, None).expect("set"));
    function.replicas = 0;
    assert_eq!(store.functions().expect("read"), [function.clone()]);
    assert!(store.remove_function(&function.name).expect("remove"));
    assert!(!store.remove_function(&function.name).expect("remove"));
    assert_eq!(store.function(&function.name).expect("read"), None);
}

#[test]
fn a_second_hob_is_kept_out_and_told_of_the_first() {
    let data = tempfile::tempdir().expect("tempdir");
    let first = open(data.path());
    let message = refusal(data.path()).to_string();
    assert!(
        message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
    let handle = first.clone();
    drop(first);
    refusal(data.path());
    drop(handle);
    open(data.path());
}

#[test]
fn a_database_of_a_newer_hob_is_left_alone() {
    let data = tempfile::tempdir().expect("tempdir");
    drop(open(data.path()));
    sqlite(data.path(), "PRAGMA user_version = 999");
    let before = fs::read(data.path().join("hob.db")).expect("read");
    let error = refusal(data.path());
    assert!(
        matches!(error, StoreError::Newer { found: 999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("hob.db"), "{error}");
    assert_eq!(fs::read(data.path().join("hob.db")).expect("read"), before);
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let data = tempfile::tempdir().expect("tempdir");
    let path = data.path().join("hob.db");
    fs::write(&path, "groceries: milk, bread, ".repeat(100)).expect("write");
    let error = refusal(data.path());
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert!(
        fs::read_to_string(&path)
            .expect("read")
            .starts_with("groceries")
    );
}

#[test]
fn a_row_damaged_by_hand_does_not_take_the_others_along() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    store.put_function(&function("bad")).expect("put");
    store.put_function(&function("good")).expect("put");
    sqlite(
        data.path(),
        "UPDATE functions SET settings = '{' WHERE name = 'bad'",
    );
    let names: Vec<_> = store.functions().expect("read");
    assert_eq!(names.len(), 1);
    let error = store
        .function(&"bad".parse().expect("valid"))
        .expect_err("damaged");
    assert!(
        error
            .to_string()
            .contains("`settings` of function `bad.openfaas-fn`"),
        "{error}"
    );
}

#[test]
fn the_database_is_private_and_reads_with_the_sqlite3_tool() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    store.put_function(&function("hello")).expect("put");
    let path = data.path().join("hob.db");
    let mode = fs::metadata(&path).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let query = "SELECT name, replicas, json_extract(settings, '$.timeout'), datetime(created_at) FROM functions";
    let output = match Command::new("sqlite3").arg(&path).arg(query).output() {
        Ok(output) => output,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: no sqlite3 ({error}): apt-get install sqlite3");
            return;
        }
        Err(error) => panic!("sqlite3: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), "hello|3|1m|2023-11-14 22:13:20", "{output:?}");
}

#[test]
fn the_admin_password_is_made_once_and_kept_as_a_hash() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    assert_eq!(store.admin_password_hash().expect("read"), None);
    let password = store.ensure_admin_password().expect("made").expect("new");
    drop(store);

    let store = open(data.path());
    assert!(store.ensure_admin_password().expect("read").is_none());
    let hash = store.admin_password_hash().expect("read").expect("kept");
    assert!(hash.verify(password.reveal().as_bytes()));
    assert!(!hash.verify(b"wrong"));
    for file in fs::read_dir(data.path()).expect("read") {
        let bytes = fs::read(file.expect("entry").path()).expect("read");
        let found = bytes
            .windows(password.reveal().len())
            .any(|part| part == password.reveal().as_bytes());
        assert!(!found, "the password is on the disk");
    }
}

#[test]
fn a_clock_before_1970_does_not_stop_a_deploy() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut function = function("hello");
    function.updated_at = std::time::UNIX_EPOCH - std::time::Duration::from_secs(1);
    store.put_function(&function).expect("put");
    let back = store
        .function(&function.name)
        .expect("read")
        .expect("there");
    assert_eq!(back.updated_at, std::time::UNIX_EPOCH);
}

#[test]
fn namespaces_are_kept_with_their_words() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut namespace = FunctionNamespace {
        name: "staging".into(),
        labels: [("openfaas".to_owned(), "1".to_owned())].into(),
        annotations: [("note".to_owned(), "many\nlines".to_owned())].into(),
    };
    store.put_namespace(&namespace).expect("puts");
    drop(store);
    let store = open(data.path());
    let found = store.namespace("staging").expect("reads");
    assert_eq!(found.as_ref(), Some(&namespace));
    namespace.labels.clear();
    store.put_namespace(&namespace).expect("puts");
    let found = store.namespace("staging").expect("reads");
    assert_eq!(found, Some(namespace));
    assert_eq!(store.namespaces().expect("reads"), ["staging"]);
    assert!(store.remove_namespace("staging").expect("removes"));
    assert!(!store.remove_namespace("staging").expect("removes"));
    assert_eq!(store.namespace("staging").expect("reads"), None);
}
