//! Which function has which domain: no two have the same, and none has the server's own.

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
        self.refuse_own(name, wanted)?;
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
    /// A function at one of the server's own hosts would get every login that is meant for the server.
    /// Functions also know each other by their names, and one of them may be called as the server is.
    fn refuse_own(&self, name: &FunctionName, wanted: &[Domain]) -> Result<(), DeployError> {
        let qualified = name.qualified();
        if self.routes.is_own_host(&qualified) {
            return Err(DeployError::OwnHost(qualified));
        }
        let is_own = |domain: &&Domain| self.routes.is_own_host(domain.host());
        match wanted.iter().find(is_own) {
            Some(domain) => Err(DeployError::OwnHost(domain.to_string())),
            None => Ok(()),
        }
    }

    /// What functions are not served at, though they name it, one line each: `[tls] domains` may
    /// have come after their deploy.
    pub(crate) fn own_hosts_of_functions(&self) -> Vec<String> {
        let deployed = self.deployed.all();
        let lines = deployed
            .iter()
            .flat_map(|function| self.own_hosts_of(function));
        lines.collect()
    }

    fn own_hosts_of(&self, function: &Function) -> impl Iterator<Item = String> {
        let name = &function.name;
        let domains = has(function).iter();
        let own = domains.filter(|domain| self.routes.is_own_host(domain.host()));
        own.map(move |domain| {
            format!("`{name}` is not served at `{domain}`, which is this server's own: give it another domain, or take that name out of `[tls] domains`")
        })
    }

    /// Logs the domains of a restored function that are the server's own by now, and those that lead
    /// to another one, which had them first: only a database that somebody has changed has such.
    pub(crate) fn tell_of_lost_domains(&self, function: &Function) {
        for line in self.own_hosts_of(function) {
            tracing::error!("{line}");
        }
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
