//! An exported function runs without hob.

use std::{fs, path::Path, process::Command};

use crate::{
    program::Program,
    workshop::{Workshop, function},
};

fn run(folder: &Path) -> Program {
    Program::start_command(Command::new(folder.join("run.sh")), false)
}

#[test]
fn it_runs_in_every_language() {
    let workshop = Workshop::new();
    for language in ["python", "node", "bash", "go"] {
        let revision = workshop.revision(&workshop.scaffold(language));
        let folder = workshop.export(&function(language, revision)).unwrap();
        // It is a folder that may be carried anywhere.
        let elsewhere = folder.with_file_name(format!("moved {language}"));
        fs::rename(&folder, &elsewhere).unwrap();
        let program = run(&elsewhere);
        assert_eq!(
            program.post("Dracula").text().trim_end(),
            "Hello, Dracula!",
            "{language}"
        );
        for file in [
            "README.md",
            "Dockerfile",
            "compose.yaml",
            &format!("{language}.service"),
        ] {
            assert!(
                fs::metadata(elsewhere.join(file)).is_ok_and(|data| data.len() > 0),
                "{file}"
            );
        }
    }
    let revision = workshop.revision(&workshop.scaffold("static"));
    let folder = workshop.export(&function("page", revision)).unwrap();
    assert!(
        run(&folder)
            .call("GET", "/", "")
            .text()
            .contains("Hello, world!")
    );
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(!readme.contains("-d hello"), "{readme}");
    assert!(readme.contains("apt-get install python3"), "{readme}");
}

#[test]
fn the_environment_goes_along_and_secrets_by_name_only() {
    let workshop = Workshop::new();
    let manifest =
        "secrets = [\"api-key\"]\n[env]\nGREETING = \"it's $HOME\"\n[limits]\nmemory = \"64Mi\"\n";
    let files = [
        (
            "handler.sh",
            "echo \"$GREETING\"; cat \"$HOB_SECRETS/api-key\"",
        ),
        ("hob.toml", manifest),
    ];
    let revision = workshop.revision(&workshop.folder("secretive", &files));
    let folder = workshop.export(&function("secretive", revision)).unwrap();
    fs::create_dir(folder.join("secrets")).unwrap();
    fs::write(folder.join("secrets/api-key"), "k").unwrap();
    assert_eq!(run(&folder).post("").text(), "it's $HOME\nk");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(read("README.md").contains("`api-key`") && read("README.md").contains("`GREETING`"));
    assert!(read("compose.yaml").contains("file: \"./secrets/api-key\""));
    assert!(read("compose.yaml").contains("mem_limit: 67108864"));
    // Neither the image nor /opt may get the values that the README has put beside the program.
    assert!(!read("Dockerfile").contains("COPY . "));
    assert!(!read("README.md").contains("cp -r . "));
    assert!(
        read("secretive.service").contains("LoadCredential=api-key:/etc/secretive/secrets/api-key")
    );
}

#[test]
fn a_full_folder_and_a_lost_bundle_are_refused() {
    let workshop = Workshop::new();
    let revision = workshop.revision(&workshop.scaffold("bash"));
    let twice = function("twice", revision.clone());
    workshop.export(&twice).unwrap();
    let error = workshop.export(&twice).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    fs::remove_dir_all(workshop.bundle(&revision)).unwrap();
    let error = workshop
        .export(&function("lost", revision))
        .unwrap_err()
        .to_string();
    assert!(error.contains("deploy it again"), "{error}");
}
