//! What can be ordered, and what a run sees.

use hob_engine::pool::local::LanguageSetting;
use hob_model::{
    EndReason, Memory,
    port::{RunError, Sandboxes},
    sandbox::{RunFile, RunLimits, RunOrder},
};

use crate::{
    Test,
    world::{World, bash, block_on, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("orders::all_that_there_is_to_say", all),
    ("orders::what_cannot_be_is_refused", refused),
    ("orders::nothing_is_seen_of_other_runs", fresh),
    ("orders::languages_and_their_versions", languages),
    ("orders::a_long_script_goes_by_a_file", long_script),
    ("orders::small_limits_work", small),
];

fn all() {
    block_on(async {
        let world = World::new(2);
        let order = RunOrder {
            script: b"pwd; cat; cat a/b; echo $1-$2 $COLOUR $HOME $LANG; env | wc -l".to_vec(),
            files: vec![RunFile {
                path: "a/b".into(),
                contents: b"beside\n".to_vec(),
            }],
            args: vec!["one".into(), "two".into()],
            env: vec![("COLOUR".into(), "red".into())],
            stdin: b"typed\n".to_vec(),
            ..bash("")
        };
        let ran = world.ran(order).await;
        let text = ran.text();
        // PATH, HOME, LANG, COLOUR; and PWD, SHLVL, _ of bash itself.
        let expected = "/box\ntyped\nbeside\none-two red /box C.UTF-8\n7\n";
        assert_eq!(text, expected, "{ran:?}");
        world.end().await;
    });
}

fn refused() {
    block_on(async {
        let world = World::new(1);
        let wrong = |change: fn(&mut RunOrder)| {
            let mut order = bash("true");
            change(&mut order);
            let pool = world.pool.clone();
            async move {
                match pool.run(order).await.map(|_| ()) {
                    Err(RunError::Refused(words)) => words,
                    other => panic!("not refused: {other:?}"),
                }
            }
        };
        let words = wrong(|order| order.language = "cobol".into()).await;
        assert!(words.starts_with("language `cobol` is unknown here: there are bash, "));
        let words = wrong(|order| order.limits.pids = Some(65)).await;
        assert!(words.contains("limit pids 65 is above 64"), "{words}");
        let words = wrong(|order| order.limits.output = Some(Memory(0))).await;
        assert!(words.contains("limit output 0 is below 1"), "{words}");
        let words = wrong(|order| {
            order.files = vec![RunFile {
                path: "../x".into(),
                contents: Vec::new(),
            }];
        });
        assert!(words.await.contains("leads out of its folder"));
        // Nobody lost a place by it.
        assert_eq!(world.bash("echo fine").await.text(), "fine\n");
        world.end().await;
    });
}

fn fresh() {
    block_on(async {
        let world = World::new(1);
        let write = "echo x | tee /box/left /tmp/left /dev/shm/left; sleep 1000 & exit 0";
        assert_eq!(world.bash(write).await.text(), "x\n");
        let look = "ls -A /box /tmp /dev/shm; ls -d /proc/[0-9]* | wc -l";
        let text = world.bash(look).await.text();
        let lines: Vec<_> = text.lines().collect();
        assert!(!text.contains("left"), "{text}");
        let processes: usize = lines.last().unwrap().parse().unwrap();
        assert!(processes < 6, "{text}");
        world.end().await;
    });
}

fn languages() {
    block_on(async {
        let world = World::with(2, |config| {
            config.languages = vec![LanguageSetting {
                name: "awk".into(),
                run: Some(vec!["awk".into(), "-f".into(), "{file}".into()]),
                ..LanguageSetting::default()
            }];
        });
        let names: Vec<_> = world
            .pool
            .languages()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert!(names.contains(&"bash".into()) && names.contains(&"sh".into()));
        eventually("bash has said its version", async || {
            let all = world.pool.languages();
            all.iter().any(|one| {
                one.name == "bash" && one.version.starts_with(|c: char| c.is_ascii_digit())
            })
        })
        .await;
        let of = |language: &str, script: &str| RunOrder {
            language: language.into(),
            ..bash(script)
        };
        let scripts = [
            ("python", "print(1 + 1, end='')"),
            ("py", "import sys; print(2, end='', file=sys.stdout)"),
            ("node", "process.stdout.write('2')"),
            ("sh", "printf 2"),
            ("awk", "BEGIN { printf 1 + 1 }"),
        ];
        for (language, script) in scripts {
            if !world.pool.languages().iter().any(|one| one.is(language)) {
                println!("NOT TESTED: no {language} here");
                continue;
            }
            let ran = world.ran(of(language, script)).await;
            assert_eq!(ran.text(), "2", "{language}: {ran:?}");
        }
        world.end().await;
    });
}

fn long_script() {
    block_on(async {
        let world = World::new(1);
        let script = format!("{}\necho $0 $1", "#".repeat(200 << 10));
        let order = RunOrder {
            args: vec!["one".into()],
            ..bash(&script)
        };
        assert_eq!(world.ran(order).await.text(), "/box/main.sh one\n");
        world.end().await;
    });
}

fn small() {
    block_on(async {
        let world = World::new(1);
        let limits = RunLimits {
            memory: Some(Memory(1 << 20)),
            disk: Some(Memory(4096)),
            pids: Some(1),
            ..RunLimits::default()
        };
        let run = world.pool.run(RunOrder {
            limits,
            ..bash("echo hello")
        });
        match run.await {
            Ok(run) => {
                let ran = crate::world::read(run).await;
                println!("with 1 MiB: {:?} {:?}", ran.text(), ran.end());
                assert!([EndReason::Ok, EndReason::Memory].contains(&ran.reason()));
            }
            Err(error) => panic!("{error}"),
        }
        world.end().await;
    });
}
