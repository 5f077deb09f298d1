use hob_image::Digest;

use super::RegistryError;

/// Longest name of a repository, in bytes: with a registry before it and a tag behind it, it is
/// still a reference.
const NAME_MAX: usize = 200;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;

/// What a path below `/v2/` speaks of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Catalog,
    Tags(Repository),
    Referrers(Repository, String),
    Manifest(Repository, Reference),
    Blob(Repository, String),
    Uploads(Repository),
    Upload(Repository, String),
}

/// A repository's name: words of lower-case letters and digits, with single separators between
/// them, and slashes between those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository(String);

/// A tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Tag(String),
    Digest(Digest),
    /// Neither: nothing has such a name.
    Wrong(String),
}

// === impl Place ===

impl Place {
    pub(super) fn parse(path: &str) -> Result<Self, RegistryError> {
        if path == "_catalog" {
            return Ok(Self::Catalog);
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name.parse()?));
        }
        let uploads = path.strip_suffix("/blobs/uploads/");
        if let Some(name) = uploads.or(path.strip_suffix("/blobs/uploads")) {
            return Ok(Self::Uploads(name.parse()?));
        }
        let (above, last) = path.rsplit_once('/').ok_or(RegistryError::Nothing)?;
        if let Some(name) = above.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name.parse()?, last.to_owned()));
        }
        if let Some(name) = above.strip_suffix("/blobs") {
            return Ok(Self::Blob(name.parse()?, last.to_owned()));
        }
        if let Some(name) = above.strip_suffix("/manifests") {
            return Ok(Self::Manifest(name.parse()?, Reference::from(last)));
        }
        if let Some(name) = above.strip_suffix("/referrers") {
            return Ok(Self::Referrers(name.parse()?, last.to_owned()));
        }
        Err(RegistryError::Nothing)
    }
}

// === impl Repository ===

impl Repository {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Repository {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        if text.len() <= NAME_MAX && text.split('/').all(is_component) {
            return Ok(Self(text.to_owned()));
        }
        Err(RegistryError::Name(text.chars().take(NAME_MAX).collect()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |run: &str| match run {
        "." | "_" | "__" => true,
        dashes => dashes.bytes().all(|byte| byte == b'-'),
    };
    let ends = text.starts_with(word) && text.ends_with(word);
    let runs = text.split(word).filter(|run| !run.is_empty());
    ends && runs.into_iter().all(separator)
}

// === impl Reference ===

impl From<&str> for Reference {
    fn from(text: &str) -> Self {
        if let Ok(digest) = text.parse() {
            return Self::Digest(digest);
        }
        let mut bytes = text.bytes();
        let first = bytes.next();
        let starts = first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if starts && goes_on && text.len() <= TAG_MAX {
            return Self::Tag(text.to_owned());
        }
        Self::Wrong(text.chars().take(TAG_MAX).collect())
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(text) | Self::Wrong(text) => f.write_str(text),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_slashes_and_are_found_all_the_same() {
        let name = |text: &str| text.parse::<Repository>().expect(text);
        for (path, place) in [
            ("a/tags/list", Place::Tags(name("a"))),
            ("a/b/blobs/uploads/", Place::Uploads(name("a/b"))),
            ("a/blobs/uploads/7", Place::Upload(name("a"), "7".into())),
            // A repository may have such words in its name.
            (
                "blobs/manifests/manifests/x",
                Place::Manifest(name("blobs/manifests"), Reference::Tag("x".into())),
            ),
        ] {
            assert_eq!(Place::parse(path).expect(path), place);
        }
        for path in [
            "",
            "a",
            "a/b",
            "A/tags/list",
            "a//b/tags/list",
            "/tags/list",
        ] {
            assert!(Place::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn names_follow_the_specification() {
        for good in ["a", "a/b-c/d__e", "a.b_c--d", "0/1"] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        let long = "a".repeat(NAME_MAX + 1);
        for bad in [
            "", "a/", "-a", "a..b", "a___b", "a._b", "A", "a b", "..", &long,
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
        assert_eq!(Reference::from("v1.0"), Reference::Tag("v1.0".into()));
        for bad in [".a", "-a", "", "sha256:12", "a/b", &"a".repeat(TAG_MAX + 1)] {
            assert!(matches!(Reference::from(bad), Reference::Wrong(_)), "{bad}");
        }
    }
}
