//! Languages that stand on a base.

use std::{fs, io::Write, path::Path};

use hob_image::LayerFiles;
use hob_testkit::has_programs;

use super::workshop::{Running, Workshop, base, digest};

/// An ELF header for a machine; enough for those who only look.
fn library(machine: u8) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    bytes[18] = machine;
    bytes
}

/// A wheel that somebody has compiled for one machine.
fn wheel(folder: &Path, python: &str, platform: &str, machine: u8) {
    let name = format!("covers-1.0-{python}-{python}-{platform}.whl");
    let metadata = "Metadata-Version: 2.1\nName: covers\nVersion: 1.0\n";
    let wheel =
        format!("Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {python}-{python}-{platform}\n");
    let files = [
        (
            "covers/__init__.py",
            format!("machine = {machine}\n").into_bytes(),
        ),
        ("covers/fast.so", library(machine)),
        (
            "covers-1.0.dist-info/METADATA",
            metadata.as_bytes().to_vec(),
        ),
        ("covers-1.0.dist-info/WHEEL", wheel.into_bytes()),
        ("covers-1.0.dist-info/RECORD", Vec::new()),
    ];
    // The one zip writer that every machine with Python has.
    let staged = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = staged.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(path).unwrap().write_all(&content).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    let script = "import os, sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\n\
        [z.write(os.path.join(d, f), os.path.relpath(os.path.join(d, f), sys.argv[2])) for d, _, fs in os.walk(sys.argv[2]) for f in fs]\nz.close()\n";
    let made = std::process::Command::new("python3")
        .args(["-c", script])
        .args([&folder.join(name), staged.path()])
        .status();
    assert!(made.unwrap().success());
}

fn python(env: &[(&str, &str)], files: &[&str]) -> Workshop {
    Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        for file in files {
            layer.bytes(file, b"a program".to_vec());
        }
        base(store, "python:3.13-slim", env, &layer);
    })
}

const HANDLER: &str = "import covers\ndef handle(req):\n    return f'{covers.machine}'\n";
const REQUIREMENTS: &str = "--no-index\n--find-links ./wheels\ncovers\n";

#[test]
fn python_gets_the_wheels_of_its_base_and_its_machine() {
    if !has_programs(&["python3", "pip3", "skopeo"]) {
        return;
    }
    let env = [
        ("PATH", "/usr/local/bin:/bin"),
        ("PYTHON_VERSION", "3.13.1"),
    ];
    let workshop = python(&env, &["usr/local/bin/python3.13"]);
    let files = [("handler.py", HANDLER), ("requirements.txt", REQUIREMENTS)];
    let folder = workshop.folder("hello", &files);
    let wheels = folder.join("wheels");
    wheel(&wheels, "cp313", "manylinux2014_x86_64", 62);
    wheel(&wheels, "cp313", "manylinux2014_aarch64", 183);
    wheel(&wheels, "cp38", "manylinux2014_aarch64", 183);

    let image = workshop.image(&folder, &["--platform", "linux/amd64,linux/arm64"]);
    for (platform, machine) in [("linux/amd64", 62), ("linux/arm64", 183)] {
        let root = workshop.unpack(digest(&image, platform), platform);
        let installed = root.path().join("function/.deps/covers");
        assert_eq!(fs::read(installed.join("fast.so")).unwrap()[18], machine);
        assert!(!installed.join("__pycache__").exists());
        assert!(root.path().join("usr/local/bin/python3.13").exists());
        let architecture = &platform[6..];
        let config = workshop.inspect(&["--override-arch", architecture, "--config"]);
        assert_eq!(config["config"]["Entrypoint"][0], "python3");
        assert!(
            config["config"]["Env"]
                .to_string()
                .contains("PATH=/usr/local/bin:/bin")
        );
        let base = &config["config"]["Labels"]["org.opencontainers.image.base.name"];
        assert!(
            base.as_str().unwrap().ends_with("/python:3.13-slim"),
            "{base}"
        );
        Running::start(root.path(), &config).answers("", &machine.to_string());
    }

    // Three layers: the base, what is installed, the function; only the last one is new.
    let before = workshop.layers("arm64");
    fs::write(folder.join("extra.txt"), "more").unwrap();
    workshop.image(&folder, &["--platform", "linux/amd64,linux/arm64"]);
    let after = workshop.layers("arm64");
    assert_eq!((after.len(), &before[..2]), (3, &after[..2]));
    assert_ne!(before[2], after[2]);

    fs::remove_file(wheels.join("covers-1.0-cp313-cp313-manylinux2014_aarch64.whl")).unwrap();
    fs::write(
        folder.join("requirements.txt"),
        format!("{REQUIREMENTS}# again\n"),
    )
    .unwrap();
    let line = workshop
        .build(&folder, &["--platform", "linux/arm64"])
        .fails(1);
    assert!(
        line.contains("covers has no wheel for linux/arm64 with Python 3.13"),
        "{line}"
    );
}

#[test]
fn a_base_that_does_not_tell_its_version_is_looked_through() {
    if !has_programs(&["python3", "pip3"]) {
        return;
    }
    let workshop = python(&[], &["usr/bin/python3.12", "lib/ld-musl-aarch64.so.1"]);
    let files = [("handler.py", HANDLER), ("requirements.txt", REQUIREMENTS)];
    let folder = workshop.folder("hello", &files);
    wheel(&folder.join("wheels"), "cp312", "manylinux2014_aarch64", 62);
    wheel(
        &folder.join("wheels"),
        "cp312",
        "musllinux_1_2_aarch64",
        183,
    );
    let image = workshop.image(&folder, &["--platform", "linux/arm64"]);
    let root = workshop.unpack(&image["digest"], "linux/arm64");
    let library = root.path().join("function/.deps/covers/fast.so");
    assert_eq!(fs::read(library).unwrap()[18], 183);
}

#[test]
fn node_refuses_what_would_have_to_be_compiled() {
    if !has_programs(&["node", "npm", "skopeo"]) {
        return;
    }
    let workshop = Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        layer.bytes("usr/local/bin/node", b"a program".to_vec());
        base(store, "node:24-slim", &[("NODE_VERSION", "24.1.0")], &layer);
    });
    let package = "{\"dependencies\": {\"covers\": \"file:./covers\"}}";
    let handler = "const covers = require('covers');\nmodule.exports = () => covers;\n";
    let files = [
        ("handler.js", handler),
        ("package.json", package),
        (
            "covers/package.json",
            "{\"name\": \"covers\", \"version\": \"1.0.0\", \"scripts\": {\"install\": \"exit 1\"}}",
        ),
        ("covers/index.js", "module.exports = 'Mina';\n"),
    ];
    let folder = workshop.folder("hello", &files);
    let image = workshop.image(&folder, &["--platform", "linux/arm64"]);
    let root = workshop.unpack(&image["digest"], "linux/arm64");
    let config = workshop.inspect(&["--override-arch", "arm64", "--config"]);
    Running::start(root.path(), &config).answers("", "Mina");

    fs::write(folder.join("covers/binding.gyp"), "{}").unwrap();
    let line = workshop
        .build(&folder, &["--platform", "linux/arm64"])
        .fails(1);
    assert!(
        line.contains("package covers has to be compiled on linux/arm64"),
        "{line}"
    );
}

#[test]
fn java_is_compiled_for_the_version_of_its_base() {
    if !has_programs(&["javac"]) {
        return;
    }
    let workshop = Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        layer.bytes("opt/java/bin/java", b"a program".to_vec());
        let env = [("JAVA_VERSION", "jdk-16.0.2+7")];
        base(store, "eclipse-temurin:25-jre", &env, &layer);
    });
    workshop
        .hob
        .command()
        .args(["new", "java", "hello"])
        .dir(workshop.folder.path())
        .run()
        .ok();
    let folder = workshop.folder.path().join("hello");
    let image = workshop.image(&folder, &["--platform", "linux/arm64"]);
    let root = workshop.unpack(&image["digest"], "linux/arm64");
    let class = fs::read(root.path().join("function/classes/Handler.class")).unwrap();
    assert_eq!(class[6..8], [0, 60], "Java 16");
    assert!(!root.path().join("function/Handler.java").exists());
}
