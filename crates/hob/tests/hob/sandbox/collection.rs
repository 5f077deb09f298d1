//! Runs the collection in `tests/hostile`: each file through the real server, beside ordinary runs.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io, iter,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use hob_testkit::{EVENTUALLY, Net, has_programs, wait_until};

use super::{
    attempt::{Attempt, Seen},
    caller::Event,
    census::count,
    stage::{Settings, Stage, is_able, secret},
    traces::{alive_in, assert_as_before, settled},
};

/// Attempts at once; each burns a processor.
const ATTACKERS: usize = 3;
/// One more than attackers, for ordinary runs.
const SIZE: usize = ATTACKERS + 1;
/// Longest time between two ordinary runs; there is one as well whenever an attempt begins. Without
/// any pause they would take a processor from the attempts.
const OFTEN: Duration = Duration::from_millis(100);
/// Runs only attempts whose names contain this.
const ONLY: &str = "HOB_TEST_HOSTILE";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}

/// All that this machine can run, each followed by those that come after it.
fn collection() -> Vec<Vec<Attempt>> {
    let only = std::env::var(ONLY).unwrap_or_default();
    let entries = fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file() && path.extension().is_some_and(|end| end != "md"));
    paths.sort();
    let mut attempts: Vec<_> = paths.iter().map(|path| Attempt::read(path)).collect();
    attempts.retain(|attempt| {
        attempt
            .needs()
            .is_none_or(|program| has_programs(&[program]))
    });
    let mut followers: HashMap<String, Attempt> = attempts
        .extract_if(.., |attempt| attempt.after.is_some())
        .map(|attempt| (attempt.after.clone().unwrap(), attempt))
        .collect();
    let mut chain = |first: Attempt| -> Vec<Attempt> {
        iter::successors(Some(first), |last| followers.remove(&last.name)).collect()
    };
    let mut chains: Vec<_> = attempts.into_iter().map(&mut chain).collect();
    chains.retain(|chain| chain.iter().any(|one| one.name.contains(&only)));
    assert!(
        followers.is_empty(),
        "after nothing: {:?}",
        followers.keys()
    );
    chains
}

/// What is alive of a run whose exit event has come. The kernel of gVisor, in which all its processes
/// were, is a process itself and goes a moment later.
fn left_of(worker: &str, level: &str) -> BTreeSet<(u32, u64)> {
    if level == "gvisor" {
        wait_until(EVENTUALLY, || alive_in(worker).is_empty());
    }
    alive_in(worker)
}

impl Stage {
    /// What was not as it has to be.
    fn attempt(&self, attempt: &Attempt, level: &str) -> Vec<String> {
        let order = self.tempt(attempt.order(&folder(), self.scratch()));
        let caller = order.call(self.hob.address());
        let worker = caller.header("worker").to_owned();
        let (ran, processes) = count(&self.hob, &worker, || caller.finish());
        let left = left_of(&ran.worker, level);
        let said = format!("{}\n{}", ran.stdout, ran.stderr);
        let exit = &ran.exit;
        let seen = Seen {
            said: &said,
            exit,
            processes,
        };
        let mut faults = attempt.judge(&seen, level);
        let mut fault = |words: String| faults.push(format!("{}: {words}", attempt.name));
        if ran.status != 200 || ran.worker.is_empty() {
            fault(format!("was answered {} {}", ran.status, ran.refusal));
        } else if !left.is_empty() {
            fault(format!("is alive after its end: {left:?}"));
        }
        if said.contains(&secret()) {
            fault("has seen a secret".to_owned());
        }
        faults
    }

    /// All of the collection, beside ordinary runs.
    fn attempts(&self, level: &str) -> Vec<String> {
        let chains = Mutex::new(collection().into_iter());
        let faults = Mutex::new(Vec::new());
        let work = |begins: mpsc::Sender<()>| {
            loop {
                let Some(chain) = chains.lock().unwrap().next() else {
                    return;
                };
                for attempt in chain {
                    begins.send(()).unwrap();
                    let found = self.attempt(&attempt, level);
                    faults.lock().unwrap().extend(found);
                }
            }
        };
        thread::scope(|scope| {
            let (begins, begun) = mpsc::channel();
            for _ in 0..ATTACKERS {
                let begins = begins.clone();
                scope.spawn(|| work(begins));
            }
            drop(begins);
            while begun.recv_timeout(OFTEN) != Err(RecvTimeoutError::Disconnected) {
                self.ordinary();
            }
        });
        faults.into_inner().unwrap()
    }
}

#[track_caller]
fn assert_all_ends_well(level: &'static str) {
    let stage = Stage::new(Settings {
        size: SIZE,
        level,
        ..Settings::default()
    });
    let before = settled(&stage.hob, SIZE);
    let mut faults = stage.attempts(level);
    faults.extend(stage.harm());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    stage.ordinary();
    assert_as_before(&stage.hob, &before);
}

#[test]
fn the_collection_ends_as_it_says_and_nobody_else_is_hurt() {
    if is_able(&["python3"]) {
        assert_all_ends_well("container");
    }
}

#[test]
fn the_collection_ends_as_it_says_inside_gvisor() {
    if is_able(&["python3", "runsc"]) {
        assert_all_ends_well("gvisor");
    }
}

/// Where providers of machines tell each machine its secrets.
const METADATA: &str = "169.254.169.254";

#[test]
fn services_that_are_there_indeed_are_reached_by_nobody() {
    if !is_able(&["python3", "unshare", "nsenter", "ip"]) {
        return;
    }
    let net = Arc::new(Net::new());
    net.own(&format!("{METADATA}/32"));
    net.enter(|| {
        let stage = Stage::inside(&net, Settings::default());
        let address = format!("{METADATA}:80");
        stage.listen(&address);
        for name in ["metadata.py", "loopback.py"] {
            let attempt = Attempt::read(&folder().join(name));
            assert_eq!(stage.attempt(&attempt, "container"), Vec::<String>::new());
        }
        assert_eq!(stage.harm(), Vec::<String>::new());
        let visitor = TcpStream::connect(&address).unwrap();
        assert_eq!(io::read_to_string(visitor).unwrap(), secret());
    });
}

#[test]
fn runs_beside_each_other_see_nothing_of_each_other() {
    if !is_able(&["python3"]) {
        return;
    }
    let stage = Stage::new(Settings::default());
    let plant = Attempt::read(&folder().join("leftovers-plant.py"));
    let plant = stage.tempt(plant.order(&folder(), stage.scratch()));
    let mut planted = plant.env("HOSTILE_STAY", "1").call(stage.hob.address());
    let said = planted.next();
    assert!(
        matches!(&said, Some(Event::Stdout(text)) if text.starts_with("planted")),
        "{said:?}"
    );
    let look = Attempt::read(&folder().join("leftovers-look.py"));
    assert_eq!(stage.attempt(&look, "container"), Vec::<String>::new());
}
