use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::byte_serialize;
use hob_model::{AddressRange, Conduct, IntrospectionAuth};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;

use super::{
    Auths, Missing, Verdict,
    answers::Answers,
    identity,
    issuer::{self, Clients, Complaints},
    jwt::{bearer, check_scope},
    refuse,
    rules::Need,
    vault::{Ref, Vault},
};
use crate::{error::GatewayError, guard::Asked};

/// How long an answer holds unless the function says otherwise.
const CACHE: Duration = Duration::from_secs(30);

/// An issuer that is asked, and what it has said lately.
pub(super) struct Issuer {
    place: Place,
    answers: Answers,
    complaints: Complaints,
}

/// Where an issuer is asked, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    url: String,
    client: String,
    secret: Ref,
    ca: Option<Ref>,
}

/// A question that has no answer yet.
pub(crate) struct Question {
    issuer: Arc<Issuer>,
    token: String,
    caller: AddressRange,
}

/// What an issuer says of a token that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Active {
    name: String,
    scopes: Vec<String>,
    audience: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub(super) end: Option<u64>,
}

/// Lets in who has a token that its issuer says is active.
pub(super) fn look(
    auths: &Auths,
    asked: &Asked<'_>,
    auth: &IntrospectionAuth,
    need: &Need<'_>,
) -> Result<Verdict, GatewayError> {
    let route = asked.route;
    let token = bearer(asked)?;
    let issuer = auths.issuer(Place {
        url: auth.url.clone(),
        client: auth.client.clone(),
        secret: Ref::of(route, &auth.secret),
        ca: auth.ca.as_ref().map(|name| Ref::of(route, name)),
    });
    let cache = auth.cache.map_or(CACHE, |cache| cache.0);
    let Some(answer) = issuer.answers.get(token, cache) else {
        return Ok(Verdict::Wait(Missing::Answer(Question {
            issuer,
            token: token.to_owned(),
            caller: AddressRange::of_caller(asked.caller),
        })));
    };
    let Some(active) = answer else {
        return Err(refuse::bad_bearer(
            route,
            "its token is unknown or has ended",
            Some(Conduct::FailedLogin),
        ));
    };
    if let Some(audience) = &auth.audience
        && !active.audience.contains(audience)
    {
        return Err(refuse::bad_bearer(
            route,
            "its token is for another audience",
            None,
        ));
    }
    check_scope(asked, need, &active.scopes)?;
    identity::of(
        asked,
        "introspection",
        active.name.as_bytes(),
        Some(&active.scopes),
    )
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            answers: Answers::default(),
            complaints: Complaints::default(),
        }
    }

    /// Asks; `None` when there is no telling.
    async fn ask(&self, clients: &Clients, vault: &Vault, token: &str) -> Option<()> {
        match self.asked(clients, vault, token).await {
            Ok(answer) => {
                self.answers.put(token, answer);
                Some(())
            }
            Err(problem) => {
                self.complaints.tell(&self.place.url, &problem);
                None
            }
        }
    }

    async fn asked(
        &self,
        clients: &Clients,
        vault: &Vault,
        token: &str,
    ) -> Result<Option<Active>, String> {
        let Place {
            url,
            client,
            secret,
            ca,
        } = &self.place;
        let password = vault.read(secret).await?;
        let password = password.expose();
        let password = password.strip_suffix(b"\n").unwrap_or(password);
        let password = password.strip_suffix(b"\r").unwrap_or(password);
        let login = login(client, password);
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let question = clients.of(url, ca.as_ref()).await?.post(url);
        let question = question
            .header(AUTHORIZATION, login)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        read(&issuer::ask(question).await?, now())
    }
}

impl Question {
    /// Asks, together with all who have the same question; `None` when there is no telling.
    pub(super) async fn settle(self, clients: &Arc<Clients>, vault: &Arc<Vault>) -> Option<()> {
        let Self {
            issuer,
            token,
            caller,
        } = self;
        let (clients, vault) = (Arc::clone(clients), Arc::clone(vault));
        let (asking, text) = (Arc::clone(&issuer), token.clone());
        let question = async move { asking.ask(&clients, &vault, &text).await };
        issuer.answers.share(&token, caller, question).await
    }
}

/// The login of a client: both parts are encoded as in a form before they are put together (RFC
/// 6749, section 2.3.1).
fn login(client: &str, password: &[u8]) -> String {
    let client: String = byte_serialize(client.as_bytes()).collect();
    let password: String = byte_serialize(password).collect();
    format!("Basic {}", STANDARD.encode(format!("{client}:{password}")))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// An answer as it comes (RFC 7662, section 2.2).
#[derive(Deserialize)]
struct Answer {
    active: bool,
    scope: Option<String>,
    client_id: Option<String>,
    username: Option<String>,
    sub: Option<String>,
    aud: Option<OneOrMany>,
    exp: Option<f64>,
    nbf: Option<f64>,
    /// What Ory Hydra says of refresh tokens, which are for the issuer alone.
    token_use: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// `None` where the token does not hold.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is no time is 0 or the end of all times"
)]
fn read(answer: &[u8], now: u64) -> Result<Option<Active>, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| format!("its answer is not what it should be: {error}"))?;
    let end = answer.exp.map(|end| end as u64);
    let ended = end.is_some_and(|end| end <= now);
    let early = answer.nbf.is_some_and(|begin| begin as u64 > now);
    let other = answer.token_use.is_some_and(|kind| kind != "access_token");
    if !answer.active || ended || early || other {
        return Ok(None);
    }
    let names = [answer.sub, answer.username, answer.client_id];
    let name = names.into_iter().flatten().find(|name| !name.is_empty());
    let scopes = answer.scope.unwrap_or_default();
    Ok(Some(Active {
        name: name.unwrap_or_default(),
        scopes: scopes.split_ascii_whitespace().map(str::to_owned).collect(),
        audience: match answer.aud {
            None => Vec::new(),
            Some(OneOrMany::One(one)) => vec![one],
            Some(OneOrMany::Many(all)) => all,
        },
        end,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_who_calls_and_for_what() {
        let text = r#"{"active": true, "scope": "read write", "client_id": "c", "sub": "s", "aud": "a", "exp": 100, "x": {}}"#;
        let active = read(text.as_bytes(), 99).expect("valid").expect("active");
        assert_eq!(active.name, "s");
        assert_eq!(active.scopes, ["read", "write"]);
        assert_eq!(active.audience, ["a"]);
        for text in [
            text,
            r#"{"active": false}"#,
            r#"{"active": true, "nbf": 200}"#,
            r#"{"active": true, "token_use": "refresh_token"}"#,
        ] {
            assert_eq!(read(text.as_bytes(), 100), Ok(None), "{text}");
        }
        let bare = read(br#"{"active": true, "sub": "", "client_id": "c"}"#, 0);
        assert_eq!(bare.expect("valid").expect("active").name, "c");
        for text in ["", "{}", "[]", r#"{"active": "true"}"#, "<html>"] {
            assert!(read(text.as_bytes(), 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_login_is_encoded_twice() {
        let login = login("a client", b"p:%\xc3\xa9");
        let pair = STANDARD
            .decode(login.trim_start_matches("Basic "))
            .expect("valid");
        assert_eq!(pair, b"a+client:p%3A%25%C3%A9");
    }
}
