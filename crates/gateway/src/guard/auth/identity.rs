use http::HeaderValue;

use super::{Verdict, refuse};
use crate::{
    error::GatewayError,
    guard::{Asked, Identity, Passed},
};

/// Longest name of a caller, and longest list of scopes, as a function is told them, in bytes.
const NAME_MAX: usize = 1 << 10;
const SCOPES_MAX: usize = 4 << 10;

/// Lets a caller in under this name.
pub(super) fn of(
    asked: &Asked<'_>,
    auth: &'static str,
    name: &[u8],
    scopes: Option<&[String]>,
) -> Result<Verdict, GatewayError> {
    let scope = scopes.filter(|scopes| !scopes.is_empty());
    let scope = scope.map(|scopes| value(scopes.join(" ").as_bytes(), SCOPES_MAX));
    let (Some(caller), None | Some(Some(_))) = (value(name, NAME_MAX), &scope) else {
        let problem = "its name, or the list of its scopes, is too long to be told".to_owned();
        return Err(refuse::forbidden(asked.route, problem));
    };
    Ok(Verdict::Pass(Passed {
        identity: Some(Identity {
            auth,
            caller,
            scope: scope.flatten(),
        }),
        ..super::passed(asked.route)
    }))
}

/// A text as the value of a field. What is no visible letter of ASCII is written with a `%`, so
/// that two names are never told as one. `None` where it is too long then.
fn value(text: &[u8], most: usize) -> Option<HeaderValue> {
    let mut out = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        let inside = at > 0 && at + 1 < text.len();
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b' ' if inside => out.push(b' '),
            byte if byte.is_ascii_graphic() => out.push(*byte),
            byte => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    if out.is_empty() {
        // An empty field is easily taken for none.
        out.push(b'-');
    }
    (out.len() <= most).then(|| HeaderValue::from_bytes(&out).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_never_told_as_one() {
        for (name, expected) in [
            ("ann", "ann"),
            ("Ann Lee", "Ann Lee"),
            (" ann", "%20ann"),
            ("ann\r\nX-Hob-Auth: x", "ann%0D%0AX-Hob-Auth: x"),
            ("é", "%C3%A9"),
            ("%C3%A9", "%25C3%25A9"),
            ("", "-"),
        ] {
            let told = value(name.as_bytes(), NAME_MAX).expect(name);
            assert_eq!(told, expected);
        }
        assert!(value(&[b'a'; NAME_MAX + 1], NAME_MAX).is_none());
    }
}
