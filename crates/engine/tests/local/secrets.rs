use std::{fs, os::unix::fs::PermissionsExt};

use hob_model::{EndReason, SecretName, port::Engine};

use crate::world::{World, entries, eventually};

fn secret(name: &str) -> SecretName {
    name.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_reads_the_exact_bytes_of_the_secrets_that_it_names() {
    let world = World::new();
    world.secrets.set("whatever", b"line\n\x00\xff end ");
    world.secrets.set("other", b"not yours");
    let mut function = world.server("hello", "one");
    function.revision.settings.secrets = vec![secret("whatever")];
    world.apply(&function).await;

    let seen = world.call("hello", "/secret/whatever").await.unwrap();
    assert_eq!(seen, b"line\n\x00\xff end ");
    assert!(world.call("hello", "/secret/other").await.is_err());
    let folder = world.text("hello", "/env/HOB_SECRETS").await;
    let mode = world
        .text("hello", &format!("/mode{folder}/whatever"))
        .await;
    assert_eq!(mode, "400 True");
    let inside = world.run().join("secrets/openfaas-fn/hello");
    let mode = fs::metadata(&inside).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(entries(&inside), ["whatever"]);

    world.scale("hello", 0).await.unwrap();
    let gone = || async { !inside.exists() };
    eventually("no value stays behind", gone).await;
    world.scale("hello", 1).await.unwrap();
    let seen = world.call("hello", "/secret/whatever").await.unwrap();
    assert_eq!(seen, b"line\n\x00\xff end ");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_value_shows_at_once_and_a_removed_one_is_gone() {
    let world = World::new();
    world.secrets.set("token", b"old");
    let mut function = world.server("hello", "one");
    function.revision.settings.secrets = vec![secret("token")];
    world.apply(&function).await;
    world.apply(&world.server("stranger", "one")).await;
    assert_eq!(world.text("hello", "/secret/token").await, "old");

    world.secrets.set("token", b"new");
    let refresh = || world.engine.refresh_secret("openfaas-fn", &SECRET);
    static SECRET: std::sync::LazyLock<SecretName> = std::sync::LazyLock::new(|| secret("token"));
    refresh().await.unwrap();
    assert_eq!(world.text("hello", "/secret/token").await, "new");
    assert!(world.call("stranger", "/secret/token").await.is_err());
    world
        .engine
        .refresh_secret("staging", &SECRET)
        .await
        .unwrap();

    world.secrets.remove("token");
    refresh().await.unwrap();
    assert!(world.call("hello", "/secret/token").await.is_err());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_named_with_its_cure() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.revision.settings.secrets = vec![secret("token")];
    let failure = world.engine.apply(&function).await.unwrap_err();
    assert_eq!(failure.reason(), EndReason::Host);
    let message = failure.to_string();
    assert!(
        message.contains("`token`") && message.contains("hob secret set"),
        "{message}"
    );
    assert!(entries(&world.run().join("secrets/openfaas-fn")).is_empty());
    world.secrets.set("token", b"x");
    world.apply(&function).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_names_a_secret_no_more_loses_it() {
    let world = World::new();
    world.secrets.set("token", b"x");
    let mut function = world.server("hello", "one");
    function.revision.settings.secrets = vec![secret("token")];
    world.apply(&function).await;
    world.apply(&world.server("hello", "two")).await;
    let folder = world.run().join("secrets/openfaas-fn/hello");
    let lost = || async { entries(&folder).is_empty() };
    eventually("the file goes with its last reader", lost).await;
    assert!(folder.exists());
    world.end().await;
}
