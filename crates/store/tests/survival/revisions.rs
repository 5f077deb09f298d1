use std::path::Path;

use hob_model::{Canary, Function, FunctionName, Run};
use hob_store::Store;

use crate::function;

fn open(folder: &Path) -> Store {
    Store::open(folder).expect("store opens")
}

fn numbers(store: &Store, name: &FunctionName) -> Vec<u32> {
    let kept = store.revisions(name).expect("reads");
    kept.iter().map(|one| one.number).collect()
}

/// Adds a revision of this digest.
fn add(store: &Store, function: &mut Function, digest: &str, keep: u32) -> u32 {
    function.revision.digest = digest.to_owned();
    function.revision.bundle = digest.to_owned();
    function.number = store.add_revision(function, keep).expect("adds");
    function.number
}

#[test]
fn numbers_grow_and_the_newest_are_kept() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let (mut hello, mut other) = (function("hello"), function("hello.staging"));
    for number in 1..=4 {
        assert_eq!(add(&store, &mut hello, &format!("r{number}"), 3), number);
    }
    assert_eq!(add(&store, &mut other, "other", 3), 1);
    assert_eq!(numbers(&store, &hello.name), [4, 3, 2]);
    assert_eq!(
        store.function(&hello.name).expect("reads"),
        Some(hello.clone())
    );
    let bundles = store.needed_bundles().expect("reads");
    assert!(
        bundles.iter().eq(["other", "r2", "r3", "r4"]),
        "{bundles:?}"
    );

    // One of them is made current again, and the next is still one more than the highest.
    let kept = store.revisions(&hello.name).expect("reads");
    assert_eq!(kept[0].revision, hello.revision);
    assert_eq!(kept[0].deployed_at, hello.updated_at);
    hello.revision = kept[2].revision.clone();
    hello.number = 2;
    store.put_function(&hello).expect("puts");
    drop(store);
    let store = open(data.path());
    let back = store.function(&hello.name).expect("reads");
    assert_eq!(back.map(|function| function.number), Some(2));
    assert_eq!(add(&store, &mut hello, "r5", 1), 5);
    assert_eq!(numbers(&store, &hello.name), [5]);
}

#[test]
fn a_canary_is_a_kept_revision_beside_the_one_that_answers() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut hello = function("hello");
    add(&store, &mut hello, "r1", 1);
    let mut revision = hello.revision.clone();
    revision.digest = "r2".into();
    revision.bundle = "r2".into();
    let canary = Canary {
        revision,
        number: 0,
        share: "0.25%".parse().expect("valid"),
        replicas: 2,
    };
    let both = store.add_canary(hello.clone(), canary.clone(), 1);
    let both = both.expect("adds");
    let number = both.canary.as_ref().map(|canary| canary.number);
    assert_eq!((both.number, number), (1, Some(2)));
    drop(store);
    let store = open(data.path());
    assert_eq!(
        store.functions().expect("reads"),
        std::slice::from_ref(&both)
    );
    // However few are kept, what answers calls is.
    assert_eq!(numbers(&store, &hello.name), [2, 1]);
    let bundles = store.needed_bundles().expect("reads");
    assert!(bundles.iter().eq(["r1", "r2"]), "{bundles:?}");

    // The next one takes its place, and its number is one more.
    let next = store.add_canary(both, canary, 1).expect("adds");
    assert_eq!(next.canary.as_ref().map(|canary| canary.number), Some(3));
    assert_eq!(numbers(&store, &hello.name), [3, 1]);
    store.put_function(&hello).expect("puts");
    assert_eq!(store.function(&hello.name).expect("reads"), Some(hello));
}

#[test]
fn revisions_go_with_their_function() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut hello = function("hello");
    let mut other = function("other");
    add(&store, &mut hello, "r1", 5);
    add(&store, &mut hello, "r2", 5);
    add(&store, &mut other, "o1", 5);
    assert!(store.remove_function(&hello.name).expect("removes"));
    assert!(numbers(&store, &hello.name).is_empty());
    // Whoever replaces it names the bundle that it had.
    let bundles = || store.needed_bundles().expect("reads");
    assert!(bundles().iter().eq(["o1", "r2"]), "{:?}", bundles());
    let connection = rusqlite::Connection::open(data.path().join("hob.db")).expect("opens");
    connection
        .execute(
            "UPDATE removed_bundles SET removed_at = removed_at - 3600000",
            [],
        )
        .expect("sql");
    assert!(bundles().iter().eq(["o1"]), "{:?}", bundles());
    assert_eq!(numbers(&store, &other.name), [1]);
    assert_eq!(add(&store, &mut hello, "r2", 5), 1);
}

#[test]
fn what_images_need_is_known_of_every_revision() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut hello = function("hello");
    hello.revision.bundle = String::new();
    let run = |image: &str| {
        let json = format!(
            r#"{{"image":{{"image":"{image}","manifest":"m","layers":["l"],"argv":[],"env":{{}},
                "cwd":"","user":[0,0,[]],"stop_signal":15,"port":8080}}}}"#
        );
        serde_json::from_str::<Run>(&json).expect("valid")
    };
    for image in ["a:1", "a:2"] {
        hello.revision.run = run(image);
        store.add_revision(&hello, 5).expect("adds");
    }
    assert_eq!(
        store.needed_images().expect("reads"),
        [run("a:1"), run("a:2")]
    );
    assert!(numbers(&store, &hello.name).eq(&[2, 1]));
}

/// What a release before revisions has written is there, each function at its first revision.
#[test]
fn an_older_database_gets_a_revision_for_each_function() {
    let data = tempfile::tempdir().expect("tempdir");
    let connection = rusqlite::Connection::open(data.path().join("hob.db")).expect("opens");
    for step in [
        include_str!("../../migrations/1.sql"),
        include_str!("../../migrations/2.sql"),
        "PRAGMA user_version = 2;
         INSERT INTO functions VALUES ('openfaas-fn', 'hello', 'd1', 'python', 3,
             '2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z', '2024-01-03T00:00:00Z',
             '{\"static\":{\"root\":\".\"}}', '{}', 'b1');",
    ] {
        connection.execute_batch(step).expect("sql");
    }
    let settings = serde_json::to_string(&function("hello").revision.settings).expect("json");
    connection
        .execute("UPDATE functions SET settings = ?1", [settings])
        .expect("sql");
    drop(connection);

    let store = open(data.path());
    let mut found = store.functions().expect("reads").remove(0);
    assert_eq!((found.number, found.replicas), (1, 3));
    assert_eq!(found.revision.bundle, "b1");
    let kept = store.revisions(&found.name).expect("reads");
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].number, &kept[0].revision), (1, &found.revision));
    assert_eq!(kept[0].deployed_at, found.updated_at);
    assert_eq!(add(&store, &mut found, "d2", 5), 2);
}

#[test]
fn a_revision_damaged_by_hand_does_not_take_the_others_along() {
    let data = tempfile::tempdir().expect("tempdir");
    let store = open(data.path());
    let mut hello = function("hello");
    add(&store, &mut hello, "r1", 5);
    add(&store, &mut hello, "r2", 5);
    let connection = rusqlite::Connection::open(data.path().join("hob.db")).expect("opens");
    connection
        .execute_batch("UPDATE revisions SET settings = '{' WHERE number = 1")
        .expect("sql");
    assert_eq!(numbers(&store, &hello.name), [2]);
    // Its bundle is not given up for that.
    assert!(store.needed_bundles().expect("reads").contains("r1"));
}
