//! Many callers at once, some of whom hang up at the worst moments: nothing leaks, and whoever stays
//! gets every byte.

use std::{
    fmt::Write,
    net::SocketAddr,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    caller::{Event, Order},
    stage::{Settings, Stage, is_able},
    traces::{assert_as_before, resident, settled},
};

const RUNS: usize = 2000;
const CALLERS: usize = 50;
/// Runs before anything is counted: hob's memory is then as large as its work takes.
const WARM_UP: usize = 200;
const SIZE: usize = 4;
/// One in so many hangs up early.
const IMPATIENT: usize = 10;
/// One in so many writes very much.
const LOUD: usize = 40;
/// Most that hob's memory may grow by over all runs: an allocator keeps some, a leak is in all.
const GROWTH_MAX: u64 = 24 << 20;

/// What one run is about, drawn by its number alone.
#[derive(Debug, Clone)]
struct Plan {
    /// Numbers, one a line, so that each place in the output differs from all others.
    stdout: Range<usize>,
    stderr: Range<usize>,
    code: usize,
    leaves: Leaves,
}

/// When its caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Never,
    /// Having sent all, and waited for nothing.
    AtOnce,
    /// When the head has come, before any output.
    AtHead,
    /// In the middle of the output.
    Midway,
}

// === impl Plan ===

impl Plan {
    fn of(number: usize) -> Self {
        // Any mixing does: only that it differs and can be had again.
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        // A line is seven bytes: up to a megabyte, or a few kilobytes.
        let most = if number.is_multiple_of(LOUD) {
            150_000
        } else {
            500
        };
        let first = 100_000 + mixed % 500_000;
        let leaves = match (number % IMPATIENT, number / IMPATIENT % 3) {
            (1, 0) => Leaves::AtOnce,
            (1, 1) => Leaves::AtHead,
            (1, _) => Leaves::Midway,
            _ => Leaves::Never,
        };
        Self {
            stdout: first..first + mixed % most,
            stderr: first + 7..first + 7 + (mixed >> 7) % most,
            code: mixed % 3,
            leaves,
        }
    }

    fn order(&self) -> Order {
        let seq = |numbers: &Range<usize>| format!("seq {} {}", numbers.start, numbers.end);
        let rest = match self.leaves {
            // It has not ended by itself when its caller goes.
            Leaves::AtOnce | Leaves::AtHead => "sleep 60",
            Leaves::Midway => "while :; do echo on; done",
            Leaves::Never => "wait",
        };
        let (out, err) = (seq(&self.stdout), seq(&self.stderr));
        let script = format!("{out} & {err} >&2; {rest}; exit {}", self.code);
        Order::new("sh", &script)
    }

    /// Runs it and looks at all that came.
    fn run(&self, address: SocketAddr) {
        let order = self.order();
        match self.leaves {
            Leaves::Never => {
                let ran = order.run(address);
                assert_eq!(ran.status, 200, "{}", ran.refusal);
                assert_eq!(
                    ran.code(),
                    Some(self.code as i64),
                    "{self:?} {:?}",
                    ran.exit
                );
                // Not shown: it may be a megabyte.
                assert!(ran.stdout == lines(&self.stdout), "{self:?}");
                assert!(ran.stderr == lines(&self.stderr), "{self:?}");
            }
            Leaves::AtOnce => drop(order.send(address).unwrap()),
            Leaves::AtHead => drop(order.call(address)),
            Leaves::Midway => {
                let mut caller = order.call(address);
                let on =
                    |event: &Event| matches!(event, Event::Stdout(text) if text.contains("on"));
                while !caller.next().is_some_and(|event| on(&event)) {}
            }
        }
    }
}

fn lines(numbers: &Range<usize>) -> String {
    let mut text = String::with_capacity(8 * numbers.len());
    for number in numbers.start..=numbers.end {
        writeln!(text, "{number}").unwrap();
    }
    text
}

/// All runs of these numbers, by all callers.
fn crowd(address: SocketAddr, numbers: Range<usize>) {
    let next = AtomicUsize::new(numbers.start);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return;
            }
            Plan::of(number).run(address);
        }
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(work)).collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn two_thousand_runs_by_fifty_callers_leave_nothing_and_lose_no_byte() {
    if !is_able(&["seq"]) {
        return;
    }
    let stage = Stage::new(Settings {
        size: SIZE,
        output: "8Mi",
        ..Settings::default()
    });
    let address = stage.hob.address();
    crowd(address, 0..WARM_UP);
    let before = settled(&stage.hob, SIZE);
    let memory = resident(stage.hob.pid());
    crowd(address, WARM_UP..RUNS);
    assert_as_before(&stage.hob, &before);
    let grown = resident(stage.hob.pid()).saturating_sub(memory);
    assert!(grown < GROWTH_MAX, "hob has grown by {grown} bytes");
    stage.ordinary();
}
