//! Backups of a server that is at work.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use hob_testkit::{Cli, EVENTUALLY, Hob, has_programs, wait_until};

use super::{empty, set_secret};
use crate::bench::{Bench, HOB, write};

const BACKUPS: usize = 6;
/// Most things that each worker does.
const WORK: usize = 1_000;

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    functions: Mutex<BTreeSet<String>>,
    secrets: Mutex<BTreeSet<String>>,
    calls: Mutex<u64>,
}

/// Ends the work when it is dropped, also by a test that fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` with 0, 1, 2 and so on until `stop`.
fn until(stop: &AtomicBool, mut work: impl FnMut(usize)) {
    for number in 0..WORK {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        work(number);
    }
}

#[test]
fn what_was_acknowledged_before_a_backup_is_in_it() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    // Its calls fail and wait.
    let folder = bench.python("failing", "raise ValueError");
    let patient = "[async]\nmin_wait = \"1h\"\nmax_wait = \"1h\"\n";
    write(&folder.join("hob.toml"), patient);
    bench.deploy(&folder);
    let (acknowledged, stop) = (Acknowledged::default(), AtomicBool::new(false));
    let Acknowledged {
        functions,
        secrets,
        calls,
    } = &acknowledged;
    let mut last = None;
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            until(&stop, |number| {
                let name = format!("site{number}");
                bench.deploy(&bench.site(&name, &format!("page {number}")));
                functions.lock().unwrap().insert(name);
                if number % 3 == 0 {
                    // Comes and goes, with its secret.
                    bench.deploy(&bench.site("fleeting", &format!("page {number}")));
                    hob.cli(["remove", "fleeting"]).ok();
                }
            });
        });
        scope.spawn(|| {
            until(&stop, |number| {
                let name = format!("key{number}");
                set_secret(hob, &name, "value");
                secrets.lock().unwrap().insert(name);
                set_secret(hob, "fleeting", "value");
                hob.cli(["secret", "remove", "fleeting"]).ok();
            });
        });
        scope.spawn(|| {
            until(&stop, |_| {
                hob.post("/async-function/failing", "x").expect(202);
                *calls.lock().unwrap() += 1;
            });
        });
        let begun = || {
            !functions.lock().unwrap().is_empty()
                && !secrets.lock().unwrap().is_empty()
                && *calls.lock().unwrap() > 0
        };
        assert!(wait_until(EVENTUALLY, begun), "work goes on");
        for number in 0..BACKUPS {
            let before = (
                functions.lock().unwrap().clone(),
                secrets.lock().unwrap().clone(),
                *calls.lock().unwrap(),
            );
            let file = bench.folder.path().join(format!("{number}.tar.gz"));
            let made = hob.command().args(["backup".as_ref(), file.as_os_str()]);
            made.run().ok();
            let data = empty();
            let command = Cli::new(Path::new(HOB)).env("HOB_DATA", data.path());
            let command = command.args(["restore".as_ref(), file.as_os_str()]);
            let said = command.args(["-o", "json"]).run().json();
            assert!(said["lacking"].as_array().unwrap().is_empty(), "{said}");
            assert!(said["calls"].as_u64().unwrap() >= before.2, "{said}");
            let sealed = data.path().join("secrets/openfaas-fn");
            for secret in &before.1 {
                assert!(sealed.join(format!("{secret}.age")).exists(), "{secret}");
            }
            last = Some((data, before.0));
        }
    });
    let (data, functions) = last.unwrap();
    let new = Hob::builder(HOB).data(data).start();
    for name in functions {
        let number = name.trim_start_matches("site");
        let page = new.get(&format!("/function/{name}/")).expect(200);
        assert_eq!(page.text(), format!("page {number}"));
    }
}
