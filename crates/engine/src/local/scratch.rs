//! A replica's own folder, and its record.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
};

use hob_model::{IoWords, port::EngineError};

use super::{
    environment::socket_in,
    host::Host,
    logs::path_of,
    places::{Places, own_folder, remove_file, remove_tree},
    plan::Program,
    record::Record,
};

/// How much of the function's name goes into the name of a replica.
const ID_NAME_MAX: usize = 40;
/// How often a name for a replica is looked for; a second try is rare already.
const ID_TRIES: usize = 16;
/// Longest path of a unix socket that the kernel takes, in bytes.
const SOCKET_PATH_MAX: usize = 107;

/// The replica's own folder and its record. They go when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) id: String,
    pub(super) folder: PathBuf,
    pub(super) record: PathBuf,
}

// === impl Scratch ===

impl Scratch {
    pub(super) fn new(host: &Host, program: &Program) -> Result<Self, EngineError> {
        let function = &program.function;
        for _ in 0..ID_TRIES {
            let id = fresh_id(function.name());
            let folder = host.places.replica(&id, program.unusual_owner());
            check_length(&socket_in(&folder))?;
            if path_of(&host.places.logs(function), &id).exists() {
                // What one that is gone has left there is still somebody's.
                continue;
            }
            match own_folder(&folder, program.owner()) {
                Ok(()) => {
                    let record = host.places.record(&id);
                    return Ok(Self { id, folder, record });
                }
                Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {}
                Err(problem) => {
                    let folder = folder.display();
                    return Err(EngineError::Host(format!(
                        "cannot make {folder}: {}",
                        IoWords(&problem)
                    )));
                }
            }
        }
        Err(EngineError::Host(format!(
            "function `{function}`: no free name for a replica was found"
        )))
    }

    /// That of a replica which an earlier daemon started.
    pub(super) fn of(places: &Places, record: &Record) -> Self {
        let id = record.replica.clone();
        Self {
            folder: places.replica(&id, record.owner),
            record: places.record(&id),
            id,
        }
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        record.write(&self.record)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let cleared = remove_tree(&self.folder).and_then(|()| remove_file(&self.record));
        if let Err(problem) = cleared {
            let folder = self.folder.display();
            tracing::warn!(%folder, %problem, "a replica's folder could not be removed");
        }
    }
}

/// `hello-3f9a1c`: for people, and different each time.
fn fresh_id(name: &str) -> String {
    let name = name[..name.len().min(ID_NAME_MAX)].trim_end_matches('-');
    // The standard library seeds each `RandomState` differently; the folder, made exclusively,
    // settles the rest.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{name}-{:06x}", random & 0xff_ffff)
}

fn check_length(socket: &Path) -> Result<(), EngineError> {
    let length = socket.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(EngineError::Host(format!(
        "socket path {} has {length} bytes and the kernel takes {SOCKET_PATH_MAX}: use a data directory with a shorter path",
        socket.display()
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_different_and_fit_for_a_cage() {
        let long = format!("{}-{}", "a".repeat(39), "b".repeat(23));
        let (one, two) = (fresh_id(&long), fresh_id(&long));
        assert_ne!(one, two);
        assert_eq!(one.len(), 39 + 7);
        assert!(one.starts_with(&format!("{}-", "a".repeat(39))));
    }

    #[test]
    fn a_socket_path_beyond_the_kernels_limit_is_refused() {
        assert!(check_length(Path::new(&"x".repeat(107))).is_ok());
        let refusal = check_length(Path::new(&"x".repeat(108))).unwrap_err();
        assert!(refusal.to_string().contains("108 bytes"));
    }
}
