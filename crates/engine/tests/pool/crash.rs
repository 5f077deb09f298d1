//! A hob that is killed, and those that come after it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::{lchown, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::SystemTime,
};

use hob_model::{Timespan, port::Sandboxes};
use serde_json::{Value, json};

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
    ("crash::nobody_chooses_what_root_deletes", bundles),
    ("crash::what_cannot_be_removed_keeps_its_lease", stubborn),
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
        eventually("their leases are over", async || {
            before.iter().all(|name| {
                let text = fs::read(one.run.join("leases").join(name)).unwrap();
                let lease: Value = serde_json::from_slice(&text).unwrap();
                lease["expires_at"].as_u64().unwrap() <= now()
            })
        })
        .await;
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

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Gives all of it to a user.
fn strange(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for name in entries(path) {
            strange(&path.join(name), uid);
        }
    }
}

/// What a hob of another boot would have written of `bundle`, over for long.
fn of_another_boot(bundle: &Path) -> Value {
    json!({
        "worker": "run-1", "state": "leased", "expires_at": 0,
        "owner": { "pid": 1, "start_time": 1, "boot": "another", "namespace": "" },
        "cage": {
            "id": "run-1", "isolation": "container", "mechanism": "native",
            "limits": { "memory": 1, "cpu_millis": 1, "pids": 1, "tmp": 1, "files": 1 },
            "boot": this_boot(), "pid": 0, "start_time": 0, "cgroups": [], "bundle": bundle,
        },
    })
}

fn this_boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.unwrap().trim().to_owned()
}

/// Writes a run folder with this lease.
fn with_lease(run: &Path, lease: &Value) -> PathBuf {
    fs::create_dir_all(run.join("leases")).unwrap();
    let file = run.join("leases/run-1.json");
    fs::write(&file, lease.to_string()).unwrap();
    file
}

/// Another hob, which looks at what is in `above`.
fn neighbour(above: &Arc<tempfile::TempDir>) -> World {
    let neighbours = vec![above.path().to_owned()];
    let run = above.path().join("hob-two");
    World::at(Arc::clone(above), run, 1, |config| {
        config.neighbours = neighbours;
    })
}

/// A user who names what root is to delete, and root's own leftovers behind a crowd of others'.
fn bundles() {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let path = |name: &str| above.path().join(name);
        let bundle = |name: &str| {
            let bundle = path(name).join("oci/run-1");
            fs::create_dir_all(&bundle).unwrap();
            fs::write(bundle.join("config.json"), "{}").unwrap();
            bundle
        };
        let is_root = rustix::process::geteuid().is_root();
        let mut kept = vec![bundle("kept")];
        fs::create_dir(path("link")).unwrap();
        symlink(path("kept/oci"), path("link/oci")).unwrap();
        let linked = with_lease(
            &path("hob-linked"),
            &of_another_boot(&path("link/oci/run-1")),
        );
        let mut foreign = None;
        if is_root {
            for number in 0..300 {
                let crowd = path(&format!("hob-{number}"));
                fs::create_dir_all(crowd.join("leases")).unwrap();
                strange(&crowd, 61_236);
            }
            let named = bundle("named");
            foreign = Some(with_lease(&path("hob-foreign"), &of_another_boot(&named)));
            strange(&path("hob-foreign"), 61_235);
            kept.push(named);
        }
        let good = bundle("good");
        let lease = with_lease(&path("hob-good"), &of_another_boot(&good));
        let world = neighbour(&above);
        // Nothing is left that they could stand for.
        let leases = [Some(lease), Some(linked), foreign];
        eventually("no lease is left", async || {
            !leases.iter().flatten().any(|lease| lease.exists())
        })
        .await;
        world.end().await;
        let stands = |bundle: &PathBuf| bundle.join("config.json").exists();
        assert!(kept.iter().all(stands) && !good.exists());
    });
}

/// What cannot be removed keeps its lease.
fn stubborn() {
    block_on(async {
        let above = Arc::new(tempfile::tempdir().unwrap());
        let run = above.path().join("hob-victim");
        let bundle = above.path().join("other/oci/run-1");
        fs::create_dir_all(bundle.join("mount")).unwrap();
        fs::write(bundle.join("config.json"), "{}").unwrap();
        // Nobody can remove a mount point.
        let mount = bundle.join("mount");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "none"])
            .arg(&mount)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("NOT TESTED: nothing can be mounted here");
            return;
        };
        let lease = with_lease(&run, &of_another_boot(&bundle));
        World::at(Arc::clone(&above), run.clone(), 1, |_| {})
            .pool
            .close()
            .await;
        let kept = lease.exists();
        let unmounted = Command::new("umount").arg(&mount).status();
        assert!(unmounted.unwrap().success() && kept);
        World::at(Arc::clone(&above), run, 1, |_| {}).end().await;
        assert!(!lease.exists() && !bundle.exists());
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
        symlink(folder.join("leases").join(&name), trap.join("run-1.json")).unwrap();
        let fifo = Command::new("mkfifo").arg(trap.join("run-2.json")).status();
        assert!(fifo.unwrap().success());
        fs::write(trap.join("run-3.json"), vec![b' '; 1 << 20]).unwrap();
        fs::write(trap.join("run-4.json"), lease.to_string()).unwrap();
        lease["worker"] = "run-5".into();
        lease["cage"]["pid"] = innocent.id().into();
        fs::write(trap.join("run-5.json"), lease.to_string()).unwrap();
        if rustix::process::geteuid().is_root() {
            for path in [trap.parent().unwrap(), &trap, &trap.join("run-5.json")] {
                lchown(path, Some(61_235), Some(61_235)).unwrap();
            }
        }
        symlink(&folder, above.path().join("hob-link")).unwrap();
        let before = entries(&trap);
        let world = neighbour(&above);
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
