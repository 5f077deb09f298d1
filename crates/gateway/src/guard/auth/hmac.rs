use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key, Tag};
use hob_model::{HmacAuth, HmacStyle, port::SecretBytes};
use subtle::{Choice, ConstantTimeEq};

use super::{
    Missing, Verdict, identity, refuse,
    used::Once,
    vault::{Ref, Vault},
};
use crate::{error::GatewayError, guard::Asked};

/// Where GitHub and Stripe put their signatures.
const GITHUB: &str = "x-hub-signature-256";
const STRIPE: &str = "stripe-signature";
/// How old, or how far ahead, a signature may be unless the function says otherwise.
const WINDOW: Duration = Duration::from_secs(300);
/// Signatures that one header may have: while a key is changed there are two.
const SIGNATURES_MAX: usize = 16;
/// Digits of a time in seconds.
const TIME_DIGITS: usize = 12;

type Signature = [u8; 32];

/// What a header says: that one of these signatures is that of the body.
#[derive(Debug, PartialEq, Eq)]
struct Signed<'a> {
    /// Seconds since 1970, as it was written and as it is; what was signed begins with it.
    time: Option<(&'a str, u64)>,
    signatures: Vec<Signature>,
}

/// Lets in who signed the body.
pub(super) fn look(
    vault: &Vault,
    asked: &Asked<'_>,
    auth: &HmacAuth,
) -> Result<Verdict, GatewayError> {
    let route = asked.route;
    let signed = signed(asked, auth)?;
    let window = auth.window.map_or(WINDOW, |window| window.0).as_secs();
    let now = now();
    if let Some((_, time)) = signed.time
        && time.abs_diff(now) > window
    {
        let problem = "its signature is too old, or of a time to come";
        return Err(refuse::unsigned(route, problem));
    }
    let secret = Ref::of(route, &auth.secret);
    let Some(key) = vault.get(&secret) else {
        return Ok(Verdict::Wait(Missing::Secret(secret)));
    };
    let key = key.map_err(|problem| refuse::no_verdict(route, problem))?;
    if key.expose().is_empty() {
        return Err(refuse::no_verdict(
            route,
            "the secret that its callers sign with is empty",
        ));
    }
    // Only now, since it takes memory.
    let Some(body) = asked.body.whole() else {
        return Ok(Verdict::Wait(Missing::Body));
    };
    let tag = sign(&key, &signed, body);
    if !is_one_of(&tag, &signed.signatures) {
        return Err(refuse::unsigned(
            route,
            "its signature is not that of the body",
        ));
    }
    let mut verdict = identity::of(asked, "hmac", auth.secret.as_str().as_bytes(), None)?;
    if let (Some((_, time)), Verdict::Pass(passed)) = (signed.time, &mut verdict) {
        passed.once = Some(Once::new(&route.function, tag.as_ref(), time + window));
    }
    Ok(verdict)
}

fn signed<'a>(asked: &Asked<'a>, auth: &HmacAuth) -> Result<Signed<'a>, GatewayError> {
    let lower = auth.header.as_ref().map(|name| name.to_ascii_lowercase());
    let name = lower.as_deref().unwrap_or(match auth.style {
        HmacStyle::Github => GITHUB,
        HmacStyle::Stripe => STRIPE,
    });
    let missing = || refuse::unsigned(asked.route, "it is not signed");
    let unreadable = || {
        refuse::unsigned(
            asked.route,
            "its signature is not written as its `auth` says",
        )
    };
    let mut all = asked.fields.all(name);
    let value = all.next().ok_or_else(missing)?;
    // Of two, the function might read the other.
    if all.next().is_some() {
        return Err(unreadable());
    }
    let value = str::from_utf8(value).ok();
    let signed = value.and_then(|value| match auth.style {
        HmacStyle::Github => github(value),
        HmacStyle::Stripe => stripe(value),
    });
    signed.ok_or_else(unreadable)
}

/// `sha256=HEX`.
fn github(value: &str) -> Option<Signed<'_>> {
    Some(Signed {
        time: None,
        signatures: vec![signature(value.strip_prefix("sha256=")?)?],
    })
}

/// `t=SECONDS,v1=HEX,v1=HEX,v0=…`.
fn stripe(value: &str) -> Option<Signed<'_>> {
    let mut time = None;
    let mut signatures = Vec::new();
    for member in value.split(',') {
        match member.trim().split_once('=')? {
            ("t", text) => {
                let digits = text.len() <= TIME_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
                if time.is_some() || !digits {
                    return None;
                }
                time = Some((text, text.parse().ok()?));
            }
            ("v1", hex) if signatures.len() < SIGNATURES_MAX => signatures.push(signature(hex)?),
            ("v1", _) => return None,
            // Other schemes than this one.
            _ => {}
        }
    }
    (time.is_some() && !signatures.is_empty()).then_some(Signed { time, signatures })
}

fn signature(text: &str) -> Option<Signature> {
    let mut signature = Signature::default();
    hex::decode_to_slice(text, &mut signature).ok()?;
    Some(signature)
}

fn sign(key: &SecretBytes, signed: &Signed<'_>, body: &[u8]) -> Tag {
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, key.expose()));
    if let Some((text, _)) = signed.time {
        context.update(text.as_bytes());
        context.update(b".");
    }
    context.update(body);
    context.sign()
}

/// Takes as long whichever it is.
fn is_one_of(tag: &Tag, signatures: &[Signature]) -> bool {
    let all = signatures.iter();
    let found = all.fold(Choice::from(0), |found, one| {
        found | one.ct_eq(tag.as_ref())
    });
    found.into()
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that GitHub publishes.
    const HELLO: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn githubs_example_holds_and_no_other_body_or_key() {
        let signed = github(HELLO).expect("valid");
        let holds = |key: &str, body: &str| {
            let key = SecretBytes::new(key.as_bytes().to_vec());
            is_one_of(&sign(&key, &signed, body.as_bytes()), &signed.signatures)
        };
        assert!(holds("It's a Secret to Everybody", "Hello, World!"));
        assert!(!holds("It's a Secret to Everybody", "Hello, World"));
        assert!(!holds("It's a secret to everybody", "Hello, World!"));
    }

    #[test]
    fn signatures_are_written_as_their_senders_write_them() {
        let hex = HELLO.trim_start_matches("sha256=");
        assert!(github(&HELLO.replace('a', "A").replace("shA", "sha")).is_some());
        for bad in [
            "",
            hex,
            "sha256=",
            &HELLO[..70],
            &format!("{HELLO}00"),
            "sha1=aa",
        ] {
            assert!(github(bad).is_none(), "{bad}");
        }
        let text = format!("t=1492774577,v1={hex},v0=6ffbb5");
        let one = stripe(&text).expect("valid");
        assert_eq!(one.time, Some(("1492774577", 1_492_774_577)));
        let text = format!("t=01, v1={hex}, v1={}", "00".repeat(32));
        let two = stripe(&text).expect("valid");
        assert_eq!((two.time, two.signatures.len()), (Some(("01", 1)), 2));
        for bad in [
            String::new(),
            format!("v1={hex}"),
            "t=1".into(),
            format!("t=1,t=2,v1={hex}"),
            format!("t=-1,v1={hex}"),
            format!("t=9999999999999,v1={hex}"),
            format!("t=,v1={hex}"),
            format!("t=1,v1={hex},v1=x"),
            format!("t=1,v0={hex}"),
            format!("t=1{}", format!(",v1={hex}").repeat(SIGNATURES_MAX + 1)),
        ] {
            assert!(stripe(&bad).is_none(), "{bad}");
        }
    }
}
