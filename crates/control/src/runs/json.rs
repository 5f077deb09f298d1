//! The order of a run as JSON.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use hob_model::sandbox::{RunFile, RunLimits, RunOrder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{encode::put_json, error::RunsError};

/// What to run. All of it may be absent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunRequest {
    /// Name or alias of a language. Default `bash`.
    #[serde(alias = "lang")]
    pub(super) language: Option<String>,
    /// The program's text.
    script: String,
    /// Files beside it, in the folder where it starts.
    files: Vec<File>,
    /// Its arguments.
    args: Vec<String>,
    /// Its environment, beside `PATH`, `HOME` and `LANG`.
    env: BTreeMap<String, String>,
    /// What it reads from stdin.
    stdin: String,
    /// How `script` and `stdin` are written.
    encoding: Encoding,
    /// How the events are to write the output: as text, in which bytes that are no UTF-8 are lost,
    /// or as one of the others, event by event.
    pub(super) events: Encoding,
    /// What it may use, none of it more than the server's own limits.
    pub(super) limits: RunLimits,
    /// The output as it is, without events.
    pub(super) raw: bool,
    /// All that is known of the end, as the last event.
    pub(super) end: bool,
}

/// One file.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RunRequestFile)]
struct File {
    /// Below the folder where the program starts; no `..`.
    name: String,
    /// What is in it, as `encoding` says.
    content: String,
    #[serde(default)]
    encoding: Encoding,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RunRequestEncoding)]
pub(super) enum Encoding {
    /// As they are.
    #[default]
    Utf8,
    /// Base64 with padding.
    Base64,
    /// Two digits for each.
    Hex,
}

impl RunRequest {
    /// Reads the body of a request.
    pub(super) fn read(body: &[u8]) -> Result<Self, RunsError> {
        serde_json::from_slice(body)
            .map_err(|error| RunsError::Bad(format!("the body is no order for a run: {error}")))
    }

    /// The order that it is, but for its caller and its language.
    pub(super) fn order(self) -> Result<RunOrder, RunsError> {
        let files = self.files.into_iter().map(|file| {
            let contents = file.encoding.decode(file.content).map_err(|problem| {
                RunsError::Bad(format!("content of file `{}`: {problem}", file.name))
            })?;
            let path = file.name;
            Ok(RunFile { path, contents })
        });
        let decode = |text, what| {
            let bytes = self.encoding.decode(text);
            bytes.map_err(|problem| RunsError::Bad(format!("{what}: {problem}")))
        };
        Ok(RunOrder {
            script: decode(self.script, "script")?,
            files: files.collect::<Result<_, RunsError>>()?,
            args: self.args,
            env: self.env.into_iter().collect(),
            stdin: decode(self.stdin, "stdin")?,
            ..RunOrder::default()
        })
    }
}

impl Encoding {
    /// Appends `bytes` as a JSON text.
    pub(super) fn put(self, out: &mut Vec<u8>, bytes: &[u8]) {
        let text = match self {
            Self::Utf8 => return put_json(out, bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Hex => hex::encode(bytes),
        };
        put_json(out, text.as_bytes());
    }

    /// The bytes that `text` stands for.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn decode(self, text: String) -> Result<Vec<u8>, String> {
        match self {
            Self::Utf8 => Ok(text.into_bytes()),
            Self::Base64 => STANDARD
                .decode(text)
                .map_err(|error| format!("no base64: {error}")),
            Self::Hex => hex::decode(text).map_err(|error| format!("no hex: {error}")),
        }
    }
}
