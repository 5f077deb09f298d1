//! Which namespaces there are.

use std::collections::BTreeSet;

use hob_model::{DEFAULT_NAMESPACE, openfaas::FunctionNamespace};
use hob_store::{SecretStore, Store, StoreError};

use crate::{Control, registries, remote_builds};

/// The namespace that clients of Kubernetes must not touch, so that they could not manage what is
/// in it.
pub(crate) const KUBE_SYSTEM: &str = "kube-system";

/// Whether a namespace holds hob's own secrets, and nothing of anybody else, or is out of the reach
/// of clients.
pub(crate) fn is_reserved(namespace: &str) -> bool {
    [registries::NAMESPACE, remote_builds::NAMESPACE, KUBE_SYSTEM].contains(&namespace)
}

impl Control {
    /// The default one, those that somebody made, and those in which functions or secrets are;
    /// sorted.
    pub(crate) async fn namespaces(&self) -> Result<BTreeSet<String>, StoreError> {
        let made = self.stored(Store::namespaces).await?;
        let mut all: BTreeSet<String> = made.into_iter().collect();
        all.insert(DEFAULT_NAMESPACE.to_owned());
        let secret = self.secret(SecretStore::namespaces).await?;
        all.extend(secret.into_iter().filter(|name| !is_reserved(name)));
        let functions = self.deployed.all();
        all.extend(functions.iter().map(|one| one.name.namespace().to_owned()));
        Ok(all)
    }

    /// The namespace of this name. One that nobody made has the mark of all and no other words.
    pub(crate) async fn namespace(
        &self,
        name: &str,
    ) -> Result<Option<FunctionNamespace>, StoreError> {
        let asked = name.to_owned();
        if let Some(made) = self.stored(move |store| store.namespace(&asked)).await? {
            return Ok(Some(made));
        }
        let lives = self.namespaces().await?.contains(name);
        Ok(lives.then(|| FunctionNamespace {
            name: name.to_owned(),
            annotations: [(FunctionNamespace::MARKER.to_owned(), "1".to_owned())].into(),
            ..FunctionNamespace::default()
        }))
    }
}
