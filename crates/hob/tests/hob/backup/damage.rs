//! Damage on the disk is told, never passed on, and takes nothing else along.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use hob_testkit::{Cli, has_programs};

use crate::bench::{Bench, HOB};

/// Overwrites the page in which a table begins.
fn damage(database: &Path, table: &str) {
    let query = format!(
        "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = '{table}'"
    );
    let output = Command::new("sqlite3").arg(database).arg(query).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let (page, size) = output.trim().split_once('|').unwrap();
    let (page, size): (u64, u64) = (page.parse().unwrap(), size.parse().unwrap());
    let file = File::options().write(true).open(database).unwrap();
    let bytes = vec![0xa5; usize::try_from(size).unwrap()];
    file.write_all_at(&bytes, (page - 1) * size).unwrap();
}

#[test]
fn a_damaged_page_is_named_with_the_cure_and_never_backed_up() {
    if !has_programs(&["sqlite3"]) {
        return;
    }
    for table in ["functions", "meta", "schedules", "calls"] {
        let mut bench = Bench::new();
        bench.deploy(&bench.site("welcome", "<p>hi</p>"));
        bench.hob.stop();
        let database = bench.hob.data().join("hob.db");
        damage(&database, table);
        let before = fs::read(&database).unwrap();
        let run = |args: &[&str]| {
            let cli = Cli::new(Path::new(HOB)).env("HOB_DATA", bench.hob.data());
            cli.args(args).run()
        };
        let line = run(&["up", "--listen", "127.0.0.1:0", "--metrics", "off"]).fails(1);
        assert!(
            line.contains(&format!(
                "{}` is not a database, or it is damaged",
                database.display()
            )) && line.contains("hob restore")
                && line.contains(".recover"),
            "{table}: {line}"
        );
        assert_eq!(fs::read(&database).unwrap(), before, "{table}");
        let doctor = run(&["doctor"]);
        let line = doctor
            .stdout
            .lines()
            .find(|line| line.starts_with("database"));
        assert!(line.unwrap().contains("broken"), "{doctor:?}");
    }
}

#[test]
fn a_page_that_goes_bad_under_a_running_server_fails_the_backup_and_nothing_else() {
    if !has_programs(&["sqlite3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    // Out of the log of writes and into the file.
    bench.hob.stop();
    bench.hob.restart();
    damage(&bench.hob.data().join("hob.db"), "functions");
    let file = bench.folder.path().join("b.tar.gz");
    let line = bench
        .hob
        .command()
        .args(["backup".as_ref(), file.as_os_str()]);
    let line = line.run().fails(1);
    assert!(line.contains("it is damaged"), "{line}");
    assert!(!file.exists());
    bench.hob.get("/function/welcome/").expect(200);
}

#[test]
fn a_lost_bundle_fails_its_function_alone_and_a_deploy_mends_it() {
    let mut bench = Bench::new();
    let (lost, kept) = (
        bench.site("lost", "<p>1</p>"),
        bench.site("kept", "<p>2</p>"),
    );
    bench.deploy(&lost);
    bench.deploy(&kept);
    let detail = bench.hob.cli(["describe", "lost", "-o", "json"]).json();
    let bundle = detail["revision"].as_str().unwrap().to_owned();
    bench.hob.stop();
    fs::remove_dir_all(bench.hob.data().join("bundles").join(&bundle)).unwrap();

    bench.hob.restart();
    let page = bench.hob.get("/function/kept/").expect(200);
    assert_eq!(page.text(), "<p>2</p>");
    let answer = bench.hob.get("/function/lost/").expect(502);
    assert_eq!(answer.header("x-hob-end"), "host");
    assert!(
        answer.text().contains("has lost a part of it"),
        "{answer:?}"
    );
    let described = bench.hob.cli(["describe", "lost"]).ok();
    assert!(
        described.contains("failing")
            && described.contains(&bundle)
            && described.contains("is gone: deploy it again"),
        "{described}"
    );

    bench.deploy(&lost);
    let page = bench.hob.get("/function/lost/").expect(200);
    assert_eq!(page.text(), "<p>1</p>");
    let described = bench.hob.cli(["describe", "lost"]).ok();
    assert!(!described.contains("problem"), "{described}");

    // One that nobody wants any more can be removed.
    bench.hob.stop();
    fs::remove_dir_all(bench.hob.data().join("bundles").join(&bundle)).unwrap();
    bench.hob.restart();
    bench.hob.cli(["remove", "lost"]).ok();
    bench.hob.get("/function/lost/").expect(404);
}
