use http::{HeaderName, HeaderValue};

use super::{Asked, Fields};
use crate::error::GatewayError;

/// Says how deep in a chain of functions that call each other a call is. A function passes on what
/// it was told, and hob adds one.
pub(crate) const FIELD: &str = "X-Hob-Depth";
/// The same, as fields are looked up.
const LOWER: HeaderName = HeaderName::from_static("x-hob-depth");

/// Of a call from outside: nearly all are.
const OUTSIDE: HeaderValue = HeaderValue::from_static("1");

/// How many calls of functions are in each other, this one included; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth(u32);

impl Default for Depth {
    /// Nobody calls on behalf of another call.
    fn default() -> Self {
        Self(1)
    }
}

impl Depth {
    /// That of a call that is made out of another one, or from outside.
    pub(super) fn of(asked: &Asked<'_>, deepest: u32) -> Result<Self, GatewayError> {
        let depth = match given(asked.fields)? {
            Some(given) => Self(given.saturating_add(1)),
            None => Self::default(),
        };
        if depth.0 > deepest {
            return Err(GatewayError::TooDeep {
                function: asked.route.function.to_string(),
                deepest,
            });
        }
        Ok(depth)
    }

    /// That of a call which was let in before, and is only made now.
    pub(crate) fn kept(fields: Fields<'_>) -> Self {
        given(fields).ok().flatten().map_or(Self::default(), Self)
    }

    /// The same as a value.
    pub(super) fn value(self) -> HeaderValue {
        match self {
            Self(1) => OUTSIDE,
            Self(depth) => HeaderValue::from(depth),
        }
    }
}

/// What the caller says of its own depth. Strangers may say so too: all they get of it is to be cut
/// earlier.
fn given(fields: Fields<'_>) -> Result<Option<u32>, GatewayError> {
    let mut deepest = None;
    for value in fields.all(LOWER.as_str()) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(value).ok().filter(|_| digits);
        // A loop whose functions garble the field has to end all the same.
        let text = text.ok_or(GatewayError::NoDepth)?;
        // Digits that do not fit are many.
        let depth = text.parse().unwrap_or(u32::MAX);
        deepest = deepest.max(Some(depth));
    }
    Ok(deepest)
}
