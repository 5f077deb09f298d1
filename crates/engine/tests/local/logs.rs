use futures_util::StreamExt;
use hob_model::port::{Engine, LogQuery, LogStream};

use crate::world::{SOON, World, entries, eventually, name};

async fn next(stream: &mut LogStream) -> String {
    let line = tokio::time::timeout(SOON, stream.next()).await;
    line.expect("a line in time").expect("a line").unwrap().text
}

async fn lines(world: &World, tail: Option<usize>) -> Vec<String> {
    let query = LogQuery {
        tail,
        ..LogQuery::default()
    };
    let stream = world.engine.logs(&name("hello"), query).await.unwrap();
    stream.map(|line| line.unwrap().text).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_all_replicas_come_in_the_order_of_their_times() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    for word in ["a", "b"] {
        world.call("hello", &format!("/say/{word}")).await.unwrap();
    }
    world.apply(&world.server("hello", "two")).await;
    world.call("hello", "/say/c").await.unwrap();
    assert_eq!(lines(&world, None).await, ["a", "b", "c"]);
    assert_eq!(lines(&world, Some(2)).await, ["b", "c"]);
    assert_eq!(lines(&world, Some(0)).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_new_lines_also_of_replicas_that_start_later() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    world.call("hello", "/say/before").await.unwrap();
    let query = LogQuery {
        tail: Some(1),
        follow: true,
        ..LogQuery::default()
    };
    let mut stream = world.engine.logs(&name("hello"), query).await.unwrap();
    assert_eq!(next(&mut stream).await, "before");
    world.call("hello", "/say/now").await.unwrap();
    assert_eq!(next(&mut stream).await, "now");
    world.scale("hello", 0).await.unwrap();
    world.scale("hello", 1).await.unwrap();
    world.call("hello", "/say/later").await.unwrap();
    assert_eq!(next(&mut stream).await, "later");
    drop(stream);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_replica_need_no_newline() {
    let world = World::new();
    let source = "\
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['HOB_SOCKET'])
listener.listen(8)
while listener.accept()[0].recv(100) == b'':
    pass
print('farewell', end='', flush=True)
";
    world.apply(&world.function("hello", "one", source)).await;
    let query = LogQuery {
        tail: None,
        follow: true,
        ..LogQuery::default()
    };
    let mut stream = world.engine.logs(&name("hello"), query).await.unwrap();
    let _ = world.call("hello", "/").await;
    assert_eq!(next(&mut stream).await, "farewell");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_logs_of_the_last_replicas_stay() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    for _ in 0..7 {
        world.scale("hello", 0).await.unwrap();
        world.scale("hello", 1).await.unwrap();
    }
    let logs = world.data().join("logs/openfaas-fn/hello");
    let few = || async { entries(&logs).len() == 6 };
    eventually("one living and five of the past", few).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_nobody_are_refused() {
    let world = World::new();
    let refusal = world
        .engine
        .logs(&name("nobody"), LogQuery::default())
        .await;
    assert!(refusal.is_err());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_open_its_output_by_name() {
    let world = World::new();
    let source = "\
import os, socket
open('/dev/stderr', 'a').write('by name\\n')
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['HOB_SOCKET'])
listener.listen(8)
while True:
    listener.accept()
";
    world.apply(&world.function("hello", "one", source)).await;
    assert_eq!(lines(&world, None).await, ["by name"]);
    world.end().await;
}
