use std::path::Path;

use sha2::{Digest, Sha256};

use super::MAX_SIZE;

/// Beginning of the names of sandboxes.
const PREFIX: &str = "run-";
/// The host's users from here on belong to nobody, by the usual division of them.
const FIRST_UID: u32 = 1_900_000_000;
/// So many pools on one machine have users of their own.
const POOLS: u32 = 20_000;

/// A name for a sandbox that none had and nobody guesses.
pub(super) fn name() -> Result<String, String> {
    let number = getrandom::u64().map_err(|error| format!("the machine has no chance: {error}"))?;
    Ok(format!("{PREFIX}{number:016x}"))
}

/// The first of the users of the pool in the run folder `run`. Two pools on one machine hardly ever
/// have the same.
pub(super) fn first_uid(run: &Path) -> u32 {
    let hash = Sha256::digest(run.as_os_str().as_encoded_bytes());
    let number = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let size = u32::try_from(MAX_SIZE).unwrap_or(u32::MAX);
    FIRST_UID + number % POOLS * size
}
