//! A server that builds images, and what tests want to know of them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use flate2::read::GzDecoder;
use hob_image::{Assembly, Digest, ImageStore, LayerFiles, Origin, Platform, RunSettings, Tagged};
use hob_testkit::{Hob, Outcome, assert_eventually};
use serde_json::Value;
use tempfile::TempDir;

use crate::bench::{HOB, write};

pub(super) struct Workshop {
    pub(super) hob: Hob,
    pub(super) folder: TempDir,
}

/// A program of an image that runs on this machine, without the rest of the image.
pub(super) struct Running {
    child: Child,
    port: u16,
}

impl Workshop {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With what `prepare` puts into the store before the server starts.
    pub(super) fn with(prepare: impl FnOnce(&Arc<ImageStore>)) -> Self {
        let data = tempfile::Builder::new()
            .prefix("hob-test-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .unwrap();
        prepare(&ImageStore::open(data.path()).unwrap());
        let hob = Hob::builder(HOB).data(data);
        Self {
            hob: hob.env("BUILDAH_ISOLATION", "chroot").start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder with these files; those that begin with `#!` are executable.
    pub(super) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().join(name);
        for (file, text) in files {
            let path = folder.join(file);
            write(&path, text);
            if text.starts_with("#!") {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(&path, mode).unwrap();
            }
        }
        folder
    }

    pub(super) fn build(&self, folder: &Path, more: &[&str]) -> Outcome {
        let folder = folder.to_str().unwrap();
        let args = ["build", folder, "--image", "reg.example.net/hello:1"];
        self.hob.cli(args.iter().chain(more))
    }

    /// What `-o json` says of an image that must be built.
    #[track_caller]
    pub(super) fn image(&self, folder: &Path, more: &[&str]) -> Value {
        self.build(folder, &[more, &["-o", "json"]].concat()).json()
    }

    /// The folder of the server's images, and the name of the test's.
    pub(super) fn place(&self) -> String {
        let layout = self.hob.data().join("images");
        format!("oci:{}:reg.example.net/hello:1", layout.display())
    }

    /// What another program says of the image for an architecture.
    pub(super) fn inspect(&self, more: &[&str]) -> Value {
        let output = Command::new("skopeo")
            .arg("inspect")
            .args(more)
            .arg(self.place())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skopeo: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The image of a manifest that a build has named, all of it unpacked.
    pub(super) fn unpack(&self, digest: &Value, platform: &str) -> TempDir {
        let images = self.hob.data().join("images/blobs/sha256");
        let open = |digest: &Digest| File::open(images.join(digest.hex())).unwrap();
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        let mut bytes = Vec::new();
        open(&digest).read_to_end(&mut bytes).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let root = tempfile::tempdir().unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let layer: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
            let mut layer = tar::Archive::new(GzDecoder::new(open(&layer)));
            layer.unpack(root.path()).unwrap();
        }
        assert!(root.path().join("function").is_dir(), "{platform}");
        root
    }

    /// Digests of the layers of each platform.
    pub(super) fn layers(&self, architecture: &str) -> Vec<String> {
        let seen = self.inspect(&["--override-arch", architecture]);
        let layers = seen["Layers"].as_array().unwrap().iter();
        layers
            .map(|layer| layer.as_str().unwrap().to_owned())
            .collect()
    }
}

/// The digest of one of the image's platforms.
pub(super) fn digest<'a>(image: &'a Value, platform: &str) -> &'a Value {
    let platforms = image["platforms"].as_array().unwrap();
    let one = platforms.iter().find(|one| one["platform"] == platform);
    &one.unwrap_or_else(|| panic!("no {platform} in {image}"))["digest"]
}

/// Puts a base into a store, for two platforms. Returns the digest of its layer.
pub(super) fn base(
    store: &ImageStore,
    name: &str,
    env: &[(&str, &str)],
    files: &LayerFiles,
) -> String {
    let layer = store.write_layer("base", files).unwrap();
    let settings = RunSettings {
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        port: 80,
        ..RunSettings::default()
    };
    let both = ["linux/amd64", "linux/arm64"].map(|platform| {
        let platform: Platform = platform.parse().unwrap();
        let assembly = Assembly {
            platform: &platform,
            base: None,
            layers: std::slice::from_ref(&layer),
            settings: &settings,
        };
        let made = store.assemble(&assembly).unwrap();
        (platform, made)
    });
    let index = store.assemble_index(&both).unwrap();
    let tagged = Tagged {
        name: name.parse().unwrap(),
        digest: index.digest,
        media_type: index.media_type.into(),
        size: index.length,
        origin: Origin::Local,
    };
    store.tag(tagged).unwrap();
    layer.digest.to_string()
}

/// `e_machine` of an ELF file.
pub(super) fn machine(path: &Path) -> (u8, u16) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[..4], *b"\x7fELF", "{}", path.display());
    (bytes[4], u16::from_le_bytes([bytes[18], bytes[19]]))
}

impl Running {
    /// Starts what an image's configuration says, with the image's folder as its own.
    pub(super) fn start(root: &Path, config: &Value) -> Self {
        Self::launch(root, config, Command::new)
    }

    /// The same with a program for another machine, which `emulator` runs.
    pub(super) fn emulated(emulator: &str, root: &Path, config: &Value) -> Self {
        Self::launch(root, config, |program| {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        })
    }

    fn launch(root: &Path, config: &Value, command: impl Fn(PathBuf) -> Command) -> Self {
        let config = &config["config"];
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let argv: Vec<_> = config["Entrypoint"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part.as_str().unwrap())
            .collect();
        let program = match argv[0].strip_prefix('/') {
            Some(inside) => root.join(inside),
            None => argv[0].into(),
        };
        let folder = config["WorkingDir"].as_str().unwrap();
        let env = config["Env"].as_array().unwrap().iter();
        let env = env.map(|line| line.as_str().unwrap().split_once('=').unwrap());
        let child = command(program)
            .args(&argv[1..])
            .current_dir(root.join(folder.trim_start_matches('/')))
            .envs(env.filter(|(name, _)| *name != "PATH"))
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// Asserts that it answers so.
    #[track_caller]
    pub(super) fn answers(&self, body: &str, expected: &str) {
        assert_eventually!(
            self.post(body)
                .is_some_and(|answer| answer.trim_end().ends_with(expected)),
            "the program of the image answers"
        );
    }

    fn post(&self, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
