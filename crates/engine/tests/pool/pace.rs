//! How quick it is. Told, not judged: the machine has other things to do.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Test,
    world::{World, bash, block_on},
};

pub(crate) const TESTS: &[Test] = &[("pace::true_from_order_to_end", quick)];

fn quick() {
    block_on(async {
        let world = World::new(4);
        world.is_full().await;
        let mut times = Vec::new();
        let mut parts = [const { Vec::new() }; 3];
        for _ in 0..200 {
            let begun = Instant::now();
            let ran = world.ran(bash("true")).await;
            times.push(begun.elapsed());
            let of = ran.end().times;
            for (part, time) in parts.iter_mut().zip([of.queue, of.start, of.run]) {
                part.push(time);
            }
            assert_eq!(ran.end().code, 0);
        }
        tell("one after the other", &mut times);
        for (name, part) in ["queue", "start", "run"].into_iter().zip(&mut parts) {
            tell(&format!("  of which {name}"), part);
        }
        let mut times = Vec::new();
        for _ in 0..50 {
            world.is_full().await;
            let begun = Instant::now();
            world.ran(bash("true")).await;
            times.push(begun.elapsed());
        }
        tell("with time between", &mut times);
        let bare = (0..50).map(|_| {
            let begun = Instant::now();
            let ended = Command::new("/bin/bash").args(["-c", "true"]).status();
            assert!(ended.unwrap().success());
            begun.elapsed()
        });
        tell("a bare process", &mut bare.collect::<Vec<_>>());
        let begun = Instant::now();
        let runs = (0..90).map(|_| world.ran(bash("true")));
        futures_util::future::join_all(runs).await;
        println!(
            "90 at once: {:.0} a second",
            90.0 / begun.elapsed().as_secs_f64()
        );
        world.end().await;
    });
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!("{what}: p50 {:?} p90 {:?} p99 {:?}", at(50), at(90), at(99));
}
