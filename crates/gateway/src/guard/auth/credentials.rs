use base64::{Engine, engine::general_purpose::STANDARD};

use crate::guard::Fields;

/// Longest credentials that are looked at, in bytes.
const LONGEST: usize = 16 << 10;

/// What `Authorization` says (RFC 9110, section 11.6.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    /// Nothing.
    None,
    /// A user and a password, with the colon between them.
    Basic(Vec<u8>),
    /// A token.
    Bearer(&'a str),
    /// Something else, or more than one thing.
    Odd,
}

impl<'a> Credentials<'a> {
    pub(super) fn of(fields: Fields<'a>) -> Self {
        let mut all = fields.all("authorization");
        match (all.next(), all.next()) {
            (None, _) => Self::None,
            (Some(one), None) if one.len() <= LONGEST => Self::read(one).unwrap_or(Self::Odd),
            _ => Self::Odd,
        }
    }

    fn read(value: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(value).ok()?;
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim_matches(' ');
        let visible = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible {
            return None;
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(rest).ok()?;
            return pair.contains(&b':').then_some(Self::Basic(pair));
        }
        None
    }
}

/// The user and the password of a pair.
pub(super) fn cut(pair: &[u8]) -> (&[u8], &[u8]) {
    let colon = pair.iter().position(|byte| *byte == b':');
    let colon = colon.unwrap_or(pair.len());
    (&pair[..colon], pair.get(colon + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> String {
        let headers: Vec<_> = values
            .iter()
            .map(|value| httparse::Header {
                name: "Authorization",
                value: value.as_bytes(),
            })
            .collect();
        format!("{:?}", Credentials::of(Fields::Lines(&headers)))
    }

    #[test]
    fn one_authorization_is_read_and_nothing_else() {
        assert_eq!(read(&[]), "None");
        assert_eq!(read(&["Bearer abc"]), "Bearer(\"abc\")");
        assert_eq!(read(&["bEARER  abc "]), "Bearer(\"abc\")");
        assert_eq!(
            read(&["Basic YTpi"]),
            format!("{:?}", Credentials::Basic(b"a:b".into()))
        );
        for odd in [
            &["Bearer"][..],
            &["Bearer "],
            &["Bearer a b"],
            &["Basic !!!"],
            &["Basic YQ=="],
            &["Digest x"],
            &["\u{e9} x"],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(read(odd), "Odd", "{odd:?}");
        }
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(LONGEST))]), "Odd");
        assert_eq!(cut(b"a:b:c"), (&b"a"[..], &b"b:c"[..]));
    }
}
