use std::{fmt, str::FromStr};

use oci_spec::distribution::{ParseError, Reference};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Digest;

/// The tag of a reference that names none.
const LATEST: &str = "latest";
/// Longest host of a registry with its port, in bytes: what the DNS has room for.
const HOST_MAX: usize = 259;
/// Longest text of a reference, in bytes: the host, 255 for the rest of the name, 128 for the tag, a
/// digest, marks.
const LENGTH_MAX: usize = 768;

/// Where an image is: registry, repository, and a tag or a digest or both. A tag is filled in
/// where there is neither.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef(Reference);

/// The text names no image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("image `{text}`: {problem}: write REGISTRY/NAME:TAG, as in registry.example.net/hello:1.0")]
pub struct ReferenceError {
    text: String,
    problem: String,
}

// === impl ImageRef ===

impl ImageRef {
    /// Host and perhaps port of the registry, as the user wrote it.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The repository's name inside the registry.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// What a function of this image is called when nobody says: the last part of the
    /// repository's name, as far as names of functions go.
    pub fn function_name(&self) -> String {
        let last = self.repository().rsplit('/').next().unwrap_or_default();
        last.replace(['.', '_'], "-")
    }

    /// The tag, if it has one.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// The digest, if it is pinned to one.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest()?.parse().ok()
    }

    /// The same repository, but exactly this content.
    #[must_use]
    pub fn at(&self, digest: &Digest) -> Self {
        Self(Reference::with_digest(
            self.registry().to_owned(),
            self.repository().to_owned(),
            digest.to_string(),
        ))
    }

    pub(crate) fn inner(&self) -> &Reference {
        &self.0
    }
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refuse = |problem: &str| ReferenceError {
            text: text.chars().take(LENGTH_MAX).collect(),
            problem: problem.to_owned(),
        };
        if text.len() > LENGTH_MAX {
            return Err(refuse("longer than 768 bytes"));
        }
        let name = text.split(['@', ':']).next().unwrap_or_default();
        let reference: Reference = text.parse().map_err(|error: ParseError| match error {
            _ if name.contains(|c: char| c.is_ascii_uppercase()) => {
                refuse("names have no upper-case letters")
            }
            error => refuse(&error.to_string()),
        })?;
        if reference.registry().len() > HOST_MAX {
            return Err(refuse("its registry's name is longer than 259 bytes"));
        }
        // What looks like a host and is none becomes a part of the name, unchecked.
        if reference
            .repository()
            .contains(|c: char| c.is_ascii_uppercase())
        {
            return Err(refuse("names have no upper-case letters"));
        }
        let digest = reference.digest();
        if digest.is_some_and(|digest| digest.parse::<Digest>().is_err()) {
            return Err(refuse("the digest must be sha256 in lower-case hex"));
        }
        if digest.is_none() && reference.tag().is_none() {
            let (registry, repository) = (reference.registry(), reference.repository());
            let tagged = Reference::with_tag(registry.into(), repository.into(), LATEST.into());
            return Ok(Self(tagged));
        }
        Ok(Self(reference))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.whole())
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_written_out_in_full() {
        let digest = Digest::of(b"");
        for (text, full) in [
            ("localhost:5000/a/b", "localhost:5000/a/b:latest".to_owned()),
            (
                "r.example.net/hello:1.0",
                "r.example.net/hello:1.0".to_owned(),
            ),
            (
                &format!("r.example.net/hello@{digest}"),
                format!("r.example.net/hello@{digest}"),
            ),
        ] {
            let image: ImageRef = text.parse().expect(text);
            assert_eq!(image.to_string(), full);
            assert_eq!(full.parse(), Ok(image));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("", "at least one component"),
            ("r.example.net/Hello", "upper-case letters"),
            ("H/l", "upper-case letters"),
            ("r.example.net/hello:", "invalid reference"),
            ("r.example.net/hello@sha256:12", "invalid"),
            ("../etc/passwd", "invalid reference"),
            ("http://r.example.net/hello", "invalid reference"),
            (&"a".repeat(800), "longer than 768 bytes"),
        ] {
            let message = text.parse::<ImageRef>().expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
