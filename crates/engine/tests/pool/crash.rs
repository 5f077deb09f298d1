//! A hob that is killed, and those that come after it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use hob_model::{Timespan, port::Sandboxes};
use serde_json::Value;

use crate::{
    Test,
    world::{SOON, World, block_on, entries, eventually},
};

/// Names the run folder of a pool that is to be killed.
pub(crate) const VICTIM: &str = "HOB_POOL_VICTIM";

pub(crate) const TESTS: &[Test] = &[
    ("crash::the_next_one_of_the_same_folder_clears_up", same),
    ("crash::another_one_clears_up_after_the_lease", another),
    ("crash::nobody_touches_the_living", living),
    ("crash::what_others_wrote_is_looked_at_twice", untrusted),
];

/// A pool with a run, until somebody kills it.
pub(crate) fn be_killed(folder: &Path) -> ! {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let world = World::at(above, folder.to_owned(), 2, |config| {
            config.lease = std::time::Duration::from_secs(1);
            config.limits.time = Timespan::from_secs(1);
        });
        let run = world.start("echo begun; sleep 1000").await.unwrap();
        eventually("the other one waits", async || {
            world.pool.standing().ready == 1
        })
        .await;
        println!("{}", run.worker);
        std::future::pending::<()>().await;
    });
    unreachable!("it waits for ever")
}

fn victim(folder: &Path) -> (Child, String) {
    let mut child = Command::new(env::current_exe().unwrap())
        .env(VICTIM, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn leases(folder: &Path) -> Vec<String> {
    entries(&folder.join("leases"))
}

/// Cgroups that the lease of `worker` names.
fn cgroups(folder: &Path, worker: &str) -> Vec<String> {
    let path = folder.join("leases").join(format!("{worker}.json"));
    let lease: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(lease["state"], "leased");
    let folders = lease["cage"]["cgroups"].as_array().unwrap().iter();
    folders
        .map(|folder| folder.as_str().unwrap().to_owned())
        .collect()
}

/// The parent of a sandbox's cgroups outlives a killed hob; the next one of its name removes it.
fn remove_parents(cgroups: &[String]) {
    for folder in cgroups {
        let _ = fs::remove_dir(Path::new(folder).parent().unwrap());
    }
}

fn same() {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let folder = above.path().join("hob-victim");
        let (child, worker) = victim(&folder);
        let groups = cgroups(&folder, &worker);
        kill(child);
        let before = leases(&folder);
        assert_eq!(before.len(), 2);
        let world = World::at(Arc::clone(&above), folder.clone(), 1, |_| {});
        assert!(before.iter().all(|old| !leases(&folder).contains(old)));
        assert!(groups.iter().all(|group| !Path::new(group).exists()));
        assert_eq!(world.bash("echo fine").await.text(), "fine\n");
        world.end().await;
        remove_parents(&groups);
    });
}

fn another() {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let folder = above.path().join("hob-victim");
        let (child, worker) = victim(&folder);
        let groups = cgroups(&folder, &worker);
        kill(child);
        assert!(groups.iter().all(|group| Path::new(group).exists()));
        let other = above.path().join("hob-other");
        // Each looks when it begins; the lease is over in about three seconds.
        let deadline = std::time::Instant::now() + SOON;
        while !leases(&folder).is_empty() {
            assert!(
                std::time::Instant::now() < deadline,
                "{:?}",
                leases(&folder)
            );
            let neighbours = vec![above.path().to_owned()];
            let world = World::at(Arc::clone(&above), other.clone(), 1, |config| {
                config.neighbours = neighbours;
            });
            world.is_full().await;
            world.end().await;
        }
        assert!(groups.iter().all(|group| !Path::new(group).exists()));
        remove_parents(&groups);
    });
}

fn living() {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let one = World::at(
            Arc::clone(&above),
            above.path().join("hob-one"),
            2,
            |config| {
                // So that the leases of those that wait are over at once.
                config.lease = std::time::Duration::ZERO;
            },
        );
        one.is_full().await;
        let before = one.leases();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let neighbours = vec![above.path().to_owned()];
        let two = World::at(
            Arc::clone(&above),
            above.path().join("hob-two"),
            1,
            |config| {
                config.neighbours = neighbours;
            },
        );
        two.is_full().await;
        two.end().await;
        assert_eq!(one.leases(), before);
        assert_eq!(one.bash("echo fine").await.text(), "fine\n");
        one.end().await;
    });
}

/// Leases that a stranger may have written for root to act on.
fn untrusted() {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let folder = above.path().join("hob-victim");
        let (child, worker) = victim(&folder);
        let groups = cgroups(&folder, &worker);
        kill(child);
        let name = format!("{worker}.json");
        let text = fs::read_to_string(folder.join("leases").join(&name)).unwrap();
        let mut innocent = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut lease: Value = serde_json::from_str(&text).unwrap();
        lease["expires_at"] = 0.into();
        let trap = above.path().join("hob-trap/leases");
        fs::create_dir_all(&trap).unwrap();
        // Links, what is no file, what is no lease, one under another's name, one of another user.
        std::os::unix::fs::symlink(folder.join("leases").join(&name), trap.join("run-1.json"))
            .unwrap();
        let fifo = Command::new("mkfifo").arg(trap.join("run-2.json")).status();
        assert!(fifo.unwrap().success());
        fs::write(trap.join("run-3.json"), vec![b' '; 1 << 20]).unwrap();
        fs::write(trap.join("run-4.json"), lease.to_string()).unwrap();
        lease["worker"] = "run-5".into();
        lease["cage"]["pid"] = innocent.id().into();
        fs::write(trap.join("run-5.json"), lease.to_string()).unwrap();
        let strange = |path: &Path| std::os::unix::fs::chown(path, Some(61_235), Some(61_235));
        if rustix::process::geteuid().is_root() {
            strange(&trap).unwrap();
            strange(&trap.join("run-5.json")).unwrap();
            strange(trap.parent().unwrap()).unwrap();
        }
        std::os::unix::fs::symlink(&folder, above.path().join("hob-link")).unwrap();
        let before = entries(&trap);
        let neighbours = vec![above.path().to_owned()];
        let world = World::at(
            Arc::clone(&above),
            above.path().join("hob-two"),
            1,
            |config| {
                config.neighbours = neighbours;
            },
        );
        world.is_full().await;
        world.end().await;
        if rustix::process::geteuid().is_root() {
            assert_eq!(entries(&trap), before);
        }
        assert!(innocent.try_wait().unwrap().is_none(), "it lives");
        innocent.kill().unwrap();
        innocent.wait().unwrap();
        // Its time is not over, whatever the copies say.
        World::at(Arc::clone(&above), folder, 1, |_| {}).end().await;
        remove_parents(&groups);
    });
}
