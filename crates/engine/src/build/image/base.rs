//! What an image stands on: from the machine's own store, else from its registry.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use hob_image::{
    Digest, Image, ImageError, ImageFault, ImageRef, ImageStore, ManifestError, Origin, Platform,
    Progress, RegistryClient, digest_of,
};
use hob_model::port::{BuildError, BuildLine, BuildLog};

use crate::build::{
    target::{Libc, Target},
    template::ImageRecipe,
};

/// Bytes of a layer, unpacked, that are looked through.
const MAX_LAYER: u64 = 4 << 30;
/// Where programs are in a base.
const PROGRAMS: [&str; 3] = ["usr/local/bin", "usr/bin", "bin"];

/// What a base is found with.
pub(super) struct Bases<'a> {
    pub(super) store: &'a Arc<ImageStore>,
    pub(super) registry: &'a RegistryClient,
    pub(super) log: &'a BuildLog,
}

// === impl Bases ===

impl Bases<'_> {
    /// The base for each platform, in their order. The caller holds the store.
    pub(super) async fn find(
        &self,
        name: &ImageRef,
        platforms: &[Platform],
    ) -> Result<Vec<Image>, BuildError> {
        if let Some(images) = self.look(name, platforms)? {
            return Ok(images);
        }
        (self.log)(BuildLine::Step(format!("fetching base {name}")));
        let log = BuildLog::clone(self.log);
        let progress: Progress = Arc::new(move |line| log(BuildLine::Output(line)));
        let mut images = Vec::new();
        for platform in platforms {
            let pulled = self.registry.pull(self.store, name, platform, &progress);
            let pulled = pulled.await.map_err(|error| refusal("base", error))?;
            images.push(pulled.image);
        }
        Ok(images)
    }

    /// From the store, when it has every platform; `None` when a registry may have them.
    fn look(
        &self,
        name: &ImageRef,
        platforms: &[Platform],
    ) -> Result<Option<Vec<Image>>, BuildError> {
        let Some(tagged) = self.store.tagged(name) else {
            return Ok(None);
        };
        let mut images = Vec::new();
        for platform in platforms {
            let image = self
                .store
                .image(&tagged.digest, platform, &name.to_string());
            match image {
                Ok(image) => {
                    if image.layers().iter().any(|(layer, _)| {
                        let digest = digest_of(layer).ok();
                        digest.is_none_or(|digest| self.store.touch_blob(&digest).is_none())
                    }) {
                        return Ok(None);
                    }
                    images.push(image);
                }
                Err(ImageError::NoBlob(_)) => return Ok(None),
                Err(ImageError::Manifest { problem, .. })
                    if tagged.origin == Origin::Pulled
                        && matches!(*problem, ManifestError::Platform { .. }) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(refusal("base", error)),
            }
        }
        Ok(Some(images))
    }
}

/// What building for `platform` has to know of its base.
pub(super) fn target(
    store: &ImageStore,
    platform: &Platform,
    base: Option<&Image>,
    recipe: &ImageRecipe,
) -> Result<Target, BuildError> {
    let mut target = Target {
        platform: platform.clone(),
        libc: Libc::default(),
        version: String::new(),
    };
    let Some(base) = base else {
        return Ok(target);
    };
    if let Some(name) = &recipe.version {
        target.version = variable(base, name).map_or_else(String::new, |text| version(&text));
    }
    // Only those have to know more for whom something is chosen by it.
    if recipe.install.is_some() {
        for (layer, _) in base.layers() {
            let digest = digest_of(layer);
            let digest = digest.map_err(|error| BuildError::Refused(error.to_string()))?;
            let kind = layer.media_type().to_string();
            look_through(&digest, &store.blob_path(&digest), &kind, |path| {
                if is_musl(path) {
                    target.libc = Libc::Musl;
                }
                if target.version.is_empty()
                    && let Some(program) = &recipe.program
                    && let Some(found) = version_of(path, program)
                {
                    target.version = found;
                }
            })?;
        }
    }
    Ok(target)
}

/// A variable in the base's configuration.
pub(super) fn variable(base: &Image, name: &str) -> Option<String> {
    let config = base.config.config().as_ref()?;
    let lines = config.env().iter().flatten();
    let mut pairs = lines.filter_map(|line| line.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
}

/// Digits and dots after what stands before them: `3.13.1` of `v3.13.1-rc1`.
fn version(text: &str) -> String {
    let start = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    let is_part = |c: &char| c.is_ascii_digit() || *c == '.';
    text[start..].chars().take_while(is_part).collect()
}

fn is_musl(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ld-musl-")
}

/// `3.13` of `usr/bin/python3.13`.
fn version_of(path: &Path, program: &str) -> Option<String> {
    let folder = path.parent()?;
    let rest = path.file_name()?.to_str()?.strip_prefix(program)?;
    let plain = rest.contains('.') && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    (plain && PROGRAMS.iter().any(|place| folder == Path::new(place))).then(|| rest.to_owned())
}

/// Shows every path of a layer, without `./`.
fn look_through(
    digest: &Digest,
    blob: &Path,
    media_type: &str,
    mut see: impl FnMut(&Path),
) -> Result<(), BuildError> {
    if media_type.ends_with("zstd") {
        return Ok(()); // what is not known is told to the user
    }
    let mut look = || -> io::Result<()> {
        let file = BufReader::new(File::open(blob)?);
        let tar: Box<dyn Read> = if media_type.ends_with("gzip") {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut archive = tar::Archive::new(tar.take(MAX_LAYER));
        for entry in archive.entries()? {
            let entry = entry?;
            let path = entry.path()?;
            see(path.strip_prefix(".").unwrap_or(&path));
        }
        Ok(())
    };
    look().map_err(|error| BuildError::Refused(format!("base: layer {digest}: {error}")))
}

/// An error about an image in the words of a build.
pub(super) fn refusal(what: &str, error: ImageError) -> BuildError {
    let text = format!("{what}: {error}");
    match error.fault() {
        ImageFault::Caller => BuildError::Refused(text),
        ImageFault::Host => BuildError::Host(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_a_variable_or_a_file_name() {
        assert_eq!(version("3.13.1"), "3.13.1");
        assert_eq!(version("jdk-25.0.1+8"), "25.0.1");
        assert_eq!(version("none"), "");
        let found = |path: &str| version_of(Path::new(path), "python");
        assert_eq!(found("usr/bin/python3.11"), Some("3.11".into()));
        assert_eq!(found("usr/bin/python3"), None);
        assert_eq!(found("usr/bin/python3.11-config"), None);
        assert_eq!(found("usr/share/python3.11"), None);
        assert!(is_musl(Path::new("lib/ld-musl-x86_64.so.1")));
    }
}
