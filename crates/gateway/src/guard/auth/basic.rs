use aws_lc_rs::digest::{SHA256, digest};
use hob_model::{BasicAuth, port::SecretBytes};
use subtle::{Choice, ConstantTimeEq};

use super::{
    Missing, Verdict,
    credentials::{self, Credentials},
    identity, refuse,
    vault::{Ref, Vault},
};
use crate::{error::GatewayError, guard::Asked};

/// Lets in who knows the password of one of the secret's users.
pub(super) fn look(
    vault: &Vault,
    asked: &Asked<'_>,
    auth: &BasicAuth,
) -> Result<Verdict, GatewayError> {
    let route = asked.route;
    let pair = match Credentials::of(asked.fields) {
        Credentials::Basic(pair) => pair,
        Credentials::None => {
            return Err(refuse::ask_basic(route, "send a user's name and password"));
        }
        _ => {
            return Err(refuse::ask_basic(
                route,
                "its Authorization is no user's name and password",
            ));
        }
    };
    let secret = Ref::of(route, &auth.secret);
    let Some(users) = vault.get(&secret) else {
        return Ok(Verdict::Wait(Missing::Secret(secret)));
    };
    let users = users.map_err(|problem| refuse::no_verdict(route, problem))?;
    if !holds(&users, &pair) {
        return Err(refuse::ask_basic(
            route,
            "the user's name or password is wrong",
        ));
    }
    let (user, _) = credentials::cut(&pair);
    identity::of(asked, "basic", user, None)
}

/// Whether one of the lines is this pair. How long it takes says nothing of which, or how much of
/// it: what is compared are digests, and all of them.
fn holds(users: &SecretBytes, pair: &[u8]) -> bool {
    let given = digest(&SHA256, pair);
    let lines = users.expose().split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // A user with no password is none.
    let users = lines.filter(|line| !credentials::cut(line).1.is_empty());
    let found = users.fold(Choice::from(0), |found, user| {
        found | digest(&SHA256, user).as_ref().ct_eq(given.as_ref())
    });
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_one_of_the_lines() {
        let users = SecretBytes::new(b"ann:one\r\nbob:t:wo\n\nnobody:\nnone\n".to_vec());
        for (pair, expected) in [
            ("ann:one", true),
            ("bob:t:wo", true),
            ("ann:one\r", false),
            ("ann:t:wo", false),
            ("Ann:one", false),
            ("ann:", false),
            ("nobody:", false),
            ("none", false),
            (":", false),
            ("ann:one\r\nbob:t:wo", false),
        ] {
            assert_eq!(holds(&users, pair.as_bytes()), expected, "{pair:?}");
        }
    }
}
