//! The keys of the file.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

/// The one provider there is.
const PROVIDER: &str = "openfaas";
/// The one version there is.
const VERSION: &str = "1.0";
/// Keys of the file and of a function that mean something to some tool of OpenFaaS.
const FILE_KEYS: [&str; 4] = ["version", "provider", "functions", "configuration"];
const FUNCTION_KEYS: [&str; 19] = [
    "annotations",
    "build_args",
    "build_options",
    "build_secrets",
    "constraints",
    "environment",
    "environment_file",
    "fprocess",
    "handler",
    "image",
    "labels",
    "lang",
    "limits",
    "namespace",
    "platforms",
    "readonly_root_filesystem",
    "requests",
    "secrets",
    "skip_build",
];
/// Keys of `limits` and `requests`.
const RESOURCE_KEYS: [&str; 2] = ["cpu", "memory"];
/// What the library adds to its words for programmers.
const ADVICE: &str = ", set DuplicateKeyPolicy";

/// Texts by their names; one with nothing behind it is empty.
pub(super) type Texts = BTreeMap<String, Option<String>>;

/// A function of the file. Numbers and such are taken as the text that was written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Function {
    /// Name of its template, or `dockerfile`.
    pub(crate) lang: Option<String>,
    /// Its folder.
    pub(crate) handler: Option<String>,
    /// Name of its image.
    pub(crate) image: Option<String>,
    /// Whether its image is there already.
    pub(crate) skip_build: Option<bool>,
    /// Values for its Dockerfile.
    pub(crate) build_args: Option<Texts>,
    /// The same, secret.
    pub(crate) build_secrets: Option<Texts>,
    /// Packages for its Dockerfile.
    pub(crate) build_options: Option<Vec<String>>,
    pub(super) fprocess: Option<String>,
    pub(super) environment: Option<Texts>,
    pub(super) environment_file: Option<Vec<String>>,
    pub(super) secrets: Option<Vec<String>>,
    pub(super) constraints: Option<Vec<String>>,
    pub(super) labels: Option<Texts>,
    pub(super) annotations: Option<Texts>,
    pub(super) limits: Option<Resources>,
    pub(super) requests: Option<Resources>,
    pub(super) readonly_root_filesystem: Option<bool>,
    /// Its namespace.
    pub(crate) namespace: Option<String>,
}

/// What a function may use, or is promised.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) memory: Option<String>,
    pub(super) cpu: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    version: Option<String>,
    provider: Option<Provider>,
    functions: Option<BTreeMap<String, Option<Function>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Provider {
    name: Option<String>,
}

/// A file of environment variables.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EnvironmentFile {
    pub(super) environment: Option<Texts>,
}

/// What is known of a template by its `template.yml`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Template {
    pub(super) fprocess: Option<String>,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Said {
    /// Sorted by name.
    pub(super) functions: Vec<(String, Function)>,
    /// What means nothing, one line each.
    pub(super) notes: Vec<String>,
}

/// Reads the text of a file; the error is one line.
pub(super) fn parse(text: &str) -> Result<Said, String> {
    let file: File = yaml(text)?;
    let provider = file.provider.and_then(|provider| provider.name);
    if provider.as_deref() != Some(PROVIDER) {
        let provider = provider.unwrap_or_default();
        return Err(format!(
            "`provider.name` must be `{PROVIDER}`, not `{provider}`"
        ));
    }
    if let Some(version) = file
        .version
        .filter(|version| version != VERSION && !version.is_empty())
    {
        return Err(format!("`version` must be `{VERSION}`, not `{version}`"));
    }
    let functions = file.functions.unwrap_or_default();
    let functions = functions.into_iter();
    let functions = functions.map(|(name, function)| (name, function.unwrap_or_default()));
    Ok(Said {
        functions: functions.collect(),
        notes: strangers(text)?,
    })
}

/// YAML to what is wanted of it; the error is one line.
pub(super) fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let words = error.without_snippet().to_string().replace('\n', " ");
        match words.split_once(ADVICE) {
            Some((said, _)) => said.to_owned(),
            None => words,
        }
    })
}

/// The keys that nobody knows: a typing mistake must not pass unseen.
fn strangers(text: &str) -> Result<Vec<String>, String> {
    let file: Keys = yaml(text)?;
    let functions: Functions<Keys> = yaml(text)?;
    let nested: Functions<Nested> = yaml(text)?;
    let mut notes = strange(file, &FILE_KEYS, "");
    for (name, keys) in functions.named() {
        notes.extend(strange(keys, &FUNCTION_KEYS, &format!(" of `{name}`")));
    }
    for (name, nested) in nested.named() {
        for (key, keys) in [("limits", nested.limits), ("requests", nested.requests)] {
            let place = format!(" in `{key}` of `{name}`");
            notes.extend(strange(keys.unwrap_or_default(), &RESOURCE_KEYS, &place));
        }
    }
    Ok(notes)
}

/// What the keys at a place are, and nothing of what is behind them.
type Keys = BTreeMap<String, IgnoredAny>;

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Functions<T> {
    functions: Option<BTreeMap<String, Option<T>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Nested {
    limits: Option<Keys>,
    requests: Option<Keys>,
}

impl<T: Default> Functions<T> {
    fn named(self) -> impl Iterator<Item = (String, T)> {
        let functions = self.functions.unwrap_or_default().into_iter();
        functions.map(|(name, function)| (name, function.unwrap_or_default()))
    }
}

fn strange(keys: Keys, known: &[&str], place: &str) -> Vec<String> {
    // Behind `x-` people keep what they refer to.
    let strange = keys
        .into_keys()
        .filter(|key| !known.contains(&key.as_str()) && !key.starts_with("x-"));
    strange
        .map(|key| format!("key `{key}`{place} means nothing and is passed by"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "provider:\n  name: openfaas\n";

    #[test]
    fn values_are_the_texts_that_were_written() {
        let text = format!(
            "{HEAD}functions:\n  hello:\n    skip_build: yes\n    limits: {{cpu: 0.50, memory: 20m}}\n    \
             environment:\n      a: true\n      b: 010\n      c: 1.50\n      d:\n      e: 'x'\n  bare:\n"
        );
        let Said { functions, notes } = parse(&text).expect("reads");
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!(functions[0].0, "bare");
        let hello = &functions[1].1;
        assert_eq!(hello.skip_build, Some(true));
        let limits = hello
            .limits
            .as_ref()
            .and_then(|limits| limits.cpu.as_deref());
        assert_eq!(limits, Some("0.50"));
        let values = hello.environment.as_ref().expect("there").values();
        let values: Vec<_> = values.map(|value| value.as_deref().unwrap_or("")).collect();
        assert_eq!(values, ["true", "010", "1.50", "", "x"]);
    }

    #[test]
    fn a_typing_mistake_is_told_and_forgiven() {
        let text = format!(
            "{HEAD}x-common: 1\nfunktions: {{}}\nfunctions:\n  hello:\n    img: a\n    platforms: linux/arm64\n    \
             limits: {{memroy: 40Mi, cpu: 1}}\n    requests: {{x-why: 1, gpu: 1}}\n  bare:\n    limits:\n"
        );
        let notes = parse(&text).expect("reads").notes;
        let expected = [
            "`funktions` means",
            "`img` of `hello`",
            "`memroy` in `limits` of `hello`",
            "`gpu` in `requests` of `hello`",
        ];
        assert_eq!(notes.len(), expected.len(), "{notes:?}");
        for (note, expected) in notes.iter().zip(expected) {
            assert!(note.contains(expected), "{note}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_one_line_with_its_place() {
        for (text, expected) in [
            (
                "functions: {}",
                "`provider.name` must be `openfaas`, not ``",
            ),
            ("provider: {name: faas}", "not `faas`"),
            (
                "version: 2\nprovider: {name: openfaas}",
                "`version` must be `1.0`, not `2`",
            ),
            ("functions: [a]", "line 1, column 12"),
            ("functions:\n  a: {}\n  a: {}\n", "duplicate mapping key: a"),
            ("functions:\n\ta: b\n", "line 2, column 2"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(
                error.contains(expected) && !error.contains('\n'),
                "{text}: {error}"
            );
            assert!(!error.contains("DuplicateKeyPolicy"), "{error}");
        }
    }
}
