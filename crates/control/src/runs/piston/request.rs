use std::time::Duration;

use hob_model::{
    Memory, Timespan,
    sandbox::{Language, RunFile, RunLimits, RunMaxima, RunOrder},
};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::version;
use crate::runs::{error::RunsError, json::Encoding};

/// Limits that clients may set, with whether there is anything here that they limit.
const LIMITS: [(&str, bool); 6] = [
    ("compile_memory_limit", false),
    ("run_memory_limit", true),
    ("compile_timeout", false),
    ("run_timeout", true),
    ("compile_cpu_time", false),
    ("run_cpu_time", true),
];

/// What to run, in the form of Piston: for the document alone, since it is read by hand to name
/// mistakes as Piston does.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape counts")]
pub(crate) struct ExecuteRequest {
    /// Name or alias of a language.
    language: String,
    /// Which versions of it will do: `*`, `3.x`, `^3.10.0`.
    version: String,
    /// The first one that is no base64 or hex is the program.
    files: Vec<File>,
    /// What it reads from stdin.
    stdin: Option<String>,
    /// Its arguments.
    args: Option<Vec<String>>,
    /// Time limit in milliseconds.
    run_timeout: Option<f64>,
    /// Limit of processor time in milliseconds.
    run_cpu_time: Option<f64>,
    /// Limit of memory in bytes; -1 is the server's own.
    run_memory_limit: Option<f64>,
    /// Means nothing here.
    compile_timeout: Option<f64>,
    /// Means nothing here.
    compile_cpu_time: Option<f64>,
    /// Means nothing here.
    compile_memory_limit: Option<f64>,
}

/// One file.
#[derive(ToSchema)]
#[schema(as = ExecuteFile)]
#[expect(dead_code, reason = "only its shape counts")]
struct File {
    name: Option<String>,
    content: String,
    encoding: Option<String>,
}

/// A request, read.
pub(super) struct Asked {
    pub(super) order: RunOrder,
    pub(super) language: Language,
}

/// Reads what a client sent.
///
/// # Errors
/// As Piston words them, where it does.
pub(super) fn read(
    body: &[u8],
    languages: &[Language],
    most: &RunMaxima,
) -> Result<Asked, RunsError> {
    let bad = |problem: String| RunsError::Bad(problem);
    let asked: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is no JSON: {error}")))?;
    let text = |key: &str| match asked.get(key).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(bad(format!("{key} is required as a string"))),
    };
    let (name, range) = (text("language")?, text("version")?);
    let files = asked.get("files").and_then(Value::as_array);
    let files = files.ok_or_else(|| bad("files is required as an array".into()))?;
    let files = files
        .iter()
        .enumerate()
        .map(|(at, file)| Sent::read(at, file));
    let files: Vec<_> = files.collect::<Result<_, _>>()?;
    let language = choose(languages, name, range)
        .ok_or_else(|| bad(format!("{name}-{range} runtime is unknown")))?;
    let main = files
        .iter()
        .position(|file| file.encoding == Encoding::Utf8);
    let main =
        main.ok_or_else(|| bad("files must include at least one utf8 encoded file".into()))?;
    let limits = limits(&asked, most)?;
    let (script, files) = order_files(files, main, language)?;
    let order = RunOrder {
        language: language.name.clone(),
        script,
        files,
        args: args(asked.get("args"))?,
        stdin: stdin(asked.get("stdin"))?,
        limits,
        ..RunOrder::default()
    };
    Ok(Asked {
        order,
        language: language.clone(),
    })
}

/// The newest one that fits.
fn choose<'a>(languages: &'a [Language], name: &str, range: &str) -> Option<&'a Language> {
    let fitting = languages
        .iter()
        .filter(|language| language.is(name) && version::satisfies(&language.version, range));
    fitting.max_by_key(|language| version::read(&language.version))
}

/// A file as it was sent.
struct Sent {
    name: String,
    content: String,
    encoding: Encoding,
}

impl Sent {
    fn read(at: usize, file: &Value) -> Result<Self, RunsError> {
        let Some(content) = file.get("content").and_then(Value::as_str) else {
            return Err(RunsError::Bad(format!(
                "files[{at}].content is required as a string"
            )));
        };
        let text = |key: &str| file.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = match text("name") {
            "" => format!("file{at}.code"),
            name => name.to_owned(),
        };
        Ok(Self {
            name,
            content: content.to_owned(),
            encoding: match text("encoding") {
                "base64" => Encoding::Base64,
                "hex" => Encoding::Hex,
                _ => Encoding::Utf8,
            },
        })
    }
}

/// The program, and the files beside it. The program is written where its language wants it, and
/// under its own name too, by which others may know it.
fn order_files(
    sent: Vec<Sent>,
    main: usize,
    language: &Language,
) -> Result<(Vec<u8>, Vec<RunFile>), RunsError> {
    let (mut script, mut files) = (Vec::new(), Vec::new());
    for (at, file) in sent.into_iter().enumerate() {
        let is_main = at == main;
        let contents = file
            .encoding
            .decode(file.content)
            .map_err(|problem| RunsError::Bad(format!("files[{at}].content: {problem}")))?;
        if file.name == language.file && !is_main {
            return Err(RunsError::Bad(format!(
                "files[{at}].name: the program itself is written to `{}`: name the program so, or this file otherwise",
                language.file
            )));
        }
        if is_main {
            script.clone_from(&contents);
            if file.name == language.file {
                continue;
            }
        }
        files.push(RunFile {
            path: file.name,
            contents,
        });
    }
    Ok((script, files))
}

fn args(value: Option<&Value>) -> Result<Vec<String>, RunsError> {
    let bad = || RunsError::Bad("args must be an array of strings".into());
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let args = value.as_array().ok_or_else(bad)?.iter();
    args.map(|arg| match arg {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(bad()),
    })
    .collect()
}

/// It ends with a line end, always: programs here and there rely on that.
fn stdin(value: Option<&Value>) -> Result<Vec<u8>, RunsError> {
    let mut text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(RunsError::Bad("stdin must be a string".into())),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// Nothing, 0 and -1 are the server's own limits.
fn limits(asked: &Map<String, Value>, most: &RunMaxima) -> Result<RunLimits, RunsError> {
    let mut limits = RunLimits::default();
    for (key, counts) in LIMITS {
        let value = match asked.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => continue,
            Some(value) => value
                .as_f64()
                .ok_or_else(|| RunsError::Bad(format!("If specified, {key} must be a number")))?,
        };
        if !counts || value == 0.0 || value == -1.0 {
            continue;
        }
        let configured = match key {
            "run_memory_limit" => most.memory.0 as f64,
            "run_cpu_time" => most.cpu.0.as_secs_f64() * 1000.0,
            _ => most.time.0.as_secs_f64() * 1000.0,
        };
        if value > configured {
            return Err(RunsError::Bad(format!(
                "{key} cannot exceed the configured limit of {configured}"
            )));
        }
        if value < 0.0 {
            return Err(RunsError::Bad(format!("{key} must be non-negative")));
        }
        // Below the configured limit, so that each fits.
        let time = || Some(Timespan(Duration::from_secs_f64(value / 1000.0)));
        match key {
            "run_memory_limit" => limits.memory = Some(Memory(value as u64)),
            "run_cpu_time" => limits.cpu = time(),
            _ => limits.time = time(),
        }
    }
    Ok(limits)
}
