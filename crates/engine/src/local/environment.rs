use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hob_model::Isolation;
use hob_sandbox::{Access, Bind};

use super::plan::Program;

/// Where the programs of the host are, inside a cage as well.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Name of the socket in the replica's folder.
const SOCKET: &str = "http.sock";

/// Where a program finds its things: the same everywhere in a container, paths of the host at
/// level `process`, which has no mounts.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) bundle: PathBuf,
    pub(super) own: PathBuf,
    pub(super) secrets: PathBuf,
    home: PathBuf,
}

/// The folders of one replica on the host.
#[derive(Debug)]
pub(super) struct Folders<'a> {
    /// `None` for images, which have their files in their root.
    pub(super) bundle: Option<&'a Path>,
    /// Holds the socket; the replica may write there.
    pub(super) own: &'a Path,
    pub(super) secrets: &'a Path,
}

/// The socket on the host, in the replica's folder.
pub(super) fn socket_in(own: &Path) -> PathBuf {
    own.join(SOCKET)
}

/// The whole environment of a replica's program.
pub(super) fn variables(
    program: &Program,
    inside: &Surroundings,
    port: u16,
) -> Vec<(String, String)> {
    let settings = &program.revision.settings;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert("PATH".into(), PATH.into());
    all.insert("HOME".into(), text(&inside.home));
    all.insert("TMPDIR".into(), text(&inside.home));
    all.extend(program.env.clone());
    // What OpenFaaS calls the process of a function; its watchdog starts it.
    let process = settings.process();
    all.extend(process.map(|process| ("fprocess".into(), process.to_owned())));
    all.extend(settings.env.clone());
    // Last, since a program that believed another port or socket would never be ready.
    if program.cage.shares_sockets() {
        all.insert("HOB_SOCKET".into(), text(&socket_in(&inside.own)));
    } else {
        all.remove("HOB_SOCKET");
    }
    all.extend(
        [
            ("PORT", port.to_string()),
            ("HOB_SECRETS", text(&inside.secrets)),
            ("OPENFAAS_NAME", program.function.name().to_owned()),
            (
                "OPENFAAS_NAMESPACE",
                program.function.namespace().to_owned(),
            ),
            ("HOB_FUNCTION", program.function.name().to_owned()),
            ("HOB_NAMESPACE", program.function.namespace().to_owned()),
            ("HOB_REVISION", program.revision.digest.clone()),
            ("HOB_MEMORY", settings.limits.memory.0.to_string()),
            ("HOB_TIMEOUT", settings.timeout.0.as_secs_f64().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    all.into_iter().collect()
}

// === impl Folders ===

impl Folders<'_> {
    pub(super) fn seen_from(&self, isolation: Isolation) -> Surroundings {
        match isolation {
            Isolation::Container => Surroundings {
                bundle: "/function".into(),
                own: "/run/hob".into(),
                secrets: "/var/openfaas/secrets".into(),
                home: "/tmp".into(),
            },
            Isolation::Process => Surroundings {
                bundle: self.bundle.unwrap_or(self.own).to_owned(),
                own: self.own.to_owned(),
                secrets: self.secrets.to_owned(),
                home: self.own.to_owned(),
            },
        }
    }

    pub(super) fn binds(&self, inside: &Surroundings) -> Vec<Bind> {
        let bind = |source: &Path, target: &Path, access| Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            access,
        };
        let bundle = self
            .bundle
            .map(|bundle| bind(bundle, &inside.bundle, Access::ReadOnly));
        let mut binds = Vec::from_iter(bundle);
        binds.push(bind(self.own, &inside.own, Access::ReadWrite));
        binds.push(bind(self.secrets, &inside.secrets, Access::ReadOnly));
        binds
    }
}
