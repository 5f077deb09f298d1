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
        look_further(store, base, recipe, &mut target)?;
    }
    Ok(target)
}

/// Looks through the layers, lowest first, until there is nothing left to find out.
fn look_further(
    store: &ImageStore,
    base: &Image,
    recipe: &ImageRecipe,
    target: &mut Target,
) -> Result<(), BuildError> {
    let mut libc = None;
    for (layer, _) in base.layers() {
        let digest = digest_of(layer);
        let digest = digest.map_err(|error| BuildError::Refused(error.to_string()))?;
        let kind = layer.media_type().to_string();
        let enough = look_through(&digest, &store.blob_path(&digest), &kind, |path| {
            libc = libc.or(libc_of(path));
            if target.version.is_empty()
                && let Some(program) = &recipe.program
                && let Some(found) = version_of(path, program)
            {
                target.version = found;
            }
            let no_more = recipe.program.is_none() || !target.version.is_empty();
            libc.is_some() && no_more
        })?;
        if enough {
            break;
        }
    }
    target.libc = libc.unwrap_or_default();
    Ok(())
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

/// Told by the loader that it brings.
fn libc_of(path: &Path) -> Option<Libc> {
    let name = path.file_name()?.to_str()?;
    match name {
        _ if name.starts_with("ld-musl-") => Some(Libc::Musl),
        _ if name.starts_with("ld-linux") => Some(Libc::Glibc),
        _ => None,
    }
}

/// `3.13` of `usr/bin/python3.13`.
fn version_of(path: &Path, program: &str) -> Option<String> {
    let folder = path.parent()?;
    let rest = path.file_name()?.to_str()?.strip_prefix(program)?;
    let plain = rest.contains('.') && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    (plain && PROGRAMS.iter().any(|place| folder == Path::new(place))).then(|| rest.to_owned())
}

/// Shows every path of a layer, without `./`, until `see` has seen enough. Tells whether it has.
fn look_through(
    digest: &Digest,
    blob: &Path,
    media_type: &str,
    mut see: impl FnMut(&Path) -> bool,
) -> Result<bool, BuildError> {
    if media_type.ends_with("zstd") {
        return Ok(false); // what is not known is told to the user
    }
    let mut look = || -> io::Result<bool> {
        let file = BufReader::new(File::open(blob)?);
        let tar: Box<dyn Read> = if media_type.ends_with("gzip") {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut archive = tar::Archive::new(tar.take(MAX_LAYER));
        // Raw: a long name could be of any length, and none that is looked for is long.
        for entry in archive.entries()?.raw(true) {
            let entry = entry?;
            let path = entry.path()?;
            if see(path.strip_prefix(".").unwrap_or(&path)) {
                return Ok(true);
            }
        }
        Ok(false)
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
        let libc = |path: &str| libc_of(Path::new(path));
        assert_eq!(libc("lib/ld-musl-x86_64.so.1"), Some(Libc::Musl));
        assert_eq!(libc("lib64/ld-linux-x86-64.so.2"), Some(Libc::Glibc));
        assert_eq!(libc("lib/libc.so"), None);
    }
}
