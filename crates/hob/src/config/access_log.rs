//! `[access_log]`: where each request leaves a line.

use std::path::PathBuf;

use hob_gateway::{AccessFormat, AccessLog, AccessTarget};
use serde::Deserialize;

/// What stands for standard error in place of a path.
const STDERR: &str = "stderr";

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: PathBuf,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    query: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Combined,
    Json,
}

/// The table, checked.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Table(pub(super) AccessLog);

impl TryFrom<Written> for Table {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written {
            path,
            format,
            query,
        } = written;
        let target = match path.as_os_str() == STDERR {
            true => AccessTarget::Stderr,
            false if path.is_absolute() => AccessTarget::File(path),
            false => {
                return Err(format!(
                    "access_log.path must be a whole path, as /var/log/hob/access.log, or \"{STDERR}\""
                ));
            }
        };
        let format = match format {
            Format::Combined => AccessFormat::Combined,
            Format::Json => AccessFormat::Json,
        };
        Ok(Self(AccessLog {
            target,
            format,
            query,
        }))
    }
}
