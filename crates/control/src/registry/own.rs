//! By which names this machine's registry goes.

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use hob_image::ImageRef;

/// The registry in the names of images that were pushed to this machine. They are kept under this
/// one, since a machine goes by many names (`localhost:8080`, its address, its name on the
/// network, one behind a proxy) and those change: what is pushed under one must be found under
/// all others, tomorrow too. Nothing is ever fetched from a registry of this name.
pub const OWN_REGISTRY: &str = "hob.local";
/// Names that are learned from those who push.
const LEARNED_MAX: usize = 64;

/// The hosts, with their ports, that lead to this machine.
#[derive(Debug)]
pub(super) struct OwnNames {
    file: PathBuf,
    /// Those of the address that it listens on.
    fixed: Vec<String>,
    /// Those under which somebody pushed, on the disk too.
    learned: Mutex<BTreeSet<String>>,
}

/// The name in the store for `reference`, when its registry is [`OWN_REGISTRY`] or one of `own`,
/// hosts with their ports that lead to this machine. A deploy looks there first, and needs no
/// network then.
pub fn own_name(reference: &ImageRef, own: &[String]) -> Option<ImageRef> {
    let registry = reference.registry();
    if registry != OWN_REGISTRY && !own.iter().any(|own| own.eq_ignore_ascii_case(registry)) {
        return None;
    }
    let text = reference.to_string();
    let rest = text.strip_prefix(registry)?;
    format!("{OWN_REGISTRY}{rest}").parse().ok()
}

// === impl OwnNames ===

impl OwnNames {
    pub(super) fn load(file: &Path, listen: &str) -> io::Result<Self> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut fixed = vec![listen.to_owned()];
        if let Ok(address) = listen.parse::<SocketAddr>()
            && (address.ip().is_loopback() || address.ip().is_unspecified())
        {
            let hosts = ["localhost", "127.0.0.1", "[::1]"];
            fixed.extend(hosts.map(|host| format!("{host}:{}", address.port())));
        }
        let learned = text.lines().take(LEARNED_MAX).map(ToOwned::to_owned);
        Ok(Self {
            file: file.to_owned(),
            fixed,
            learned: Mutex::new(learned.collect()),
        })
    }

    pub(super) fn all(&self) -> Vec<String> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        self.fixed.iter().chain(learned.iter()).cloned().collect()
    }

    /// Somebody who knows the password pushed to `host`. Blocks on the disk when that is new.
    pub(super) fn learn(&self, host: &str) -> io::Result<()> {
        let host = host.to_ascii_lowercase();
        let reference = format!("{host}/x").parse::<ImageRef>();
        if self.fixed.contains(&host) || reference.is_ok_and(|it| it.registry() != host) {
            return Ok(()); // nobody can write it in an image's name
        }
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.len() >= LEARNED_MAX || !learned.insert(host) {
            return Ok(());
        }
        let lines: String = learned.iter().map(|host| format!("{host}\n")).collect();
        hob_image::replace_file(&self.file, lines.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_this_machine_leads_to_the_same_image() {
        let data = tempfile::tempdir().expect("a folder");
        let file = data.path().join("own-names");
        let names = OwnNames::load(&file, "0.0.0.0:8080").expect("loads");
        names.learn("NAS.lan:8080").expect("writes");
        // After a start too.
        let names = OwnNames::load(&file, "0.0.0.0:8080").expect("loads");
        let own = |text: &str| {
            let name = own_name(&text.parse().expect(text), &names.all());
            name.map(|name| name.to_string())
        };
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "nas.lan:8080",
            OWN_REGISTRY,
        ] {
            let name = own(&format!("{host}/team/hello:1.0"));
            assert_eq!(name.as_deref(), Some("hob.local/team/hello:1.0"), "{host}");
        }
        for other in [
            "nas.lan/hello",
            "localhost:5000/hello",
            "r.example.net/hello",
        ] {
            assert_eq!(own(other), None, "{other}");
        }
    }
}
