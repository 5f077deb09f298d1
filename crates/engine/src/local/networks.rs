//! The networks of images, and what they see of names.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    net::Ipv4Addr,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hob_model::{FunctionName, Routes, port::EngineError};
use hob_sandbox::{
    Access, Bind, CageNetwork, CageSpec, SandboxError,
    network::{Namespace, Network, NetworkConfig, Outbound, Subnet, resolver},
};

use super::{
    plan::{Home, Program},
    record::NetworkRecord,
};

/// The names by which OpenFaaS's functions know their gateway.
const GATEWAY: [&str; 3] = [
    "gateway",
    "gateway.openfaas",
    "gateway.openfaas.svc.cluster.local",
];
/// What Kubernetes appends to the names of functions.
const CLUSTER: &str = "svc.cluster.local";

/// Gives replicas networks of their own, and names in them.
pub(super) struct Networks {
    /// Or why there is none.
    network: Result<Network, String>,
    subnet: Subnet,
    /// What cages of images see as `/etc/hosts`. Rewritten in place, since a mounted file stays
    /// the one that it was.
    hosts: PathBuf,
    /// What is in there, once a cage has looked. Held while the file is written.
    written: Mutex<Option<String>>,
    routes: Arc<Routes>,
}

// === impl Networks ===

impl Networks {
    /// Of what an earlier daemon left, the namespaces `kept` stay.
    pub(super) fn new(
        config: NetworkConfig,
        kept: &[PathBuf],
        hosts: PathBuf,
        routes: Arc<Routes>,
    ) -> Self {
        Self {
            subnet: config.subnet,
            network: Network::new(config, kept).map_err(words),
            hosts,
            written: Mutex::new(None),
            routes,
        }
    }

    /// Where functions reach the gateway.
    pub(super) fn gateway(&self) -> Option<Ipv4Addr> {
        self.network.as_ref().ok().map(Network::gateway)
    }

    /// Leaves all networks to the next daemon. Blocks.
    pub(super) fn let_go(&self) {
        if let Ok(network) = &self.network {
            network.let_go();
        }
    }

    /// Removes all networks; no replica needs one any more. Blocks.
    pub(super) fn shutdown(&self) {
        if let Ok(network) = &self.network
            && let Err(error) = network.shutdown()
        {
            tracing::warn!(%error, "the networks of images could not be removed");
        }
    }

    /// A namespace, if the program's replicas have one of their own.
    pub(super) fn lease(&self, program: &Program) -> Result<Option<Namespace>, EngineError> {
        let Some(outbound) = program.network() else {
            return Ok(None);
        };
        let function = &program.function;
        let leased = match &self.network {
            Ok(network) => network.lease(outbound).map_err(words),
            Err(why) => Err(why.clone()),
        };
        leased.map(Some).map_err(|why| {
            EngineError::Unsupported(format!("function `{function}` has no network: {why}"))
        })
    }

    /// What the next daemon has to know of a namespace.
    pub(super) fn record(&self, namespace: &Namespace) -> NetworkRecord {
        NetworkRecord {
            path: namespace.path().to_owned(),
            subnet: self.subnet.to_string(),
        }
    }

    /// The namespace of a replica of an earlier daemon.
    pub(super) fn adopt(&self, record: &NetworkRecord) -> Result<Namespace, String> {
        let network = self.network.as_ref().map_err(String::clone)?;
        network.adopt(&record.path).map_err(words)
    }

    /// Puts a cage into its network.
    pub(super) fn dress(
        &self,
        spec: &mut CageSpec,
        namespace: &Namespace,
        program: &Program,
    ) -> Result<(), EngineError> {
        spec.network = CageNetwork::Namespace(namespace.path().to_owned());
        if matches!(program.home, Home::Bundle(_)) || namespace.outbound() == Outbound::No {
            return Ok(());
        }
        spec.files.push(("/etc/resolv.conf".into(), resolver()));
        self.ensure_hosts().map_err(|problem| {
            EngineError::Host(format!("cannot write {}: {problem}", self.hosts.display()))
        })?;
        spec.binds.push(Bind {
            source: self.hosts.clone(),
            target: "/etc/hosts".into(),
            access: Access::ReadOnly,
        });
        Ok(())
    }

    /// Whether a cage looks at the names of functions.
    pub(super) fn is_watched(&self) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.is_some()
    }

    /// Tells the cages which functions there are, if any cage looks.
    pub(super) fn rename(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some()
            && let Err(problem) = self.write(&mut written)
        {
            tracing::warn!(file = %self.hosts.display(), %problem, "functions do not see each other's names");
        }
    }

    /// For cages that an earlier daemon made, which look already.
    pub(super) fn resume(&self) {
        if let Err(problem) = self.ensure_hosts() {
            tracing::warn!(file = %self.hosts.display(), %problem, "functions do not see each other's names");
        }
    }

    fn ensure_hosts(&self) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match *written {
            Some(_) => Ok(()),
            None => self.write(&mut written),
        }
    }

    fn write(&self, written: &mut Option<String>) -> io::Result<()> {
        let routes = self.routes.all();
        let mut functions: Vec<_> = routes.iter().map(|route| &route.function).collect();
        functions.sort();
        let text = hosts(
            self.gateway().unwrap_or(Ipv4Addr::LOCALHOST),
            functions.into_iter(),
        );
        if written.as_ref() == Some(&text) {
            return Ok(());
        }
        let file = open(&self.hosts)?;
        // Whatever hob's umask is: every user in a cage reads it.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)?;
        *written = Some(text);
        Ok(())
    }
}

/// What is wrong, without saying once more that it is about networks.
fn words(error: SandboxError) -> String {
    match error {
        SandboxError::Network(text) => text,
        other => other.to_string(),
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn hosts<'a>(gateway: Ipv4Addr, functions: impl Iterator<Item = &'a FunctionName>) -> String {
    let mut text = format!(
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n{gateway} {}\n",
        GATEWAY.join(" ")
    );
    for function in functions {
        let full = format!("{}.{}", function.name(), function.namespace());
        // Writing to a text does not fail.
        let _ = writeln!(text, "{gateway} {full} {full}.{CLUSTER}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_beside_the_gateway() {
        let functions = [
            "hello".parse().expect("valid"),
            "a.b".parse().expect("valid"),
        ];
        let text = hosts(Ipv4Addr::new(10, 62, 0, 1), functions.iter());
        assert!(
            text.contains(
                "10.62.0.1 gateway gateway.openfaas gateway.openfaas.svc.cluster.local\n"
            )
        );
        assert!(text.contains("10.62.0.1 hello.openfaas-fn hello.openfaas-fn.svc.cluster.local\n"));
        assert!(text.ends_with("10.62.0.1 a.b a.b.svc.cluster.local\n"));
    }
}
