//! What is built once is not built again.

use std::fs;

use crate::workshop::Workshop;

const HANDLER: &str = "import part\ndef handle(req):\n    return part.WORD\n";

/// A list of dependencies that needs no network: a folder of this one.
const LOCAL: &str = "[project]\nname = \"part\"\nversion = \"1\"\n[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";

#[test]
fn the_same_folder_is_the_same_revision_on_any_machine() {
    for language in ["python", "node", "bash", "static"] {
        let (one, two) = (Workshop::new(), Workshop::new());
        let first = one.revision(&one.scaffold(language));
        let second = two.revision(&two.scaffold(language));
        assert_eq!(first.digest, second.digest, "{language}");
    }
}

#[test]
fn settings_are_part_of_the_revision() {
    let workshop = Workshop::new();
    let plain = workshop.revision(&workshop.folder("plain", &[("handler.sh", "cat")]));
    let files = [
        ("handler.sh", "cat"),
        (
            "hob.toml",
            "timeout = 5\nsecrets = [\"key\"]\n[env]\nA = \"b\"\n",
        ),
    ];
    let set = workshop.revision(&workshop.folder("set", &files));
    assert_ne!(plain.digest, set.digest);
    assert_eq!(set.settings.timeout, hob_model::Timespan::from_secs(5));
    assert_eq!(set.settings.env["A"], "b");
    assert_eq!(plain.settings, hob_model::Settings::default());
}

#[test]
fn a_bundle_is_found_by_the_beginning_of_its_name() {
    let workshop = Workshop::new();
    let files = [("handler.sh", "cat"), ("hob.toml", "timeout = 5\n")];
    let built = workshop.revision(&workshop.folder("one", &files));
    assert_eq!(built.bundle, built.digest);
    let other = workshop.revision(&workshop.scaffold("static"));
    let found = |start: &str| workshop.find(start);
    assert_eq!(found(built.short_bundle()), Some(built.clone()));
    assert_eq!(found(&other.bundle), Some(other));
    assert_eq!(found("0123456789ab"), None);
    // One that is there again is known again.
    fs::remove_dir_all(workshop.bundle(&built)).unwrap();
    assert_eq!(found(&built.bundle), None);
    let again = workshop.revision(&workshop.folder("again", &files));
    let found = found(&again.bundle).expect("there");
    assert_eq!((found.run, found.settings), (again.run, again.settings));
}

#[test]
fn a_bundle_that_is_gone_is_built_again() {
    let workshop = Workshop::new();
    let folder = workshop.scaffold("bash");
    let first = workshop.revision(&folder);
    fs::remove_dir_all(workshop.bundle(&first)).unwrap();
    assert_eq!(workshop.revision(&folder).digest, first.digest);
    assert!(workshop.bundle(&first).is_dir());
}

#[test]
fn a_changed_handler_reuses_dependencies() {
    let workshop = Workshop::new();
    let backend = "import os, zipfile\n\
        def build_wheel(where, settings=None, metadata=None):\n    name = 'part-1-py3-none-any.whl'\n    \
        with zipfile.ZipFile(os.path.join(where, name), 'w') as z:\n        z.writestr('part.py', 'WORD = 1')\n        \
        z.writestr('part-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: part\\nVersion: 1\\n')\n        \
        z.writestr('part-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n        \
        z.writestr('part-1.dist-info/RECORD', '')\n    return name\n";
    // The wheel comes from beside the folder, so that only the list is the key.
    let wheels = workshop.folder(
        "wheels",
        &[("pyproject.toml", LOCAL), ("backend.py", backend)],
    );
    let script = "import sys; sys.path.insert(0, '.'); import backend; backend.build_wheel('.')";
    let made = std::process::Command::new("python3")
        .args(["-c", script])
        .current_dir(&wheels)
        .status();
    assert!(made.unwrap().success());
    let wheel = fs::read(wheels.join("part-1-py3-none-any.whl")).unwrap();
    let files = [
        ("handler.py", HANDLER),
        ("requirements.txt", "--no-index\n--find-links .\npart\n"),
    ];
    let folder = workshop.folder("function", &files);
    fs::write(folder.join("part-1-py3-none-any.whl"), wheel).unwrap();

    let first = workshop.build(&folder);
    assert!(
        first.steps().contains("installing requirements.txt"),
        "{}",
        first.steps()
    );
    let first = first.result.unwrap();
    fs::write(
        folder.join("handler.py"),
        HANDLER.replace("part.WORD", "[part.WORD]"),
    )
    .unwrap();
    let second = workshop.build(&folder);
    assert!(
        second.steps().contains("dependencies are unchanged"),
        "{}",
        second.steps()
    );
    let second = second.result.unwrap();
    assert_ne!(first.digest, second.digest);
    let program = crate::program::Program::start(&second.run, &workshop.bundle(&second));
    assert_eq!(program.post("").text(), "[1]");
}
