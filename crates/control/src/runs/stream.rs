//! The answer to `POST /run`, as its events come.

use std::io;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hob_model::{
    End, EndReason,
    port::{RunStream, StartedRun},
    sandbox::{RunEnd, RunEvent, RunTimes, WORKER},
};
use http::{HeaderName, HeaderValue, header};

use super::{
    Tally,
    encode::Text,
    end::put_end,
    error::{PLAIN, RunsError},
    json::Encoding,
};

/// Says which sandbox or worker it was.
const WORKER_FIELD: HeaderName = HeaderName::from_static(WORKER);
/// Keeps proxies of the kind of nginx from waiting for more.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Most bytes of output in one event, but for the rest of a character that was cut. Clients know
/// no larger ones, and some read lines of 64 KiB at most: a byte takes up to six.
const EVENT_MAX: usize = 4096;

/// What the caller wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// The output as it is, without events.
    pub(super) raw: bool,
    /// All that is known of the end, whatever it was.
    pub(super) end: bool,
    /// How events write the output.
    pub(super) encoding: Encoding,
}

/// A run under way, and how it is written down.
struct Writing {
    events: RunStream,
    /// It came before the head.
    first: Option<RunEvent>,
    form: Form,
    stdout: Text,
    stderr: Text,
    tally: Tally,
    ended: bool,
}

/// Answers with what the run says. Who wants the end told gets the head at once. To all others the
/// head says that there is something to read: a run that passes its deadline in silence has an
/// empty answer, of no worker.
pub(super) async fn answer(
    started: StartedRun,
    form: Form,
    mut tally: Tally,
) -> Result<Response, RunsError> {
    let mut events = started.events;
    let mut first = None;
    if !form.end {
        first = Some(
            events
                .next()
                .await
                .unwrap_or_else(|| RunEvent::End(broken())),
        );
        if let Some(RunEvent::End(end)) = &first {
            if end.by_deadline {
                tally.ended(end);
                return Ok(Response::new(Body::empty()));
            }
            if end.end.reason == EndReason::Host {
                tally.ended(end);
                return Err(RunsError::Host(end.end.message.clone()));
            }
        }
    }
    let writing = Writing {
        events,
        first,
        form,
        stdout: Text::default(),
        stderr: Text::default(),
        tally,
        ended: false,
    };
    let body = Body::from_stream(stream::unfold(writing, |mut writing| async move {
        let next = writing.next().await?;
        Some((next, writing))
    }));
    let mut response = match form.raw {
        true => (PLAIN, body).into_response(),
        false => ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response(),
    };
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(BUFFERING, HeaderValue::from_static("no"));
    if let Ok(worker) = HeaderValue::from_str(&started.worker) {
        fields.insert(WORKER_FIELD, worker);
    }
    Ok(response)
}

/// A pool that says nothing of the end has broken its word.
pub(super) fn broken() -> RunEnd {
    let end = End::new(EndReason::Host, "the sandbox was lost");
    RunEnd::without_program(end, RunTimes::default())
}

// === impl Writing ===

impl Writing {
    /// The next bytes for the caller.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut out = Vec::new();
        while out.is_empty() && !self.ended {
            let event = match self.first.take() {
                Some(event) => Some(event),
                None => self.events.next().await,
            };
            match event.unwrap_or_else(|| RunEvent::End(broken())) {
                RunEvent::Stdout(bytes) => self.put(&mut out, "stdout", bytes),
                RunEvent::Stderr(bytes) => self.put(&mut out, "stderr", bytes),
                RunEvent::End(end) => self.finish(&mut out, &end),
            }
        }
        (!out.is_empty()).then(|| Ok(out.into()))
    }

    fn put(&mut self, out: &mut Vec<u8>, name: &'static str, bytes: Vec<u8>) {
        if self.form.raw {
            *out = bytes;
            return;
        }
        if self.form.encoding != Encoding::Utf8 {
            let encoding = self.form.encoding;
            for part in bytes.chunks(EVENT_MAX) {
                put_event(out, name, |out| encoding.put(out, part));
            }
            return;
        }
        let text = match name {
            "stdout" => &mut self.stdout,
            _ => &mut self.stderr,
        };
        for part in bytes.chunks(EVENT_MAX) {
            put_event(out, name, |out| text.put(out, part));
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, end: &RunEnd) {
        self.ended = true;
        self.tally.ended(end);
        for (name, text) in [("stdout", &mut self.stdout), ("stderr", &mut self.stderr)] {
            put_event(out, name, |out| text.finish(out));
        }
        // Clients that ask for no more know a run that was cut off by its missing end.
        if !self.form.end && end.by_deadline {
            return;
        }
        if self.form.raw {
            out.extend_from_slice(format!("\nexit: {}\n", end.code).as_bytes());
            if self.form.end {
                put_end(out, end);
                out.push(b'\n');
            }
            return;
        }
        put_event(out, "exit", |out| match self.form.end {
            true => put_end(out, end),
            false => out.extend_from_slice(format!("{{\"code\":{}}}", end.code).as_bytes()),
        });
    }
}

/// Appends an event, unless it has no data.
fn put_event(out: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    for part in ["event: ", name, "\ndata: "] {
        out.extend_from_slice(part.as_bytes());
    }
    let empty = out.len();
    data(out);
    match out.len() == empty {
        true => out.truncate(before),
        false => out.extend_from_slice(b"\n\n"),
    }
}
