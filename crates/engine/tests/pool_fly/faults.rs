use std::{fs, thread, time::Duration};

use hob_engine::pool::{FlyPool, OnClose, Reuse};
use hob_model::{
    EndReason,
    port::{RunError, Sandboxes},
};
use hob_testkit::{FlyFault, FlyVerb, assert_eventually};

use crate::world::{Said, World, read, run, settled, start, well};

const VERBS: [FlyVerb; 6] = [
    FlyVerb::List,
    FlyVerb::Make,
    FlyVerb::Start,
    FlyVerb::Stop,
    FlyVerb::Wait,
    FlyVerb::Destroy,
];

fn faults() -> Vec<FlyFault> {
    vec![
        FlyFault::Status(400),
        FlyFault::Status(404),
        FlyFault::Status(408),
        FlyFault::Status(409),
        FlyFault::Status(412),
        FlyFault::Status(422),
        FlyFault::Status(429),
        FlyFault::Status(500),
        FlyFault::Status(503),
        FlyFault::DoneBut(500),
        FlyFault::DoneSilently,
        FlyFault::Closed,
        FlyFault::Garbled,
        FlyFault::Dies,
        FlyFault::LeaseLost,
    ]
}

/// Whatever goes wrong once, or always, a run works or says why not, and after it all is as it was.
#[test]
fn no_fault_leaks_a_machine_or_a_place() {
    let all_of = |verb: FlyVerb| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for fault in faults() {
                for always in [false, true] {
                    one_fault(verb, fault.clone(), always).await;
                }
            }
        });
    };
    thread::scope(|scope| {
        for verb in VERBS {
            scope.spawn(move || all_of(verb));
        }
    });
}

async fn one_fault(verb: FlyVerb, fault: FlyFault, always: bool) {
    let what = format!("{verb:?} {fault:?} always: {always}");
    let world = World::new();
    let pool = world.pool_with(|config| config.on_close = OnClose::Destroy);
    // One machine is free, and one is to be made.
    assert_eq!(run(&pool, "echo 0").await, Ok(well("0\n")), "{what}");
    match always {
        true => world.fly.fail_always(verb, fault.clone()),
        false => world.fly.fail(verb, fault.clone()),
    }
    let both = tokio::join!(unsettled(&pool), unsettled(&pool));
    for said in [both.0, both.1] {
        match said {
            Ok(said) => assert_eq!(said, well("1\n"), "{what}"),
            Err(RunError::Unavailable(why)) => {
                let who = why.contains("from Fly: ") || why.starts_with("worker ");
                assert!(who, "{what}: {why}");
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
    world.fly.mend();
    settled(&pool);
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")), "{what}");
    // What was leased by somebody else meanwhile is free again.
    world.fly.pass(Duration::from_secs(3600));
    pool.close().await;
    // One that was made and answered for with an error, when nobody could look, is found by name.
    let pool = world.pool_with(|config| config.reuse = Reuse::Never);
    assert_eventually!(
        world.fly.machines().is_empty(),
        "{what}: {:?}",
        world.fly.machines()
    );
    pool.close().await;
    let roster = fs::read_to_string(world.roster()).unwrap();
    assert!(roster.contains("\"machines\": []"), "{what}: {roster}");
}

/// As [`run`], with others beside it.
async fn unsettled(pool: &FlyPool) -> Result<Said, RunError> {
    Ok(read(start(pool, "echo 1").await?).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_creates_cost_no_place() {
    for fault in [
        FlyFault::Status(500),
        FlyFault::Status(422),
        FlyFault::Closed,
    ] {
        let world = World::new();
        let pool = world.pool();
        world.fly.fail_always(FlyVerb::Make, fault);
        for _ in 0..10 {
            let failed = run(&pool, "echo hi").await;
            assert!(
                matches!(failed, Err(RunError::Unavailable(_))),
                "{failed:?}"
            );
        }
        world.fly.mend();
        for _ in 0..3 {
            assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
        }
        world.end(pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_made_after_all_is_found_by_name_and_used() {
    for fault in [
        FlyFault::DoneBut(500),
        FlyFault::DoneSilently,
        FlyFault::Garbled,
    ] {
        for shown in [true, false] {
            let world = World::new();
            world.fly.show_nonces(shown);
            let pool = world.pool();
            world.fly.fail(FlyVerb::Make, fault.clone());
            let said = run(&pool, "echo hi").await;
            let calls = world.calls();
            let made = calls.iter().filter(|call| call.starts_with("make"));
            // Without the proof of its lease the first cannot be used, and is destroyed when the
            // lease is over.
            let makes = if shown { 1 } else { 2 };
            let what = format!("{fault:?} {shown}");
            assert_eq!((said, made.count()), (Ok(well("hi\n")), makes), "{what}");
            world.fly.pass(Duration::from_secs(3600));
            assert_eventually!(world.fly.machines().len() == 1, "{what}");
            world.end(pool).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_too_early_is_tried_four_times() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    let id = world.only();
    let starts = || {
        world
            .calls()
            .iter()
            .filter(|c| **c == format!("start {id}"))
            .count()
    };
    for _ in 0..3 {
        world.fly.fail(FlyVerb::Start, FlyFault::Status(412));
    }
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    assert_eq!((world.only(), starts()), (id.clone(), 4));
    for _ in 0..4 {
        world.fly.fail(FlyVerb::Start, FlyFault::Status(412));
    }
    assert_eq!(run(&pool, "echo 3").await, Ok(well("3\n")));
    assert_eq!(starts(), 8);
    assert_eventually!(world.fly.machines().len() == 1);
    assert_ne!(world.only(), id);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_dies_on_the_way_is_replaced() {
    let world = World::new();
    let pool = world.pool();
    world.fly.fail(FlyVerb::Make, FlyFault::Dies);
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    world.fly.fail(FlyVerb::Start, FlyFault::Dies);
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    assert_eventually!(world.fly.machines().len() == 1);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_breaks_off_ends_the_run_and_its_machine() {
    let world = World::new();
    let pool = world.pool();
    let before = run(&pool, "reset").await;
    assert!(
        matches!(before, Err(RunError::Unavailable(_))),
        "{before:?}"
    );
    assert_eventually!(world.fly.machines().is_empty());
    let after = run(&pool, "echo some\nreset").await.unwrap();
    assert_eq!(after.stdout, "some\n");
    assert_eq!(after.end, Some((-1, EndReason::Host)));
    assert_eventually!(world.fly.machines().is_empty());
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_is_tried_where_a_worker_certainly_ran_nothing() {
    let world = World::new();
    let pool = world.pool();
    world.fly.fail(FlyVerb::Run, FlyFault::Status(503));
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    assert_eventually!(world.fly.machines().len() == 1);
    world.fly.fail(FlyVerb::Run, FlyFault::Status(502));
    let failed = run(&pool, "echo hi").await;
    assert!(
        matches!(failed, Err(RunError::Unavailable(_))),
        "{failed:?}"
    );
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_never_answers_is_not_waited_for() {
    let world = World::new();
    let pool = world.pool_with(|config| config.pace.request = Duration::from_millis(300));
    world.fly.fail_always(FlyVerb::Make, FlyFault::Silent);
    let failed = run(&pool, "echo hi").await;
    assert!(matches!(&failed, Err(RunError::Unavailable(why)) if why.contains("does not answer")));
    world.fly.mend();
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_cannot_be_destroyed_are_not_run_up() {
    let world = World::new();
    let pool = world.pool_with(|config| config.reuse = Reuse::Never);
    world
        .fly
        .fail_always(FlyVerb::Destroy, FlyFault::Status(500));
    let mut failed = None;
    for _ in 0..20 {
        if let Err(error) = run(&pool, "echo hi").await {
            failed = Some(error.to_string());
        }
    }
    let why = failed.unwrap();
    assert!(why.contains("are to be destroyed first"), "{why}");
    assert!(
        world.fly.machines().len() <= 2 + 4,
        "{}",
        world.fly.machines().len()
    );
    world.fly.mend();
    assert_eventually!(world.fly.machines().is_empty());
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_a_run_says_so() {
    let world = World::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let pool = world.pool_with(|config| config.api = address);
    let failed = run(&pool, "echo hi").await;
    let expected = "no machine could be had from Fly: it cannot be reached";
    assert_eq!(failed, Err(RunError::Unavailable(expected.into())));
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_accepted_is_told_and_not_shown() {
    let world = World::new();
    let token = "fo1_wrong";
    let pool = world.pool_with(|config| {
        config.token = hob_engine::pool::FlyToken::new(token).unwrap();
    });
    let failed = run(&pool, "echo hi").await.unwrap_err().to_string();
    assert!(
        failed.contains("does not accept the token (401)"),
        "{failed}"
    );
    assert!(!failed.contains(token));
    pool.close().await;
}
