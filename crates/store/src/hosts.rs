use std::{collections::BTreeMap, fs, io, path::Path, time::SystemTime};

use crate::{HostName, StoreError, durable};

/// Endings of the files that are kept of a host: its certificate, its key, and what failed.
const ENDINGS: [&str; 3] = ["pem", "key", "retry"];

/// Removes the files of hosts that are not in `wanted` and that nothing was written of since `before`,
/// from a folder of certificates; returns how many hosts that were.
///
/// # Errors
/// When the folder cannot be read or changed.
pub fn forget_hosts(
    folder: &Path,
    wanted: &[HostName],
    before: SystemTime,
) -> Result<usize, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let wanted: Vec<String> = wanted.iter().map(HostName::file_stem).collect();
    // All files of a host go or stay together: a certificate without its key is of no use.
    let mut hosts: BTreeMap<String, (SystemTime, Vec<String>)> = BTreeMap::new();
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let Some((stem, ending)) = name.rsplit_once('.') else {
            continue;
        };
        // Drafts begin with a dot.
        if !ENDINGS.contains(&ending) || stem.starts_with('.') || wanted.iter().any(|w| w == stem) {
            continue;
        }
        let written = entry.metadata().and_then(|file| file.modified());
        let written = written.map_err(StoreError::io("read", &entry.path()))?;
        let host = hosts.entry(stem.to_owned());
        let host = host.or_insert((SystemTime::UNIX_EPOCH, Vec::new()));
        host.0 = host.0.max(written);
        host.1.push(name);
    }
    hosts.retain(|_, (written, _)| *written < before);
    for name in hosts.values().flat_map(|(_, names)| names) {
        durable::remove(folder, name)?;
    }
    Ok(hosts.len())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn only_what_is_old_and_not_wanted_goes_and_all_of_a_host_at_once() {
        let place = tempfile::tempdir().expect("tempdir");
        let folder = place.path();
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 3600);
        let put = |name: &str, days: u32| {
            let file = File::create(folder.join(name)).expect("made");
            file.set_modified(now - day * days).expect("aged");
        };
        for (name, days) in [
            ("account.json", 400),
            (".gone.example.pem.draft", 400),
            ("gone.example.pem", 100),
            ("gone.example.key", 400),
            ("gone.example.retry", 100),
            ("new.example.pem", 10),
            ("new.example.key", 400),
            ("kept.example.pem", 400),
            ("_.any.example.pem", 400),
        ] {
            put(name, days);
        }
        let wanted = ["kept.example", "*.any.example"];
        let wanted = wanted.map(|name| name.parse().expect("a name"));
        let before = now - day * 90;
        assert_eq!(forget_hosts(folder, &wanted, before).expect("goes"), 1);
        let left = fs::read_dir(folder).expect("reads");
        let left = left.map(|entry| entry.expect("one").file_name());
        let mut left: Vec<_> = left.map(|name| name.into_string().expect("text")).collect();
        left.sort();
        let expected = [
            ".gone.example.pem.draft",
            "_.any.example.pem",
            "account.json",
            "kept.example.pem",
            "new.example.key",
            "new.example.pem",
        ];
        assert_eq!(left, expected);
        assert_eq!(
            forget_hosts(&folder.join("none"), &[], now).expect("none"),
            0
        );
    }
}
