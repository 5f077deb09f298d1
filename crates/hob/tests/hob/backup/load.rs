//! Backups of a server that is at work.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use hob_testkit::{Hob, wait_until};

use super::{empty, restore, set_secret};
use crate::bench::{Bench, HOB};

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
    let bench = Bench::new();
    let hob = &bench.hob;
    // Calls of a folder of files are never made well, and so they wait.
    bench.deploy(&bench.site("files", "x"));
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
                hob.post("/async-function/files", "x").expect(202);
                *calls.lock().unwrap() += 1;
            });
        });
        let begun = || {
            !functions.lock().unwrap().is_empty()
                && !secrets.lock().unwrap().is_empty()
                && *calls.lock().unwrap() > 0
        };
        assert!(wait_until(hob_testkit::EVENTUALLY, begun), "work goes on");
        for number in 0..BACKUPS {
            let before = (
                functions.lock().unwrap().clone(),
                secrets.lock().unwrap().clone(),
            );
            let file = bench.folder.path().join(format!("{number}.tar.gz"));
            let made = hob.command().args(["backup".as_ref(), file.as_os_str()]);
            made.run().ok();
            let data = empty();
            let said = restore(&file, data.path());
            assert!(!said.stderr.contains("lacks"), "{said:?}");
            said.ok();
            let sealed = data.path().join("secrets/openfaas-fn");
            for secret in &before.1 {
                assert!(sealed.join(format!("{secret}.age")).exists(), "{secret}");
            }
            last = Some((data, before.0));
        }
    });
    let (data, functions) = last.unwrap();
    assert!(fs::exists(data.path().join("hob.db")).unwrap());
    let new = Hob::builder(HOB).data(data).start();
    for name in functions {
        let number = name.trim_start_matches("site");
        let page = new.get(&format!("/function/{name}/")).expect(200);
        assert_eq!(page.text(), format!("page {number}"));
    }
}
