use super::RunLimits;

/// What somebody wants to have run, as it came: nothing of it is believed yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOrder {
    /// Who asks, for a fair turn: an address, or a name.
    pub caller: String,
    /// Name or alias of a [`Language`](super::Language).
    pub language: String,
    /// The program's text.
    pub script: Vec<u8>,
    /// Files beside it, in the folder where it starts.
    pub files: Vec<RunFile>,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Its environment, beside `PATH`, `HOME` and `LANG`.
    pub env: Vec<(String, String)>,
    /// What it reads from stdin.
    pub stdin: Vec<u8>,
    /// What it may use.
    pub limits: RunLimits,
}

/// One file of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Below the folder where the program starts: relative, no `..`, at most 255 bytes a part.
    pub path: String,
    /// What is in it.
    pub contents: Vec<u8>,
}
