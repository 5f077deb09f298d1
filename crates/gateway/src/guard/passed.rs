use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    auth::Once,
    brake::Place,
    depth::{self, Depth},
    rate::Standing,
};
use crate::listen::PeerKind;

/// What the fields begin with by which hob speaks to functions. Nobody else may: a function can
/// trust what it reads there.
const OWN: &str = "x-hob-";
/// Marks calls of this very process whose function a stranger has chosen: where the answer of a
/// call goes. They are asked who they are like all others.
const CALLBACK: HeaderName = HeaderName::from_static("x-hob-callback");
const CALLER: &str = "X-Hob-Caller";
const AUTH: &str = "X-Hob-Auth";
const SCOPE: &str = "X-Hob-Scope";

/// A call that the guards let in.
#[derive(Default)]
pub(crate) struct Passed {
    /// Who called, where the function asks for that.
    pub(crate) identity: Option<Identity>,
    /// How many functions call each other by now.
    pub(crate) depth: Depth,
    /// How the caller stands by the function's rate.
    pub(crate) standing: Option<Standing>,
    /// Its place among the calls under way, until it is taken from here.
    pub(crate) place: Option<Place>,
    /// The signature that is used up by the call.
    pub(super) once: Option<Once>,
    /// Whether the function is not to see `Authorization`.
    pub(crate) hides_authorization: bool,
}

/// Who called, as the function is told.
pub(crate) struct Identity {
    /// Which `auth` knows: `basic`, `token`, `hmac`, `jwt`, `introspection`.
    pub(crate) auth: &'static str,
    /// The caller's name there.
    pub(crate) caller: HeaderValue,
    /// What the caller's token is for: scopes with a space between, if it has any.
    pub(crate) scope: Option<HeaderValue>,
}

// === impl Passed ===

impl Passed {
    /// Tells the function, by fields that no caller has written.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        headers.remove(&CALLBACK);
        if self.hides_authorization {
            headers.remove(header::AUTHORIZATION);
        }
        self.fields(|name, value| {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, value.clone());
            }
        });
    }

    /// Whether a caller's field of this name does not go on to the function.
    pub(crate) fn hides(&self, name: &str) -> bool {
        is_own(name) || self.hides_authorization && name.eq_ignore_ascii_case("authorization")
    }

    /// The same as [`Passed::tell`], as lines of a head.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.fields(|name, value| {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.put_slice(part);
            }
        });
    }

    fn fields(&self, mut each: impl FnMut(&'static str, &HeaderValue)) {
        each(depth::FIELD, &self.depth.value());
        let Some(identity) = &self.identity else {
            return;
        };
        each(CALLER, &identity.caller);
        each(AUTH, &HeaderValue::from_static(identity.auth));
        if let Some(scope) = &identity.scope {
            each(SCOPE, scope);
        }
    }
}

/// Takes out what only hob may say, also as programs see it that make `_` of every `-` (RFC 3875).
pub(crate) fn strip_fields(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| is_own(name.as_str())) {
        return;
    }
    let own = headers.keys().filter(|name| is_own(name.as_str()));
    for name in own.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Whether a request was let in when it was taken: a call of this very process.
pub(crate) fn is_let_in(kind: PeerKind, headers: &HeaderMap) -> bool {
    kind == PeerKind::Inside && !headers.contains_key(&CALLBACK)
}

/// Whether only hob may say this field.
pub(crate) fn is_own(name: &str) -> bool {
    let name = name.as_bytes();
    let same = |(byte, own): (&u8, u8)| match own {
        b'-' => matches!(byte, b'-' | b'_'),
        _ => byte.eq_ignore_ascii_case(&own),
    };
    name.len() >= OWN.len() && name.iter().zip(OWN.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hob_speaks_in_its_own_fields() {
        for name in [
            "x-hob-caller",
            "X-Hob-Auth",
            "x_hob_caller",
            "X-HOB_anything",
            "x-hob-",
        ] {
            assert!(is_own(name), "{name}");
        }
        for name in ["x-hobby", "x-ho", "", "hob-caller", "x-call-id"] {
            assert!(!is_own(name), "{name}");
        }
    }
}
