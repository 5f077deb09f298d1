//! `[sandbox.languages.NAME]`: a language beside the built-in ones, or what is different of one.

use hob_engine::pool::local::languages_elsewhere;
use hob_model::sandbox::{FILE, SCRIPT};
use serde::Deserialize;

/// Longest name, in bytes.
const NAME_MAX: usize = 64;

/// One language. What is absent is as it is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LanguageConfig {
    /// Program and arguments, `{file}` or `{script}` among them.
    pub(crate) run: Option<Vec<String>>,
    /// Name of the script's file.
    pub(crate) file: Option<String>,
    /// Other names.
    pub(crate) aliases: Option<Vec<String>>,
    /// Program and arguments that print its version.
    pub(crate) version: Option<Vec<String>>,
}

impl LanguageConfig {
    /// Whether it can be used as that of `name`.
    ///
    /// # Errors
    /// One line that names the key.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        let key = format!("sandbox.languages.{name}");
        let names = self.aliases.iter().flatten().map(String::as_str);
        for name in names.chain([name]) {
            check_name(name)?;
        }
        match &self.run {
            None if !is_built_in(name) => {
                return Err(format!(
                    "{key}.run is missing: name its program, as in [\"{name}\", \"{FILE}\"]"
                ));
            }
            Some(run) if !run.iter().any(|part| names_script(part)) => {
                return Err(format!("{key}.run must name `{FILE}` or `{SCRIPT}`"));
            }
            _ => {}
        }
        if let Some(file) = &self.file
            && (file.is_empty() || file == "." || file == ".." || file.contains(['/', '\0']))
        {
            return Err(format!(
                "{key}.file must be the name of a file, without a folder"
            ));
        }
        if self.version.as_ref().is_some_and(Vec::is_empty) {
            return Err(format!("{key}.version must be a program and its arguments"));
        }
        Ok(())
    }
}

/// Whether it is known without a word about it; what is said adds to it.
fn is_built_in(name: &str) -> bool {
    let known = languages_elsewhere(&[]);
    known.iter().any(|language| language.name == name)
}

fn names_script(part: &str) -> bool {
    part.contains(FILE) || part.contains(SCRIPT)
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._#".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(fits) {
        return Err(format!(
            "`{name}` is no name of a language: use letters, digits and `+-._#`"
        ));
    }
    Ok(())
}
