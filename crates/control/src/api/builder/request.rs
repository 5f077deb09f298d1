//! What a signed archive asks for, beside the context itself.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use hob_image::{DockerfileOrder, Dockerfiles, ImageOrder, ImageRef};
use hob_model::openfaas::{BUILD_CONFIG, BUILD_SECRETS};
use serde::Deserialize;
use tar::{Archive, EntryType};

use super::super::{build::read_platforms, error::ApiError};
use crate::{remote_builds::KeyError, sealed::KeyPair};

/// Bytes of the file that says what is wanted.
const MAX_CONFIG: u64 = 256 << 10;
/// Bytes of the file with sealed secrets.
const MAX_SECRETS: u64 = 2 << 20;
/// Values for a Dockerfile.
const MAX_ARGS: usize = 256;
/// Bytes of one such value: each becomes an argument of a program.
const MAX_ARG: usize = 32 << 10;

/// The files beside the context.
pub(super) struct BuildRequest {
    config: Config,
    sealed: Option<String>,
}

/// Keys that hob does not know are passed by: clients say more than every builder can do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    image: String,
    build_args: Option<BTreeMap<String, String>>,
    platforms: Option<Vec<String>>,
    #[serde(default)]
    skip_push: bool,
}

// === impl BuildRequest ===

impl BuildRequest {
    /// Looks for its files in the archive; those of the context are for others.
    pub(super) fn read(archive: &Path) -> Result<Self, ApiError> {
        let damaged = |error| ApiError::Bad(format!("the body is no tar, or is damaged: {error}"));
        let (mut config, mut sealed) = (None, None);
        let mut archive = Archive::new(open(archive)?);
        // Raw: a long name could be of any length, and none that is looked for is long.
        for entry in archive.entries_with_seek().map_err(damaged)?.raw(true) {
            let mut entry = entry.map_err(damaged)?;
            if entry.header().entry_type() != EntryType::Regular {
                continue;
            }
            let name = entry.path_bytes().into_owned();
            let name = name.strip_prefix(b"./").unwrap_or(&name);
            let (file, name, limit) = match name {
                name if name == BUILD_CONFIG.as_bytes() => (&mut config, BUILD_CONFIG, MAX_CONFIG),
                name if name == BUILD_SECRETS.as_bytes() => {
                    (&mut sealed, BUILD_SECRETS, MAX_SECRETS)
                }
                _ => continue,
            };
            if file.is_some() {
                return Err(bad(format!("archive entry `{name}` is there twice")));
            }
            if entry.size() > limit {
                return Err(bad(format!("archive entry `{name}` is over {limit} bytes")));
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(damaged)?;
            *file = Some(text);
        }
        let missing = || bad(format!("the archive has no `{BUILD_CONFIG}`"));
        let config = serde_json::from_str(&config.ok_or_else(missing)?)
            .map_err(|error| bad(format!("{BUILD_CONFIG}: {error}")))?;
        Ok(Self { config, sealed })
    }

    /// What that means for hob. `key` is asked for when there are secrets.
    pub(super) fn order(
        self,
        key: impl FnOnce() -> Result<KeyPair, KeyError>,
    ) -> Result<ImageOrder, ApiError> {
        let image: ImageRef = self.config.image.parse().map_err(bad)?;
        let platforms = self.config.platforms.unwrap_or_default().join(",");
        let args = self.config.build_args.unwrap_or_default();
        check(&args)?;
        let secrets = match self.sealed {
            Some(file) => key()?.open(&file).map_err(bad)?,
            None => BTreeMap::new(),
        };
        Ok(ImageOrder {
            image,
            platforms: read_platforms(&platforms)?,
            base: None,
            push: !self.config.skip_push,
            dockerfile: Dockerfiles::Asked(DockerfileOrder { args, secrets }),
        })
    }
}

fn open(archive: &Path) -> Result<File, ApiError> {
    File::open(archive).map_err(|source: io::Error| ApiError::Io {
        action: "read the context",
        path: archive.to_owned(),
        source,
    })
}

/// They become arguments of another program.
fn check(args: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if args.len() > MAX_ARGS {
        return Err(bad(format!("a build has at most {MAX_ARGS} build args")));
    }
    for (name, value) in args {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(allowed) {
            let name: String = name.chars().take(100).collect();
            let rule = "must be called by letters, digits, `-`, `_` and `.`";
            return Err(bad(format!("build arg `{name}` {rule}")));
        }
        if value.len() > MAX_ARG || value.contains('\0') {
            let rule = format!("must have at most {MAX_ARG} bytes, and none that is zero");
            return Err(bad(format!("build arg `{name}` {rule}")));
        }
    }
    Ok(())
}

fn bad(error: impl std::fmt::Display) -> ApiError {
    ApiError::Bad(error.to_string())
}
