//! The access log: a line for each request, whoever answers it.
//!
//! Each thread of the gateway writes its lines into a sheet of its own in memory, and a thread
//! besides takes the sheets to the file. So no call ever waits for a disk: lines that find no room
//! are lost, and counted.

mod line;
mod writer;

use std::{
    cell::RefCell,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hob_model::{CallerAddress, FunctionName};
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;

use crate::{
    client::Client,
    counted::CALLER_LEFT,
    guard::{Fields, Identity},
    listen::PeerKind,
    receipt,
};
use line::{Dates, Style};
pub(crate) use line::{End, Record, Seen};
pub(crate) use writer::{Desk, Writer};

/// Where each request leaves a line, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where to.
    pub target: AccessTarget,
    /// How it is written.
    pub format: AccessFormat,
    /// Whether it has queries too, where callers may have put what nobody should read.
    pub query: bool,
}

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard error.
    Stderr,
    /// The end of a file, which is opened anew when it was moved away.
    File(PathBuf),
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// As Apache and nginx do by default, with three words more.
    #[default]
    Combined,
    /// An object of JSON.
    Json,
}

/// The access log as one thread has it.
pub(crate) struct Access {
    desk: Arc<Desk>,
    /// Which sheet is this thread's.
    sheet: usize,
    style: Style,
    dates: RefCell<Dates>,
}

/// A request on hyper's way, whose line is written when the last byte of its answer is gone.
pub(crate) struct Pending {
    client: Rc<Client>,
    /// Taken on drop.
    record: Option<Record>,
    status: u16,
    bytes: u64,
    function: Option<FunctionName>,
    id: Option<HeaderValue>,
    user: Option<HeaderValue>,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        let log = desk.log();
        Self {
            style: Style {
                format: log.format,
                query: log.query,
            },
            sheet: desk.take_sheet(),
            dates: RefCell::default(),
            desk,
        }
    }

    /// Notes what there is to say of a request before it goes its way.
    pub(crate) fn begin(&self, seen: &Seen<'_>) -> Record {
        self.style.begin(seen)
    }

    /// Writes the line of a request that is over.
    pub(crate) fn end(&self, record: &Record, end: &End<'_>) {
        self.desk.write(self.sheet, |out| {
            let dates = &mut self.dates.borrow_mut();
            self.style.put(record, end, dates, out);
        });
    }
}

// === impl Pending ===

impl Pending {
    /// `None` where there is no log, or the request is only the rest of one that had its line.
    pub(crate) fn of(
        client: &Rc<Client>,
        caller: CallerAddress,
        request: &Request<Incoming>,
    ) -> Option<Self> {
        let access = client.worker().access.as_ref()?;
        if client.kind == PeerKind::Inside {
            return None;
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let record = access.begin(&Seen {
            address: caller.ip,
            arrived: Instant::now(),
            since_epoch: since_epoch.unwrap_or_default(),
            method: request.method().as_str(),
            path: [request.uri().path(), ""],
            query: request.uri().query(),
            protocol: match request.version() {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            fields: Fields::Map(request.headers()),
        });
        Some(Self {
            client: Rc::clone(client),
            record: Some(record),
            status: CALLER_LEFT,
            bytes: 0,
            function: None,
            id: None,
            user: None,
        })
    }

    /// It is a call of this function.
    pub(crate) fn calls(&mut self, function: &FunctionName, id: &HeaderValue) {
        self.function = Some(function.clone());
        self.id = Some(id.clone());
    }

    /// Somebody known calls.
    pub(crate) fn by(&mut self, identity: Option<&Identity>) {
        self.user = identity.map(|identity| identity.caller.clone());
    }

    /// The head of the answer is here.
    pub(crate) fn answered<B>(&mut self, response: &Response<B>) {
        self.status = response.status().as_u16();
        self.id = response.headers().get(receipt::CALL_ID).cloned();
    }

    /// So many bytes more of its body are on their way.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let (Some(access), Some(record)) = (&self.client.worker().access, self.record.take()) {
            let end = End {
                status: self.status,
                bytes: self.bytes,
                function: self.function.as_ref(),
                id: self.id.as_ref().map(HeaderValue::as_bytes),
                user: self.user.as_ref().map(HeaderValue::as_bytes),
            };
            access.end(&record, &end);
        }
    }
}
