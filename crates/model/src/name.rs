use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The namespace of a function whose name does not say one.
pub const DEFAULT_NAMESPACE: &str = "openfaas-fn";

const LABEL_MAX: usize = 63;
const SECRET_NAME_MAX: usize = 253;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not an RFC 1123 label.
    #[error(
        "name `{0}` is invalid: use 1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit"
    )]
    Label(String),
    /// Not an RFC 1123 subdomain.
    #[error(
        "secret name `{0}` is invalid: use 1 to 253 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"
    )]
    Secret(String),
}

/// An RFC 1123 label: 1 to 63 characters of `[a-z0-9-]`, no dash at either end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Label(text.to_owned()))
        }
    }
}

/// What a function is called: `name`, or `name.namespace` outside the default namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName {
    namespace: Label,
    name: Label,
}

impl FunctionName {
    /// Joins a name and a namespace.
    pub fn new(name: Label, namespace: Label) -> Self {
        Self { namespace, name }
    }

    /// The part before the dot.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The namespace, also where the text that was parsed left it out.
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// Always `name.namespace`, as metrics and OpenFaaS clients write it.
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.name(), self.namespace())
    }
}

/// Short form: the namespace is left out when it is the default one.
impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if self.namespace() != DEFAULT_NAMESPACE {
            write!(f, ".{}", self.namespace())?;
        }
        Ok(())
    }
}

impl FromStr for FunctionName {
    type Err = NameError;

    /// The namespace follows the last dot, as OpenFaaS has it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, namespace) = text.rsplit_once('.').unwrap_or((text, DEFAULT_NAMESPACE));
        Ok(Self::new(name.parse()?, namespace.parse()?))
    }
}

/// An RFC 1123 subdomain of up to 253 characters; it is also the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= SECRET_NAME_MAX && text.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Secret(text.to_owned()))
        }
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= LABEL_MAX
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! text_conversions {
    ($($kind:ident => $text:expr;)*) => {$(
        impl TryFrom<String> for $kind {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> { text.parse() }
        }
        impl From<$kind> for String {
            fn from(value: $kind) -> String {
                let text: fn(&$kind) -> String = $text;
                text(&value)
            }
        }
    )*};
}

text_conversions! {
    Label => |label| label.as_str().to_owned();
    FunctionName => |name| name.to_string();
    SecretName => |name| name.as_str().to_owned();
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_name_takes_its_namespace_after_the_last_dot() {
        let name: FunctionName = "hello.staging".parse().expect("valid");
        assert_eq!((name.name(), name.namespace()), ("hello", "staging"));
        assert_eq!(name.to_string(), "hello.staging");
        let short: FunctionName = "hello".parse().expect("valid");
        assert_eq!(short.qualified(), "hello.openfaas-fn");
        assert_eq!(short.to_string(), "hello");
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "-a",
            "a-",
            "A",
            "a..b",
            ".openfaas-fn",
            "a b",
            "a\n",
        ] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad:?}");
            assert!(bad.parse::<SecretName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(64).parse::<Label>().is_err());
        assert!("tls.crt".parse::<SecretName>().is_ok());
    }
}
