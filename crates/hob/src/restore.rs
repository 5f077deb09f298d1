//! From a backup to a data directory, all of it or nothing.

mod archive;
mod place;

use std::{fs, io::Read, path::Path, time::SystemTime};

use hob_model::{
    Run,
    backup::{BUNDLES, IDENTITY, SECRETS},
};
use hob_store::{Held, LOCK, Store, check_database};
use serde::Serialize;

use place::Place;

/// What came back.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    /// When the backup was made.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) made_at: SystemTime,
    /// Functions.
    pub(crate) functions: u64,
    /// Secrets, sealed.
    pub(crate) secrets: u64,
    /// Asynchronous calls that will be made.
    pub(crate) calls: u64,
    /// Whether the key to the secrets came back.
    pub(crate) identity: bool,
    /// Functions that cannot run as they are, each with what it lacks.
    pub(crate) lacking: Vec<String>,
}

/// Brings the data directory `data`, which must be empty or new, to what `source` holds.
///
/// # Errors
/// One line: the backup is damaged, cut short, of a newer hob or not one at all, or the directory
/// is in use or not empty. Nothing is left then.
pub(crate) fn restore(source: impl Read, data: &Path) -> anyhow::Result<Restored> {
    let (manifest, place) = archive::unpack(source, || Place::take(data))?;
    let restored = check(place.folder())?;
    place.settle()?;
    Ok(Restored {
        made_at: manifest.made_at,
        ..restored
    })
}

/// Opens what was unpacked as a server would, which also brings an older database up to date.
fn check(folder: &Path) -> anyhow::Result<Restored> {
    check_database(folder)?;
    let store = Store::open(folder)?;
    let Held { functions, calls } = store.held()?;
    let lacking = store.functions()?.into_iter().filter_map(|function| {
        let revision = &function.revision;
        let (name, bundle) = (&function.name, folder.join(BUNDLES).join(&revision.bundle));
        match &revision.run {
            Run::Image(run) => {
                let blob = run.manifest.trim_start_matches("sha256:");
                let here = folder.join("images/blobs/sha256").join(blob).exists();
                (!here).then(|| format!("{name} lacks image {}", run.image))
            }
            Run::Process { .. } | Run::Static { .. } => {
                (!bundle.is_dir()).then(|| format!("{name} lacks its bundle"))
            }
        }
    });
    let restored = Restored {
        made_at: SystemTime::UNIX_EPOCH,
        functions,
        calls,
        lacking: lacking.collect(),
        secrets: secrets(&folder.join(SECRETS))?,
        identity: folder.join(IDENTITY).exists(),
    };
    drop(store);
    fs::remove_file(folder.join(LOCK))?;
    Ok(restored)
}

/// How many there are, in all namespaces.
fn secrets(folder: &Path) -> anyhow::Result<u64> {
    let mut count = 0;
    if folder.is_dir() {
        for namespace in fs::read_dir(folder)? {
            let namespace = namespace?.path();
            if namespace.is_dir() {
                let files = fs::read_dir(namespace)?.flatten();
                let sealed =
                    files.filter(|file| file.path().extension().is_some_and(|it| it == "age"));
                count += sealed.count() as u64;
            }
        }
    }
    Ok(count)
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_seconds(*time))
}
