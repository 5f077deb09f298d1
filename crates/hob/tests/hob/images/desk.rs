//! A server with images that need no registry, and folders to deploy them by.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use hob_image::{Assembly, ImageStore, LayerFiles, Origin, Platform, RunSettings, Tagged};
use hob_testkit::{Hob, HobBuilder};
use tempfile::TempDir;

use crate::bench::{HOB, write};

/// What every busybox image can do.
const APPLETS: [&str; 15] = [
    "cat", "echo", "env", "grep", "httpd", "id", "ls", "nc", "sh", "sleep", "stat", "timeout",
    "touch", "wget", "ip",
];

/// Where the machine has it.
const BUSYBOX: &str = "/bin/busybox";

/// How an image of the test runs.
pub(crate) struct Recipe<'a> {
    pub(crate) name: &'a str,
    pub(crate) entrypoint: &'a [&'a str],
    pub(crate) env: &'a [(&'a str, &'a str)],
    pub(crate) user: &'a str,
    /// Files by path, with their text.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Programs by path, and where this machine has them.
    pub(crate) programs: &'a [(&'a str, &'a Path)],
}

impl Default for Recipe<'_> {
    fn default() -> Self {
        Self {
            name: "local.test/hello:1",
            entrypoint: &["/bin/httpd", "-f", "-p", "8080", "-h", "/www"],
            env: &[],
            user: "12000:12000",
            files: &[],
            programs: &[],
        }
    }
}

/// A data directory with these images in its store.
pub(crate) fn data(recipes: &[Recipe<'_>]) -> TempDir {
    let data = tempfile::Builder::new()
        .prefix("hob-test-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let store = ImageStore::open(data.path()).unwrap();
    for recipe in recipes {
        recipe.make(&store);
    }
    data
}

pub(crate) fn hob(recipes: &[Recipe<'_>]) -> HobBuilder {
    Hob::builder(HOB).data(data(recipes))
}

impl Recipe<'_> {
    fn make(&self, store: &Arc<ImageStore>) {
        // Files are read when the layers are written.
        let (base, top) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layers = [
            ("base", Self::base(base.path())),
            ("top", self.top(top.path())),
        ];
        let layers = layers.map(|(title, files)| store.write_layer(title, &files).unwrap());
        let settings = RunSettings {
            entrypoint: self.entrypoint.iter().map(ToString::to_string).collect(),
            env: self
                .env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            working_dir: "/www".into(),
            user: self.user.into(),
            port: 8080,
            ..RunSettings::default()
        };
        let made = store
            .assemble(&Assembly {
                platform: &Platform::host(),
                base: None,
                layers: &layers,
                settings: &settings,
            })
            .unwrap();
        let tagged = Tagged {
            name: self.name.parse().unwrap(),
            digest: made.digest,
            media_type: made.media_type.into(),
            size: made.length,
            origin: Origin::Local,
        };
        store.tag(tagged).unwrap();
    }

    /// busybox with its names, the same for all images.
    fn base(folder: &Path) -> LayerFiles {
        let bin = folder.join("bin");
        fs::create_dir(&bin).unwrap();
        fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let mut files = LayerFiles::default();
        files.tree(folder, "", &|_| true).unwrap();
        files.bytes(
            "etc/passwd",
            b"root:x:0:0:root:/:/bin/sh\napp:x:100:101:app:/:/bin/sh\n".to_vec(),
        );
        files.bytes(
            "etc/group",
            b"root:x:0:\napp:x:101:\nextra:x:200:app\n".to_vec(),
        );
        files
    }

    fn top(&self, folder: &Path) -> LayerFiles {
        for (path, text) in self.files {
            let path = folder.join(path);
            write(&path, text);
            if text.starts_with("#!") {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(&path, mode).unwrap();
            }
        }
        for (path, program) in self.programs {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(program, path).unwrap();
        }
        write(&folder.join("www/index.html"), "hello from an image\n");
        let mut files = LayerFiles::default();
        files.tree(folder, "", &|_| true).unwrap();
        files
    }
}

/// A folder whose hob.toml says this.
pub(crate) fn settings(hob: &Hob, name: &str, text: &str) -> PathBuf {
    let folder = hob.data().with_extension("settings").join(name);
    write(&folder.join("hob.toml"), text);
    folder
}

/// Deploys an image with no way out, so that nothing of this machine's network is touched.
#[track_caller]
pub(crate) fn deploy(hob: &Hob, name: &str, image: &str, more: &str) -> String {
    let folder = settings(
        hob,
        name,
        &format!("name = \"{name}\"\nnetwork = \"none\"\n{more}"),
    );
    let args = ["deploy", text(&folder), "--image", image];
    let said = hob.cli(args).ok();
    fs::remove_dir_all(hob.data().with_extension("settings")).unwrap();
    said
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
