//! The part of Fly's Machines API that the pool needs.

mod ask;

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, Method, Url, redirect::Policy};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    FlyError, FlyToken, Pace,
    error::{ApiError, Problem},
    machine::{Lease, MachineId, Seen},
};
use ask::{Ask, Retry};

/// What carries the proof of a lease.
const NONCE: &str = "fly-machine-lease-nonce";
/// Longest time that the API waits for a state.
const LONGEST_WAIT: u64 = 60;
/// How much longer its answer may take.
const WAIT_SLACK: Duration = Duration::from_secs(10);
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
const AGENT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));

/// The API, for the machines of one app.
pub(super) struct Api {
    client: Client,
    /// `BASE/v1/apps/APP/machines`.
    machines: Url,
    token: FlyToken,
    pace: Pace,
}

/// What the pool waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Started,
    Stopped,
}

#[derive(Deserialize)]
struct Leased {
    data: Lease,
}

// === impl Api ===

impl Api {
    /// # Errors
    /// `base` is no address or one to which no token goes in the clear, or the system's certificates cannot be used.
    pub(super) fn new(
        base: &str,
        app: &str,
        token: FlyToken,
        pace: Pace,
    ) -> Result<Self, FlyError> {
        let bad = || FlyError::Address(base.to_owned());
        let mut machines: Url = base.parse().map_err(|_| bad())?;
        if !["http", "https"].contains(&machines.scheme()) || !machines.has_host() {
            return Err(bad());
        }
        if machines.scheme() == "http" && !is_private(machines.host_str().unwrap_or_default()) {
            return Err(FlyError::InTheClear(base.to_owned()));
        }
        machines
            .path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .extend(["v1", "apps", app, "machines"]);
        // It fails only if there is one already, and there is no other.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(AGENT);
        if machines.scheme() == "http" {
            // An address inside the private network, to which no proxy leads.
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| FlyError::Client(error.to_string()))?;
        Ok(Self {
            client,
            machines,
            token,
            pace,
        })
    }

    /// All machines of the region, destroyed ones not.
    pub(super) async fn list(&self, region: &str) -> Result<Vec<Seen>, ApiError> {
        let mut url = self.machines.clone();
        url.query_pairs_mut().append_pair("region", region);
        let ask = self.ask(Method::GET, url, "list the machines".into());
        let items: Vec<Value> = ask.retry(Retry::Safe).send().await?;
        let all = items.len();
        let seen = items.into_iter().map(serde_json::from_value);
        let seen: Vec<Seen> = seen.filter_map(Result::ok).collect();
        if seen.len() < all {
            let odd = all - seen.len();
            tracing::warn!("Fly's API shows {odd} machines in a form that is not understood");
        }
        Ok(seen)
    }

    /// Makes a machine, and starts it. Nobody knows whether one that fails with
    /// [`ApiError::is_unsure`] was made: look for its name before making another.
    pub(super) async fn create(&self, name: &str, order: Value) -> Result<Seen, ApiError> {
        let ask = self.ask(Method::POST, self.machines.clone(), format!("make {name}"));
        ask.retry(Retry::IfNotDone).body(order).send().await
    }

    pub(super) async fn get(&self, id: &MachineId) -> Result<Seen, ApiError> {
        let ask = self.ask(
            Method::GET,
            self.at(id, None),
            format!("look at machine {id}"),
        );
        ask.retry(Retry::Safe).send().await
    }

    pub(super) async fn start(&self, id: &MachineId, nonce: &str) -> Result<(), ApiError> {
        let url = self.at(id, Some("start"));
        let ask = self.ask(Method::POST, url, format!("start machine {id}"));
        let ask = ask.retry(Retry::Early).nonce(Some(nonce));
        ask.send().await.map(|_: IgnoredAny| ())
    }

    pub(super) async fn stop(&self, id: &MachineId, nonce: &str) -> Result<(), ApiError> {
        let url = self.at(id, Some("stop"));
        let ask = self.ask(Method::POST, url, format!("stop machine {id}"));
        let ask = ask.retry(Retry::Safe).nonce(Some(nonce));
        ask.send().await.map(|_: IgnoredAny| ())
    }

    /// Waits until a machine's version is in a state.
    pub(super) async fn wait(
        &self,
        id: &MachineId,
        instance: &str,
        until: Until,
    ) -> Result<(), ApiError> {
        let (state, patience) = match until {
            Until::Started => ("started", self.pace.start),
            Until::Stopped => ("stopped", self.pace.stop),
        };
        let seconds = patience.as_secs().clamp(1, LONGEST_WAIT);
        let mut url = self.at(id, Some("wait"));
        url.query_pairs_mut()
            .append_pair("instance_id", instance)
            .append_pair("state", state)
            .append_pair("timeout", &seconds.to_string());
        let ask = self.ask(
            Method::GET,
            url,
            format!("wait until machine {id} has {state}"),
        );
        let ask = ask.retry(Retry::Safe).within(patience + WAIT_SLACK);
        ask.send().await.map(|_: IgnoredAny| ())
    }

    /// Takes the lease of a machine, or lets one that is held last longer.
    pub(super) async fn lease(
        &self,
        id: &MachineId,
        nonce: Option<&str>,
        seconds: u64,
    ) -> Result<Lease, ApiError> {
        let url = self.at(id, Some("lease"));
        let ask = self.ask(Method::POST, url, format!("lease machine {id}"));
        // A first lease that was given and not heard of could not be taken again.
        let retry = match nonce {
            Some(_) => Retry::Safe,
            None => Retry::IfNotDone,
        };
        let order = json!({ "description": "a pool of hob", "ttl": seconds });
        let leased: Leased = ask.retry(retry).nonce(nonce).body(order).send().await?;
        Ok(leased.data)
    }

    /// Destroys a machine, running or not. One that is not there is destroyed.
    pub(super) async fn destroy(
        &self,
        id: &MachineId,
        nonce: Option<&str>,
    ) -> Result<(), ApiError> {
        let mut url = self.at(id, None);
        url.query_pairs_mut().append_pair("force", "true");
        let ask = self.ask(Method::DELETE, url, format!("destroy machine {id}"));
        let done = ask.retry(Retry::Safe).nonce(nonce).send().await;
        match done.map(|_: IgnoredAny| ()) {
            Err(error) if error.is_gone() => Ok(()),
            done => done,
        }
    }

    fn at(&self, id: &MachineId, verb: Option<&str>) -> Url {
        let mut url = self.machines.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(id.as_str()).extend(verb);
        }
        url
    }

    fn ask(&self, method: Method, url: Url, step: String) -> Ask<'_> {
        Ask::new(self, method, url, step)
    }
}

/// An error of `step`.
fn failed(step: &str, problem: Problem) -> ApiError {
    ApiError {
        step: step.to_owned(),
        problem,
    }
}

/// Whether nobody is on the way to `host` but Fly, or nobody at all.
fn is_private(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    let is_loopback = address.is_ok_and(|address: IpAddr| address.is_loopback());
    let inside = [".internal", ".flycast"];
    is_loopback || host == "localhost" || inside.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn the_token_goes_in_the_clear_only_where_nobody_listens() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "localhost",
            "_api.internal",
            "api.flycast",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "api.machines.dev",
            "10.0.0.2",
            "internal",
            "x.internal.example",
        ] {
            assert!(!is_private(host), "{host}");
        }
    }
}
