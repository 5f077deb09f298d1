use hob_model::{EndReason, Isolation, port::Engine};

use hob_sandbox::{Able, Mechanism};

use crate::world::{World, is_running, name};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_at_level_process_has_paths_of_the_host() {
    let world = World::with(|config| config.isolation = Some(Isolation::Process));
    world.secrets.set("token", b"x");
    let mut function = world.server("hello", "one");
    function.revision.settings.secrets = vec!["token".parse().unwrap()];
    world.apply(&function).await;
    let run = world.run().display().to_string();
    for variable in ["HOB_SOCKET", "HOB_SECRETS", "HOME"] {
        let path = world.text("hello", &format!("/env/{variable}")).await;
        assert!(path.starts_with(&run), "{variable}={path}");
    }
    assert_eq!(world.text("hello", "/secret/token").await, "x");
    let pid = world.observe("hello").await.instances[0].pid;
    world.engine.remove(&name("hello")).await.unwrap();
    assert!(!is_running(pid));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_a_container_has_the_paths_of_the_contract() {
    let world = World::new();
    if world.sandbox.capabilities().strongest() != Some(Isolation::Container) {
        assert!(std::env::var_os("CI").is_none(), "no containers here");
        eprintln!("NOT TESTED: this machine cannot make containers");
        return world.end().await;
    }
    world.apply(&world.server("hello", "one")).await;
    for (variable, value) in [
        ("HOB_SOCKET", "/run/hob/http.sock"),
        ("HOB_SECRETS", "/var/openfaas/secrets"),
        ("HOME", "/tmp"),
    ] {
        let path = world.text("hello", &format!("/env/{variable}")).await;
        assert_eq!(path, value, "{variable}");
    }
    let source = world.text("hello", "/read/function/handler.py").await;
    assert!(source.contains("HOB_SOCKET"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_and_nothing_weaker_runs() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.revision.settings.runtime = Some("no-such-runtime".into());
    let refusal = world.engine.apply(&function).await.unwrap_err();
    assert_eq!(refusal.reason(), EndReason::Host);
    assert!(refusal.to_string().contains("no-such-runtime"), "{refusal}");
    assert!(world.routes.find("hello").is_none());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_gvisor_a_program_is_reached_by_its_port() {
    let world = World::new();
    let runtimes = world.sandbox.capabilities();
    if runtimes.able(Isolation::Container, &Mechanism::Oci("runsc".into())) != Able::Yes {
        eprintln!("NOT TESTED: there is no runsc here");
        return world.end().await;
    }
    let source = "\
import http.server, os
assert 'HOB_SOCKET' not in os.environ
address = ('127.0.0.1', int(os.environ['PORT']))
http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
";
    let mut function = world.function("hello", "one", source);
    function.revision.settings.runtime = Some("runsc".into());
    world.apply(&function).await;
    assert_eq!(world.ready("hello").len(), 1);
    world.end().await;
}

/// At level `process` all functions have one user, and only landlock stands between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_cannot_ask_for_less_to_read_what_others_may() {
    let world = World::new();
    world.secrets.set("key", b"hush");
    let mut victim = world.server("victim", "one");
    victim.revision.settings.secrets = vec!["key".parse().unwrap()];
    world.apply(&victim).await;
    let mut spy = world.server("spy", "one");
    spy.revision.settings.isolation = Some(Isolation::Process);
    if let Err(refusal) = world.engine.apply(&spy).await {
        assert!(refusal.to_string().contains("landlock"), "{refusal}");
    } else {
        let path = world.run().join("secrets/openfaas-fn/victim/key");
        let read = world.call("spy", &format!("/read{}", path.display())).await;
        assert!(read.is_err(), "the spy read {read:?}");
    }
    world.end().await;
}
