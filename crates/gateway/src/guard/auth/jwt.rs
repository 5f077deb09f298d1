use std::sync::Arc;

use hob_model::{Conduct, JwtAuth};
use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{
    Auths, Missing, Verdict,
    credentials::Credentials,
    identity,
    keys::{self, Found, Keys, Place},
    refuse,
    rules::Need,
    vault::Ref,
};
use crate::{error::GatewayError, guard::Asked};

/// What clocks may differ by, in seconds.
const LEEWAY: u64 = 60;

type Claims = Map<String, Value>;

/// The token in `Authorization: Bearer`.
pub(super) fn bearer<'a>(asked: &Asked<'a>) -> Result<&'a str, GatewayError> {
    match Credentials::of(asked.fields) {
        Credentials::Bearer(token) => Ok(token),
        Credentials::None => Err(refuse::ask_bearer(
            asked.route,
            "send a token of its issuer",
        )),
        Credentials::Basic(_) | Credentials::Odd => Err(refuse::ask_bearer(
            asked.route,
            "its Authorization is no token",
        )),
    }
}

/// Lets in who has a token that the issuer has signed.
pub(super) fn look(
    auths: &Auths,
    asked: &Asked<'_>,
    auth: &JwtAuth,
    need: &Need<'_>,
) -> Result<Verdict, GatewayError> {
    let route = asked.route;
    let token = bearer(asked)?;
    // Nobody guesses a signature: such tokens are of another issuer, or of a key that is gone.
    let bad = |problem| refuse::bad_bearer(route, problem, Some(Conduct::Miss));
    let header = jsonwebtoken::decode_header(token);
    let header = header.map_err(|_| bad("its token is no signed JSON Web Token"))?;
    if !is_fit(&header) {
        return Err(bad("its token is signed in a way that is not accepted"));
    }
    let place = Place {
        issuer: auth.issuer.clone(),
        jwks: auth.jwks.clone(),
        ca: auth.ca.as_ref().map(|name| Ref::of(route, name)),
    };
    let source: Arc<Keys> = auths.keys(place);
    let id = header.kid.as_deref();
    let set = match source.find(&auths.clients, id, header.alg) {
        Found::Among(set) => set,
        Found::Ask => return Ok(Verdict::Wait(Missing::Keys(source))),
        Found::Unknown => {
            return Err(bad(
                "its token is signed with a key that its issuer has not",
            ));
        }
        Found::Away => {
            let problem = "the keys of its issuer cannot be read: see the server's log";
            return Err(refuse::no_verdict(route, problem));
        }
    };
    let validation = validation(auth, header.alg);
    for key in keys::fitting(&set, id, header.alg) {
        match jsonwebtoken::decode::<Claims>(token, &key.key, &validation) {
            Ok(token) => return admit(asked, auth, &token.claims, need),
            Err(error) => match error.kind() {
                // Perhaps with the next key.
                ErrorKind::InvalidSignature => {}
                kind => {
                    return Err(match words(kind) {
                        Some(problem) => refuse::bad_bearer(route, problem, None),
                        None => bad("its token is not valid"),
                    });
                }
            },
        }
    }
    Err(bad("its token is signed by somebody else"))
}

/// Whether what the token says of itself can be heeded.
fn is_fit(header: &Header) -> bool {
    let asymmetric = !matches!(
        header.alg,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
    );
    // Extensions that have to be understood are not (RFC 7515, section 4.1.11).
    asymmetric && header.crit.is_none()
}

fn validation(auth: &JwtAuth, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_issuer(&[&auth.issuer]);
    validation.set_audience(&[&auth.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation
}

/// What is wrong with a token that the issuer has signed.
fn words(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::ExpiredSignature => "its token has ended",
        ErrorKind::ImmatureSignature => "its token does not hold yet",
        ErrorKind::InvalidIssuer => "its token is of another issuer",
        ErrorKind::InvalidAudience => "its token is for another audience",
        ErrorKind::MissingRequiredClaim(_) => {
            "its token does not say when it ends, by whom or for whom it is"
        }
        _ => return None,
    })
}

fn admit(
    asked: &Asked<'_>,
    auth: &JwtAuth,
    claims: &Claims,
    need: &Need<'_>,
) -> Result<Verdict, GatewayError> {
    let has = |(name, value): (&String, &String)| {
        claims.get(name).is_some_and(|claim| holds(claim, value))
    };
    if let Some((name, _)) = auth.claims.iter().find(|claim| !has(*claim)) {
        let problem = format!("its token does not have the claim `{name}` that is asked for");
        return Err(refuse::forbidden(asked.route, problem));
    }
    let scopes = scopes(claims);
    check_scope(asked, need, &scopes)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let names = ["sub", "client_id", "azp"];
    let name = names.into_iter().find_map(text).unwrap_or_default();
    identity::of(asked, "jwt", name.as_bytes(), Some(&scopes))
}

/// Refuses tokens without a scope that is needed.
pub(super) fn check_scope(
    asked: &Asked<'_>,
    need: &Need<'_>,
    scopes: &[String],
) -> Result<(), GatewayError> {
    let Need::Caller(needed) = need else {
        return Ok(());
    };
    match needed
        .iter()
        .find(|scope| !scopes.iter().any(|own| own == *scope))
    {
        Some(scope) => Err(refuse::narrow(asked.route, scope)),
        None => Ok(()),
    }
}

/// Whether a claim is this value, or has it among others.
fn holds(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => text == value,
        Value::Bool(_) | Value::Number(_) => {
            let written = claim.to_string();
            written == value
        }
        Value::Array(all) => all.iter().any(|one| one.as_str() == Some(value)),
        Value::Null | Value::Object(_) => false,
    }
}

/// `scope` with a space between (RFC 8693, section 4.2), or else `scp`, as some issuers have it.
fn scopes(claims: &Claims) -> Vec<String> {
    let claim = claims.get("scope").or_else(|| claims.get("scp"));
    match claim {
        Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(all)) => {
            let texts = all.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_a_value_or_has_it_among_others() {
        for (claim, value, expected) in [
            (json!("admin"), "admin", true),
            (json!(["user", "admin"]), "admin", true),
            (json!(true), "true", true),
            (json!(7), "7", true),
            (json!("admins"), "admin", false),
            (json!("user admin"), "admin", false),
            (json!([["admin"]]), "admin", false),
            (json!({"admin": "admin"}), "admin", false),
            (json!(null), "null", false),
        ] {
            assert_eq!(holds(&claim, value), expected, "{claim} {value}");
        }
    }

    #[test]
    fn scopes_are_words_in_a_text_or_a_list() {
        let of = |claims: Value| scopes(claims.as_object().expect("an object"));
        assert_eq!(of(json!({"scope": "read  write"})), ["read", "write"]);
        assert_eq!(of(json!({"scp": ["read", "write"]})), ["read", "write"]);
        assert_eq!(of(json!({"scp": "read"})), ["read"]);
        // What is narrower is not added to.
        assert_eq!(of(json!({"scope": "read", "scp": ["write"]})), ["read"]);
        assert!(of(json!({"scope": 1})).is_empty());
    }
}
