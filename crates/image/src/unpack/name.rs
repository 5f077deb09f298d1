use super::{
    UnpackLimits,
    error::{Fault, Rule},
};

/// Before the name of what a layer deletes from those below it.
const WHITEOUT: &[u8] = b".wh.";
/// Before the names that aufs kept for itself.
const AUFS: &[u8] = b".wh..wh.";
/// In a folder: nothing of it is taken from the layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Where the cage has its own devices.
const DEVICES: &[u8] = b"dev";

/// A path inside of a layer, relative and in its shortest form: nothing but names with a `/`
/// between them. The root is the empty one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LayerPath(Vec<u8>);

/// What an entry is, by its name alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What its type says.
    Itself,
    /// It deletes what has this path in the layers below.
    Whiteout(LayerPath),
    /// It hides what the layers below have in this folder.
    Opaque(LayerPath),
    /// What aufs left behind. Says nothing.
    Leftover,
}

// === impl LayerPath ===

impl LayerPath {
    /// The path of the layer's root.
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// From the bytes in a tar. A leading `/` or `./` is a habit of tars and means the root.
    pub(super) fn parse(bytes: &[u8], limits: &UnpackLimits) -> Result<Self, Rule> {
        if bytes.contains(&0) {
            return Err(Rule::NulInPath);
        }
        let mut path = Vec::with_capacity(bytes.len().min(limits.path_bytes));
        let mut depth = 0;
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(Rule::ParentFolder),
                name if name.len() > limits.name_bytes => {
                    return Err(Rule::LongName(limits.name_bytes));
                }
                name => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                }
            }
            depth += 1;
            if depth > limits.depth {
                return Err(Rule::Deep(limits.depth));
            }
            if path.len() > limits.path_bytes {
                return Err(Rule::LongPath(limits.path_bytes));
            }
        }
        Ok(Self(path))
    }

    /// Its bytes; none for the root.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root.
    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder it lies in, and its name there. The root lies in none.
    ///
    /// # Errors
    /// [`Rule::RootNotFolder`] for the root.
    pub(super) fn split(&self) -> Result<(Self, &[u8]), Fault> {
        if self.is_root() {
            return Err(Rule::RootNotFolder.into());
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/');
        Ok(match slash {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::root(), &self.0),
        })
    }

    /// Every folder on the way to it and itself, the outermost first, each with its own name.
    pub(super) fn ways(&self) -> impl Iterator<Item = (Self, &[u8])> {
        let mut end = 0;
        self.0.split(|byte| *byte == b'/').map(move |name| {
            let start = if end == 0 { 0 } else { end + 1 };
            end = start + name.len();
            (Self(self.0[..end].to_vec()), name)
        })
    }

    /// Whether it lies below `dev/`.
    pub(super) fn is_below_dev(&self) -> bool {
        let rest = self.0.strip_prefix(DEVICES);
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// What a name of this form says in a layer.
    ///
    /// # Errors
    /// [`Rule::Whiteout`] when it deletes nothing that can exist, [`Rule::RootWhiteout`] when it
    /// hides all layers below.
    ///
    /// See <https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts>.
    pub(super) fn meaning(&self) -> Result<Meaning, Fault> {
        if self.is_root() {
            return Ok(Meaning::Itself);
        }
        let (folder, name) = self.split()?;
        for above in folder.0.split(|byte| *byte == b'/') {
            if above.starts_with(AUFS) && above != OPAQUE {
                return Ok(Meaning::Leftover);
            }
            if above.starts_with(WHITEOUT) {
                return Err(Rule::Whiteout.into());
            }
        }
        if name == OPAQUE {
            return if folder.is_root() {
                Err(Rule::RootWhiteout.into())
            } else {
                Ok(Meaning::Opaque(folder))
            };
        }
        if name.starts_with(AUFS) {
            return Ok(Meaning::Leftover);
        }
        match name.strip_prefix(WHITEOUT) {
            None => Ok(Meaning::Itself),
            Some(b"" | b"." | b"..") => Err(Rule::Whiteout.into()),
            Some(deleted) => Ok(Meaning::Whiteout(folder.child(deleted))),
        }
    }

    fn child(mut self, name: &[u8]) -> Self {
        if !self.is_root() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LayerPath, Rule> {
        LayerPath::parse(text.as_bytes(), &UnpackLimits::default())
    }

    #[test]
    fn the_habits_of_tars_are_taken_away() {
        for text in ["a/b", "./a/b", "/a/b", "a//b/", "./a/./b/.", "//a/b"] {
            assert_eq!(parse(text).expect("it is valid").bytes(), b"a/b", "{text}");
        }
        for text in ["", ".", "./", "/", "//."] {
            assert!(parse(text).expect("it is valid").is_root(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_path_is_refused() {
        assert_eq!(parse("a/../b"), Err(Rule::ParentFolder));
        assert_eq!(parse("/.."), Err(Rule::ParentFolder));
        assert_eq!(parse("a\0b"), Err(Rule::NulInPath));
        assert_eq!(parse(&"x".repeat(256)), Err(Rule::LongName(255)));
        assert_eq!(parse(&"x/".repeat(257)), Err(Rule::Deep(256)));
        let long = format!("{}/", "x".repeat(200)).repeat(21);
        assert_eq!(parse(&long), Err(Rule::LongPath(4095)));
        assert_eq!(parse("..a/b..").expect("it is valid").bytes(), b"..a/b..");
    }

    #[test]
    fn the_ways_to_a_path_lead_from_the_outside_in() {
        let path = parse("a/b/c").expect("it is valid");
        let ways: Vec<_> = path.ways().collect();
        let expected = [("a", "a"), ("a/b", "b"), ("a/b/c", "c")];
        assert_eq!(
            ways,
            expected.map(|(path, name)| (parse(path).expect("it is valid"), name.as_bytes()))
        );
    }

    #[test]
    fn names_say_what_is_deleted() {
        let meaning = |text: &str| parse(text).expect("it is valid").meaning();
        let path = |text: &str| parse(text).expect("it is valid");
        assert_eq!(meaning("a/b").expect("it is valid"), Meaning::Itself);
        assert_eq!(meaning("a/.who").expect("it is valid"), Meaning::Itself);
        assert_eq!(meaning("").expect("it is valid"), Meaning::Itself);
        assert_eq!(
            meaning(".wh.b").expect("it is valid"),
            Meaning::Whiteout(path("b"))
        );
        assert_eq!(
            meaning("a/.wh.b").expect("it is valid"),
            Meaning::Whiteout(path("a/b"))
        );
        assert_eq!(
            meaning("a/.wh..b").expect("it is valid"),
            Meaning::Whiteout(path("a/.b"))
        );
        assert_eq!(
            meaning("a/.wh..wh..opq").expect("it is valid"),
            Meaning::Opaque(path("a"))
        );
        for text in [
            ".wh..wh.plnk",
            ".wh..wh.plnk/1.2",
            ".wh..wh.aufs",
            "a/.wh..wh.orph/x",
        ] {
            assert_eq!(
                meaning(text).expect("it is valid"),
                Meaning::Leftover,
                "{text}"
            );
        }
        for text in [
            ".wh.",
            "a/.wh.",
            ".wh..",
            "a/.wh...",
            ".wh.x/y",
            ".wh..wh..opq/x",
            ".wh./x",
        ] {
            let refused = meaning(text).expect_err("it is not valid");
            assert!(matches!(refused, Fault::Rule(Rule::Whiteout)), "{text}");
        }
        let refused = meaning(".wh..wh..opq").expect_err("it is not valid");
        assert!(matches!(refused, Fault::Rule(Rule::RootWhiteout)));
    }

    #[test]
    fn only_what_is_below_dev_is_below_dev() {
        assert!(parse("dev/null").expect("it is valid").is_below_dev());
        assert!(!parse("dev").expect("it is valid").is_below_dev());
        assert!(!parse("device/null").expect("it is valid").is_below_dev());
        assert!(!parse("a/dev/null").expect("it is valid").is_below_dev());
    }
}
