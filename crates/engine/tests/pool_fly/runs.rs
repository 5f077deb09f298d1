use std::time::Duration;

use futures_util::{FutureExt, StreamExt, poll};
use hob_engine::pool::{OnClose, Protocol, Reuse};
use hob_model::{
    EndReason, Timespan,
    port::{RunError, Sandboxes},
    sandbox::RunEvent,
};
use hob_testkit::{FlyFault, FlyVerb, assert_eventually};
use serde_json::json;

use crate::world::{IMAGE, POOL, REGION, World, order, read, run, settled, start, well};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_asks_the_api_for_what_bfaas_does() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    let id = world.only();
    let machine = &world.fly.machines()[0];
    let name = &machine.name;
    let first = [
        format!("make {name}"),
        format!("wait {id} started"),
        format!("run {id}"),
        format!("stop {id}"),
        format!("wait {id} stopped"),
    ];
    assert_eq!(world.calls(), first);
    world.fly.forget_calls();
    assert_eq!(
        run(&pool, "exit 3").await.unwrap().end,
        Some((3, EndReason::Exit))
    );
    let further = [
        format!("start {id}"),
        format!("wait {id} started"),
        format!("run {id}"),
        format!("stop {id}"),
        format!("wait {id} stopped"),
    ];
    assert_eq!(world.calls(), further);
    let number = name.strip_prefix("worker-my-pool-").unwrap();
    assert!(number.parse::<u64>().is_ok(), "{name}");
    assert_eq!(machine.region, REGION);
    assert!(machine.lease.is_some());
    let expected = json!({
        "init": { "exec": null },
        "metadata": { "pool_id": format!("{POOL}//{IMAGE}") },
        "services": [{
            "protocol": "tcp", "internal_port": 8001, "autostop": false, "autostart": false,
            "min_machines_running": 0, "ports": [{ "port": 80, "handlers": ["http"] }],
        }],
        "image": IMAGE,
        "auto_destroy": false,
        "restart": { "policy": "no" },
        "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
    });
    assert_eq!(machine.config, expected);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_bfaas_gets_the_bare_script() {
    let world = World::new();
    let pool = world.pool_with(|config| config.protocol = Protocol::Bfaas);
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    assert_eq!(world.fly.runs(), [(world.only(), "echo hi".to_owned())]);
    world.fly.forget_calls();
    let mut rich = order("echo hi");
    rich.stdin = b"more than it can be told".to_vec();
    assert!(matches!(pool.run(rich).await, Err(RunError::Refused(_))));
    assert_eq!(world.calls(), <[String; 0]>::default());
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_of_three_waits_for_one_of_two_machines() {
    let world = World::new();
    let pool = world.pool();
    let first = start(&pool, "echo 1\nhang").await.unwrap();
    let second = start(&pool, "echo 2\nhang").await.unwrap();
    let mut third = Box::pin(start(&pool, "echo 3"));
    assert!(poll!(&mut third).is_pending());
    assert_eq!(pool.standing().waiting, 1);
    drop(first);
    let third = third.await.unwrap();
    assert_eq!(read(third).await, well("3\n"));
    assert_eq!(world.fly.machines().len(), 2);
    drop(second);
    settled(&pool);
    assert_eq!(pool.standing().ready, 2);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_run_is_there_for_the_next() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(
        run(&pool, "write secret\nlook secret").await,
        Ok(well("true\n"))
    );
    assert_eq!(run(&pool, "look secret").await, Ok(well("false\n")));
    world.only();
    world.end(pool).await;

    let pool = world.pool_with(|config| config.reuse = Reuse::Never);
    assert_eventually!(world.fly.machines().is_empty());
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    assert_eventually!(world.fly.machines().is_empty());
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_has_the_machine_stopped() {
    let world = World::new();
    let pool = world.pool();
    let mut hung = start(&pool, "echo on\nhang").await.unwrap();
    let on = hung.events.next().await;
    assert_eq!(on, Some(RunEvent::Stdout(b"on\n".to_vec())));
    drop(hung);
    settled(&pool);
    assert_eventually!(world.fly.hung_up() == 1);
    assert!(world.fly.running().is_empty());
    assert_eq!(run(&pool, "echo next").await, Ok(well("next\n")));
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_past_its_deadline_is_ended_with_its_machine_even_if_nobody_reads() {
    let world = World::new();
    let pool = world.pool();
    let mut short = order("echo on\nhang");
    short.limits.time = Some(Timespan(Duration::from_millis(50)));
    let late = pool.run(short.clone()).await.unwrap();
    let said = read(late).await;
    assert_eq!(said.end, Some((-1, EndReason::Timeout)));
    settled(&pool);
    let unread = pool.run(short).await.unwrap();
    settled(&pool);
    assert!(world.fly.running().is_empty());
    drop(unread);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_a_machine_is_made_leaves_no_machine_behind() {
    let world = World::new();
    let pool = world.pool();
    world.fly.fail(FlyVerb::Make, FlyFault::Held);
    let gone = {
        let mut going = Box::pin(start(&pool, "echo gone"));
        assert!(poll!(&mut going).is_pending());
        let asked = || world.calls().iter().any(|call| call.starts_with("make"));
        assert_eventually!(asked());
        going.now_or_never()
    };
    assert!(gone.is_none());
    world.fly.let_go();
    assert_eventually!(pool.standing().ready == 1);
    assert!(world.fly.runs().is_empty() && world.fly.running().is_empty());
    settled(&pool);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_costs_no_machine() {
    let world = World::new();
    let pool = world.pool();
    let mut odd = order("echo hi");
    odd.language = "cobol".into();
    let unknown = pool.run(odd).await.err();
    let expected = "language `cobol` is unknown here: use bash";
    assert_eq!(unknown, Some(RunError::Refused(expected.into())));
    let mut long = order("echo hi");
    long.limits.time = Some(Timespan::from_secs(3600));
    assert!(matches!(pool.run(long).await, Err(RunError::Refused(_))));
    assert!(world.fly.machines().is_empty());
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_runs_and_stops_machines() {
    let world = World::new();
    let pool = world.pool();
    let running = start(&pool, "hang").await.unwrap();
    let other = start(&pool, "echo unread\nhang").await.unwrap();
    let mut waiting = Box::pin(start(&pool, "echo never"));
    assert!(poll!(&mut waiting).is_pending());
    world.fly.forget_calls();
    pool.close().await;
    assert!(world.fly.running().is_empty());
    assert_eq!(read(running).await.end, Some((-1, EndReason::Cancelled)));
    assert!(matches!(waiting.await, Err(RunError::Unavailable(_))));
    assert!(matches!(
        start(&pool, "echo late").await,
        Err(RunError::Unavailable(_))
    ));
    drop(other);
    world.end(pool).await;
    assert_eq!(world.fly.machines().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_destroys_machines_where_that_is_wanted() {
    let world = World::new();
    let pool = world.pool_with(|config| config.on_close = OnClose::Destroy);
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    let running = start(&pool, "hang").await.unwrap();
    pool.close().await;
    assert!(world.fly.machines().is_empty());
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_while_a_machine_is_made_leaves_none_running() {
    let world = World::new();
    let pool = world.pool();
    world.fly.fail(FlyVerb::Make, FlyFault::Held);
    let mut making = Box::pin(start(&pool, "echo hi"));
    assert!(poll!(&mut making).is_pending());
    assert_eventually!(world.calls().iter().any(|call| call.starts_with("make")));
    let mut closing = Box::pin(pool.close());
    assert!(poll!(&mut closing).is_pending());
    world.fly.let_go();
    closing.await;
    assert!(matches!(making.await, Err(RunError::Unavailable(_))));
    assert!(world.fly.runs().is_empty());
    world.end(pool).await;
}
