use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hob_model::{
    Timespan,
    port::RunError,
    sandbox::{BASH, Language, RunFile, RunLimits, RunMaxima, RunOrder},
};
use serde::Serialize;
use tokio::time::Instant;

use super::client::{Held, Protocol};
use crate::pool::local::check;

const BASE64: &str = "base64";
/// The least time that a worker takes; the coordinator's own clock has the last word.
const LEAST_TIME: Duration = Duration::from_millis(10);

/// A time that nobody misses.
const MOMENT: Duration = Duration::from_millis(50);

/// An order as it goes to a worker.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// The JSON body of `POST /run`. All bytes are base64: so they come whole, and the body is at most
/// a third longer than what was sent here.
#[derive(Serialize)]
struct Body<'a> {
    language: &'a str,
    script: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    env: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    stdin: String,
    /// Of script and stdin.
    encoding: &'static str,
    /// Of the output.
    events: &'static str,
    limits: RunLimits,
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    content: String,
    encoding: &'static str,
}

/// Looks at all of an order before anybody waits for a worker, puts its language's own name in it
/// and says what it may use.
///
/// # Errors
/// The order is wrong, or such workers cannot be told the whole of it.
pub(in crate::pool) fn settle(
    order: &mut RunOrder,
    maxima: &RunMaxima,
    languages: &[Language],
    protocol: Protocol,
) -> Result<RunMaxima, RunError> {
    let limits = maxima.settle(&order.limits).map_err(RunError::Refused)?;
    let known = languages.iter().find(|known| known.is(&order.language));
    if let Some(known) = known {
        order.language.clone_from(&known.name);
    }
    fits(protocol, order).map_err(RunError::Refused)?;
    if known.is_none() {
        let names: Vec<&str> = languages.iter().map(|known| known.name.as_str()).collect();
        return Err(RunError::Refused(format!(
            "language `{}` is unknown here: use {}",
            order.language,
            names.join(", ")
        )));
    }
    check(order, &limits).map_err(RunError::Refused)?;
    Ok(limits)
}

/// Whether a worker can be told the whole of `order`.
///
/// # Errors
/// What it cannot be told, in one line.
fn fits(protocol: Protocol, order: &RunOrder) -> Result<(), String> {
    match protocol {
        Protocol::Hob => Ok(()),
        Protocol::Bfaas => match lack(order) {
            Some(lack) => Err(format!(
                "the workers of this server are of bfaas, and {lack}"
            )),
            None => Ok(()),
        },
    }
}

/// Writes `order` for a worker.
///
/// # Errors
/// As [`fits`].
pub(super) fn encode(protocol: Protocol, order: &RunOrder, held: Held) -> Result<Sent, String> {
    fits(protocol, order)?;
    match protocol {
        Protocol::Hob => to_hob(order, held),
        Protocol::Bfaas => Ok(Sent {
            // As clients of bfaas send it.
            content_type: "application/x-www-form-urlencoded",
            body: order.script.clone(),
        }),
    }
}

fn to_hob(order: &RunOrder, held: Held) -> Result<Sent, String> {
    let env = order.env.iter();
    let body = Body {
        language: &order.language,
        script: STANDARD.encode(&order.script),
        files: order.files.iter().map(File::from).collect(),
        args: &order.args,
        env: env
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect(),
        stdin: STANDARD.encode(&order.stdin),
        encoding: BASE64,
        events: BASE64,
        limits: RunLimits {
            time: Some(time(held)),
            ..order.limits.clone()
        },
    };
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    Ok(Sent {
        content_type: "application/json",
        body,
    })
}

/// What is left of a run's time; its worker counts from when it has it, a moment later.
fn time(held: Held) -> Timespan {
    let left = held.deadline.saturating_duration_since(Instant::now());
    if left + MOMENT >= held.limits.time.0 {
        return held.limits.time;
    }
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    Timespan(Duration::from_millis(millis).max(LEAST_TIME))
}

/// What a worker of bfaas cannot do of it: whoever asks for a limit must not go without.
fn lack(order: &RunOrder) -> Option<&'static str> {
    let limits = &order.limits;
    if order.language != BASH {
        Some("run bash scripts only")
    } else if !order.files.is_empty() {
        Some("take no files")
    } else if !order.args.is_empty() {
        Some("take no arguments")
    } else if !order.env.is_empty() {
        Some("take no environment")
    } else if !order.stdin.is_empty() {
        Some("take no stdin")
    } else if limits.cpu.is_some()
        || limits.memory.is_some()
        || limits.pids.is_some()
        || limits.disk.is_some()
    {
        Some("limit nothing but time and output")
    } else {
        None
    }
}

impl<'a> From<&'a RunFile> for File<'a> {
    fn from(file: &'a RunFile) -> Self {
        Self {
            name: &file.path,
            content: STANDARD.encode(&file.contents),
            encoding: BASE64,
        }
    }
}
