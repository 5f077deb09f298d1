use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hob_model::{CallerAddress, Conduct, TOKEN_PREFIX, Token, Tokens as _};
use http::{HeaderMap, header, request::Parts};
use zeroize::Zeroizing;

use super::{
    Access,
    actor::Actor,
    audit::Change,
    error::ApiError,
    guarded::{Door, Need, Policy},
};
use crate::registry::{self, RegistryError};

/// The only user there is.
const USER: &[u8] = b"admin";
/// Most characters of a user's name and of a path that a line of the log gets.
const LOGGED: usize = 200;

/// What a request says of who sent it.
enum Credentials {
    /// Nothing.
    None,
    /// Nothing that could be read.
    Garbled,
    /// A token, with the user's name that it came with.
    Token {
        user: String,
        text: Zeroizing<String>,
    },
    /// A user's name and password.
    Password {
        user: Vec<u8>,
        password: Zeroizing<Vec<u8>>,
    },
}

/// Who came in.
enum Login {
    Admin,
    Token(Arc<Token>),
}

/// Lets through whom the policy of a route lets through, and says who that is.
pub(super) async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let change = Change::of(&head);
    let admitted = door.admit(&head).await;
    let conduct = door.conduct(&head, &admitted);
    let mut response = match admitted {
        Ok(actor) => {
            head.extensions.insert(actor.clone());
            let work = next.run(Request::from_parts(head, body));
            match change {
                Some(change) => change.made(&door.control, actor, work).await,
                None => work.await,
            }
        }
        Err(Refused { error, actor }) => {
            let response = match registry::owns(head.uri.path()) {
                true => refusal(error).into_response(),
                false => error.into_response(),
            };
            if let (Some(change), Some(actor)) = (change, actor) {
                change.note(&door.control, &actor, response.status()).await;
            }
            response
        }
    };
    // For the gateway, which shuts out who guesses for too long.
    if let Some(conduct) = conduct {
        response.extensions_mut().insert(conduct);
    }
    response
}

/// Why somebody does not come in.
struct Refused {
    error: ApiError,
    /// Who it is, where that was shown.
    actor: Option<Actor>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, actor: None }
    }
}

// === impl Door ===

impl Door {
    async fn admit(&self, head: &Parts) -> Result<Actor, Refused> {
        if self.access == Access::Local {
            return Ok(Actor::local(&head.extensions));
        }
        let need = self.need(&head.method);
        if need == Need::Nothing {
            return Ok(Actor::new("stranger", &head.extensions));
        }
        let credentials = Credentials::of(&head.headers);
        let login = self.log_in(&credentials).await;
        if let Err(ApiError::Unauthorized) = login {
            note_refusal(head, &credentials);
        }
        let login = login?;
        let actor = match login {
            Login::Admin => Actor::new("admin", &head.extensions),
            Login::Token(token) => Actor::bearer(token, &head.extensions),
        };
        let site = match self.policy {
            // What stands before it knows which pages may.
            Policy::Run => Ok(()),
            _ => refuse_cross_site(&head.headers),
        };
        let allowed = site.and_then(|()| actor.satisfies(need));
        match allowed {
            Ok(()) => Ok(actor),
            Err(error) => Err(Refused {
                error,
                actor: Some(actor),
            }),
        }
    }

    /// What it says of whoever asked. Nothing where nobody was asked.
    fn conduct(&self, head: &Parts, admitted: &Result<Actor, Refused>) -> Option<Conduct> {
        let asked = self.access == Access::Remote && self.need(&head.method) != Need::Nothing;
        match admitted {
            Ok(actor) if asked => Some(match actor.has_token() {
                true => Conduct::Known,
                false => Conduct::LoggedIn,
            }),
            // Who is known and may not do that (403) is nothing to either count.
            Err(Refused {
                error: ApiError::Unauthorized,
                ..
            }) if head.headers.contains_key(header::AUTHORIZATION) => Some(Conduct::FailedLogin),
            _ => None,
        }
    }

    async fn log_in(&self, credentials: &Credentials) -> Result<Login, ApiError> {
        match credentials {
            Credentials::None | Credentials::Garbled => Err(ApiError::Unauthorized),
            Credentials::Token { text, .. } => {
                let token = self.control.tokens.find(text);
                token.map(Login::Token).ok_or(ApiError::Unauthorized)
            }
            Credentials::Password { user, password } => {
                let runtime = &self.control.config.runtime;
                let known = user == USER;
                self.control.gate.check(runtime, known, password).await?;
                Ok(Login::Admin)
            }
        }
    }
}

// === impl Credentials ===

impl Credentials {
    /// `Authorization: Bearer TOKEN` of RFC 6750, or `Basic base64(USER:PASSWORD)` of RFC 7617,
    /// where a token may stand in for the password, whatever the user is called.
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(header::AUTHORIZATION) {
            None => Self::None,
            Some(value) => value
                .to_str()
                .ok()
                .and_then(Self::read)
                .unwrap_or(Self::Garbled),
        }
    }

    fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token {
                user: String::new(),
                text: Zeroizing::new(rest.to_owned()),
            });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(rest).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let token = std::str::from_utf8(password).ok();
        Some(match token.filter(|text| text.starts_with(TOKEN_PREFIX)) {
            Some(text) => Self::Token {
                user: String::from_utf8_lossy(user).into_owned(),
                text: Zeroizing::new(text.to_owned()),
            },
            None => Self::Password {
                user: user.to_owned(),
                password: Zeroizing::new(password.to_owned()),
            },
        })
    }

    /// The name that it came with, for the log.
    fn user(&self) -> String {
        match self {
            Self::None | Self::Garbled => String::new(),
            Self::Token { user, .. } => user.clone(),
            Self::Password { user, .. } => String::from_utf8_lossy(user).into_owned(),
        }
    }
}

/// The one line that a refused login leaves. Its form is a promise: fail2ban reads it. A request
/// that brings nothing along is none, since many programs ask like this first.
fn note_refusal(head: &Parts, credentials: &Credentials) {
    if matches!(credentials, Credentials::None) {
        return;
    }
    let address = head.extensions.get::<CallerAddress>();
    let line = refusal_line(
        address.map(|address| address.ip),
        &credentials.user(),
        head.uri.path(),
    );
    tracing::warn!("{line}");
}

/// User and path are quoted as Rust does it: no quote, line end or other control character of
/// theirs gets through.
fn refusal_line(address: Option<IpAddr>, user: &str, path: &str) -> String {
    let address = address.map_or_else(|| "-".to_owned(), |address| address.to_string());
    let user = match user.starts_with(TOKEN_PREFIX) {
        // Somebody took the one field for the other.
        true => format!("{TOKEN_PREFIX}…"),
        false => shortened(user),
    };
    let path = shortened(path);
    format!("login refused address={address} user={user:?} path={path:?}")
}

fn shortened(text: &str) -> String {
    text.chars().take(LOGGED).collect()
}

/// As programs that push and pull understand it.
fn refusal(error: ApiError) -> RegistryError {
    match error {
        ApiError::Unauthorized => RegistryError::Unauthorized,
        ApiError::Crowded => RegistryError::Crowded("too many logins at once"),
        error => RegistryError::Denied(error.to_string()),
    }
}

/// A browser sends the password that it remembers along with any page's request; but it says
/// whose page that is (<https://www.w3.org/TR/fetch-metadata/>). Pages of the same origin are those
/// of functions, and no more to be trusted. To servers without TLS it does not say so, but there as
/// everywhere it names the origin of whatever changes something
/// (<https://fetch.spec.whatwg.org/#origin-header>).
fn refuse_cross_site(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(header::ORIGIN) {
        return Err(ApiError::CrossSite);
    }
    match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
        None | Some(b"none") => Ok(()),
        Some(_) => Err(ApiError::CrossSite),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_refused_login_has_one_form_whoever_wrote_its_parts() {
        let address = "203.0.113.9".parse().ok();
        let line = |user: &str, path: &str| refusal_line(address, user, path);
        assert_eq!(
            line("x", "/system/functions"),
            r#"login refused address=203.0.113.9 user="x" path="/system/functions""#
        );
        // Nobody can put another address into a line, or a line of his own into the log.
        assert_eq!(
            line(
                "\" path=\"/\"\nlogin refused address=198.51.100.1\x1b[0m",
                "/"
            ),
            r#"login refused address=203.0.113.9 user="\" path=\"/\"\nlogin refused address=198.51.100.1\u{1b}[0m" path="/""#
        );
        assert!(!line("hob_abc", "/").contains("abc"));
        assert!(line(&"ä".repeat(9_000), &"/x".repeat(9_000)).len() < 4 * LOGGED);
        let local = refusal_line(None, "", "/");
        assert_eq!(local, r#"login refused address=- user="" path="/""#);
        let six = refusal_line("2001:db8::1".parse().ok(), "x", "/");
        assert!(six.starts_with("login refused address=2001:db8::1 "));
    }
}
