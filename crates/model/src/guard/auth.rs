pub(crate) mod check;
mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SecretName, Timespan};
pub(crate) use written::Written;

/// Who may call a function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "Written")]
pub enum Auth {
    /// Anybody.
    #[default]
    None,
    /// Who knows a user's password.
    Basic(BasicAuth),
    /// Who has a token of this server with the scope `invoke:NAME`.
    Token(TokenAuth),
    /// Who signs the body with a shared secret.
    Hmac(HmacAuth),
    /// Who has a JSON Web Token of an issuer (RFC 7519).
    Jwt(JwtAuth),
    /// Who has a token that its issuer says is active (RFC 7662).
    Introspection(IntrospectionAuth),
}

/// HTTP's basic authentication (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The secret with the users, one a line: `USER:PASSWORD`.
    pub secret: SecretName,
    /// Which requests need it; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Tokens of this server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAuth {
    /// Which requests need one; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A signature over the body, as webhooks have it: HMAC with SHA-256 (RFC 2104).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacAuth {
    /// The secret with the key: its exact bytes.
    pub secret: SecretName,
    /// How the signature is written.
    #[serde(default)]
    pub style: HmacStyle,
    /// The header that has it. Default: that of the style.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// How old a signature with a time may be; within that it is good once. Default 5 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Timespan>,
    /// Which requests need it; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HmacStyle {
    /// `X-Hub-Signature-256: sha256=HEX` over the body.
    #[default]
    Github,
    /// `Stripe-Signature: t=SECONDS,v1=HEX` over `SECONDS.BODY`.
    Stripe,
}

/// JSON Web Tokens in `Authorization: Bearer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtAuth {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be or to hold.
    pub audience: String,
    /// URL of the issuer's keys (RFC 7517). Default: what its OpenID configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// Claims that have to be there with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// The secret with the certificates (PEM) to trust in place of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretName>,
    /// Which requests need which scope; all need a token, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Tokens in `Authorization: Bearer` that their issuer is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionAuth {
    /// Where to ask.
    pub url: String,
    /// As whom to ask.
    pub client: String,
    /// The secret with this client's password.
    pub secret: SecretName,
    /// Longest time that an answer holds; never longer than the token. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Timespan>,
    /// What `aud` has to be or to hold, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The secret with the certificates (PEM) to trust in place of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretName>,
    /// Which requests need which scope; all need a token, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// What some requests need. The first rule that fits holds; where there are rules and none fits,
/// nobody may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Methods that it is for; all, if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Path of the function that it is for: exactly, or with a `*` at its end what begins so. All,
    /// if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Scope that the caller's token must have. Only of `jwt` and `introspection`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Nobody is asked who he is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl Auth {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Its `type`; `None` where anybody may call.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Basic(_) => Some("basic"),
            Self::Token(_) => Some("token"),
            Self::Hmac(_) => Some("hmac"),
            Self::Jwt(_) => Some("jwt"),
            Self::Introspection(_) => Some("introspection"),
        }
    }

    /// Which requests need what; all need it, if there are none.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::None => &[],
            Self::Basic(auth) => &auth.rules,
            Self::Token(auth) => &auth.rules,
            Self::Hmac(auth) => &auth.rules,
            Self::Jwt(auth) => &auth.rules,
            Self::Introspection(auth) => &auth.rules,
        }
    }

    /// The secrets of the function's namespace that hob itself reads for it.
    pub fn secrets(&self) -> Vec<&SecretName> {
        match self {
            Self::None | Self::Token(_) => Vec::new(),
            Self::Basic(auth) => vec![&auth.secret],
            Self::Hmac(auth) => vec![&auth.secret],
            Self::Jwt(auth) => auth.ca.iter().collect(),
            Self::Introspection(auth) => auth.ca.iter().chain([&auth.secret]).collect(),
        }
    }
}
