use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Stands in [`Language::run`] for the script's text.
pub const SCRIPT: &str = "{script}";
/// Stands in [`Language::run`] for the path of the file that has the script.
pub const FILE: &str = "{file}";

/// The language of those who name none, and the only one that workers of bfaas run.
pub const BASH: &str = "bash";

/// A language that scripts may be in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Language {
    /// What it is called: `python`.
    pub name: String,
    /// Other names: `py`, `python3`.
    pub aliases: Vec<String>,
    /// As its interpreter tells it: `3.11.7`; empty where it does not.
    pub version: String,
    /// Name of the script's file: `main.py`.
    pub file: String,
    /// Program and arguments; those of the order follow. `{file}` and `{script}` stand for the
    /// script.
    pub run: Vec<String>,
}

impl Language {
    /// Whether `name` means it.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}
