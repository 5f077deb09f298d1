//! Which function has which domain: no two have the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hob_model::{Domain, Function, FunctionName};

use crate::{Control, deploy::DeployError};

type Claims = Mutex<HashMap<FunctionName, Vec<Domain>>>;

/// The domains that functions are about to have, whose deploys are under way.
#[derive(Default)]
pub(crate) struct Domains(Arc<Claims>);

/// Domains that no other function can get until this is dropped.
pub(crate) struct Claim {
    claims: Arc<Claims>,
    function: FunctionName,
}

impl Control {
    /// Keeps `wanted` for `name`, which has its turn of changes. What a function has counts until a
    /// change of it is done: it may come to nothing.
    pub(crate) fn claim(
        &self,
        name: &FunctionName,
        wanted: &[Domain],
    ) -> Result<Claim, DeployError> {
        let mut claims = lock(&self.domains.0);
        if !wanted.is_empty() {
            let taken = |function: &FunctionName, domain: &Domain| DeployError::DomainTaken {
                domain: domain.clone(),
                function: function.clone(),
            };
            let common = |other: &FunctionName, domains: &[Domain]| {
                let domain = domains.iter().find(|domain| wanted.contains(domain))?;
                (other != name).then(|| taken(other, domain))
            };
            let deployed = self.deployed.all();
            let mut deployed = deployed.iter();
            let here = deployed.find_map(|function| common(&function.name, has(function)));
            let coming = || {
                claims
                    .iter()
                    .find_map(|(name, domains)| common(name, domains))
            };
            if let Some(error) = here.or_else(coming) {
                return Err(error);
            }
        }
        claims.insert(name.clone(), wanted.to_vec());
        Ok(Claim {
            claims: Arc::clone(&self.domains.0),
            function: name.clone(),
        })
    }
}

impl Control {
    /// Logs the domains of a restored function that lead to another one, which had them first: only
    /// a database that somebody has changed has such.
    pub(crate) fn tell_of_lost_domains(&self, function: &Function) {
        let name = &function.name;
        for domain in has(function) {
            let found = self
                .routes
                .by_domain(domain.host().as_bytes(), domain.path());
            if let Some((owner, _)) = found.filter(|(owner, _)| owner.function != *name) {
                let owner = &owner.function;
                tracing::error!("`{name}` is not served at `{domain}`: that is `{owner}`'s");
            }
        }
    }
}

/// The domains of the revision that answers; those of a canary count once it does.
pub(crate) fn has(function: &Function) -> &[Domain] {
    &function.revision.settings.domain
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.claims).remove(&self.function);
    }
}

fn lock(claims: &Claims) -> MutexGuard<'_, HashMap<FunctionName, Vec<Domain>>> {
    claims.lock().unwrap_or_else(PoisonError::into_inner)
}
