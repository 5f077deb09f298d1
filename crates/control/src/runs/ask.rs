use std::net::IpAddr;

use axum::body::Body;
use hob_model::{
    CallerAddress,
    sandbox::{BASH, RUN_END, RunOrder},
};
use http::{Extensions, HeaderMap, HeaderName, header, request::Parts};

use super::{
    Runs,
    body::Held,
    error::RunsError,
    json::{Encoding, RunRequest},
    keys::Keys,
    stream::Form,
};
use crate::api::{Actor, LocalUser};

/// Asks for the end with all that is known of it.
const END: HeaderName = HeaderName::from_static(RUN_END);

/// A request for a run, read.
pub(super) struct Asked {
    pub(super) order: RunOrder,
    pub(super) form: Form,
    /// Its place in memory.
    pub(super) held: Held,
}

impl Asked {
    /// A script as it is, or an order as JSON, with what the query says.
    pub(super) async fn read(runs: &Runs, head: &Parts, body: Body) -> Result<Self, RunsError> {
        let keys = Keys::read(head.uri.query().unwrap_or_default())?;
        let caller = caller(&head.extensions);
        let received = runs.0.room.receive(caller.as_deref(), &head.headers, body);
        let (body, held) = received.await?;
        let mut form = Form {
            raw: keys.raw,
            encoding: Encoding::default(),
            end: keys.end
                || head
                    .headers
                    .get(&END)
                    .is_some_and(|value| !value.is_empty()),
        };
        let (mut order, limits, language) = match is_json(&head.headers) {
            true => {
                let mut request = RunRequest::read(&body)?;
                drop(body);
                form.raw |= request.raw;
                form.end |= request.end;
                form.encoding = request.events;
                let limits = std::mem::take(&mut request.limits);
                let language = request.language.take();
                (request.order()?, limits, language)
            }
            false => {
                let order = RunOrder {
                    script: body,
                    ..RunOrder::default()
                };
                (order, Default::default(), None)
            }
        };
        order.caller = caller.unwrap_or_else(nobody);
        order.language = keys
            .language
            .clone()
            .or(language)
            .unwrap_or_else(|| BASH.to_owned());
        order.limits = keys.over(limits);
        Ok(Self { order, form, held })
    }
}

/// Whether a request says that its body is JSON.
fn is_json(fields: &HeaderMap) -> bool {
    kind(fields).eq_ignore_ascii_case("application/json")
}

/// The type of a body, without its parameters; empty where nothing is said.
pub(super) fn kind(fields: &HeaderMap) -> &str {
    let kind = fields.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

/// Who asks: for a fair turn, so those of one network of IPv6 are one. `None` where callers are not
/// told apart, as at a worker.
pub(super) fn caller(request: &Extensions) -> Option<String> {
    let login = request.get::<Actor>().and_then(Actor::login);
    if let Some(name) = login {
        return Some(name.to_owned());
    }
    match (request.get::<CallerAddress>(), request.get::<LocalUser>()) {
        (Some(address), _) => Some(network(address.ip)),
        (None, Some(LocalUser(user))) => Some(format!("local:{user}")),
        (None, None) => None,
    }
}

/// Who takes turns for all that are not told apart.
pub(super) fn nobody() -> String {
    "local".to_owned()
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let half = address.to_bits() >> 64 << 64;
            format!("{}/64", std::net::Ipv6Addr::from_bits(half))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(caller(&Extensions::new()), None);
    }
}
