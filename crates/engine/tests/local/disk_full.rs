//! The folder of running replicas is full: a start says so and leaves nothing, what runs goes on.

use hob_model::port::Engine;
use hob_testkit::Disk;

use crate::world::{World, entries, name};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_record_cannot_be_written_is_ended_and_named() {
    let Some(disk) = Disk::new(1) else { return };
    let run = disk.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let world = World::with(|config| config.run = run.clone());
    world.secrets.set("key", b"value");
    world.apply(&world.server("old", "one")).await;
    let mut function = world.server("new", "one");
    function.revision.settings.secrets = vec!["key".parse().unwrap()];
    disk.fill();
    let line = world.engine.apply(&function).await.unwrap_err().to_string();
    assert!(
        line.contains("the disk is full: free some space") && line.contains(run.to_str().unwrap()),
        "{line}"
    );
    assert_eq!(entries(&run.join("replicas")).len(), 1, "of the old one");
    assert_eq!(world.text("old", "/").await, "one");
    function.revision.settings.secrets = Vec::new();
    let line = world.engine.apply(&function).await.unwrap_err().to_string();
    assert!(
        line.contains("the disk is full: free some space") && line.contains("replicas"),
        "{line}"
    );
    assert_eq!(entries(&run.join("replicas")).len(), 1, "of the old one");
    assert_eq!(entries(&run.join("r")).len(), 1, "of the old one");
    disk.free();
    world.apply(&function).await;
    assert_eq!(world.text("new", "/").await, "one");
    world.engine.remove(&name("new")).await.unwrap();
    world.end().await;
}
