use std::{
    cell::{OnceCell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use hob_model::Route;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::timeout_at;

use crate::{
    BoxError, CallBody,
    body::{RequestBody, Source},
    client::Client,
    error::GatewayError,
    pace::{CallerBody, TooSlow},
    room::Held,
};

/// Longest body that is read whole before its call is let in, in bytes.
const WHOLE_MAX: u64 = 16 << 20;
/// Room for it is taken in steps of so many bytes.
const ROOM_STEP: usize = 64 << 10;
/// Longest wait for the next part of a body.
const STALL: Duration = Duration::from_secs(30);

/// The body of a request whose call is not let in yet. Whoever has to know it reads it whole; it
/// goes on as it came either way.
pub(crate) struct Unread {
    /// `None` once it is whole, or has failed.
    incoming: RefCell<Option<CallerBody>>,
    whole: OnceCell<WholeBody>,
    deadline: Instant,
    client: Rc<Client>,
}

/// A body that is in memory.
pub(crate) struct WholeBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    _room: Held,
}

// === impl Unread ===

impl Unread {
    pub(crate) fn new(incoming: CallerBody, client: &Rc<Client>, deadline: Instant) -> Self {
        Self {
            incoming: RefCell::new(Some(incoming)),
            whole: OnceCell::new(),
            deadline,
            client: Rc::clone(client),
        }
    }

    /// All of it, if it was read.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        let whole = self.whole.get()?;
        Some(whole.data.as_deref().unwrap_or_default())
    }

    /// Reads it to its end, into room that is `held` for it. `fields` are those of its request.
    pub(crate) async fn read(
        &self,
        route: &Route,
        fields: &HeaderMap,
        held: Held,
    ) -> Result<(), GatewayError> {
        let Some(incoming) = self.incoming.take() else {
            return Ok(());
        };
        let length = fields.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let whole = Reading {
            incoming,
            route,
            length,
            deadline: self.deadline,
        };
        match whole.collected(held).await {
            Ok(whole) => {
                // It is taken out once only.
                let _ = self.whole.set(whole);
                Ok(())
            }
            Err(error) => {
                self.client.leave_unread();
                Err(error)
            }
        }
    }

    /// For a replica, which gets at most `limit` bytes of it.
    pub(crate) fn into_request(mut self, limit: u64) -> RequestBody {
        let source = match (self.whole.take(), self.incoming.take()) {
            (Some(whole), _) => Source::Whole(whole),
            (None, Some(incoming)) => Source::Incoming(incoming),
            (None, None) => Source::None,
        };
        RequestBody::new(source, limit, &self.client)
    }

    /// For the control plane.
    pub(crate) fn into_call(mut self) -> CallBody {
        match (self.whole.take(), self.incoming.take()) {
            (Some(whole), _) => UnsyncBoxBody::new(whole),
            (None, Some(incoming)) => CallBody::new(incoming),
            (None, None) => CallBody::default(),
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let incoming = self.incoming.get_mut();
        if incoming.as_ref().is_some_and(|body| !body.is_end_stream()) {
            self.client.leave_unread();
        }
    }
}

/// A body while it is read whole.
struct Reading<'a> {
    incoming: CallerBody,
    route: &'a Route,
    /// What it says of itself, in bytes.
    length: Option<u64>,
    deadline: Instant,
}

impl Reading<'_> {
    async fn collected(mut self, mut held: Held) -> Result<WholeBody, GatewayError> {
        let most = self.route.body_limit.min(WHOLE_MAX);
        if self.length.is_some_and(|length| length > most) {
            return Err(self.too_large());
        }
        let (mut data, mut trailers) = (BytesMut::new(), None);
        while let Some(frame) = self.next().await? {
            let frame = match frame.into_data() {
                Ok(part) => {
                    let length = data.len() + part.len();
                    if length as u64 > most {
                        return Err(self.too_large());
                    }
                    // Of many small parts each would take as much as a large one.
                    let more = length.div_ceil(ROOM_STEP) - data.len().div_ceil(ROOM_STEP);
                    if !held.grow(more * ROOM_STEP) {
                        return Err(self.no_room());
                    }
                    data.extend_from_slice(&part);
                    continue;
                }
                Err(frame) => frame,
            };
            trailers = frame.into_trailers().ok();
        }
        Ok(WholeBody {
            data: (!data.is_empty()).then(|| data.freeze()),
            trailers,
            _room: held,
        })
    }

    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, GatewayError> {
        let patience = self.deadline.min(Instant::now() + STALL);
        let next = timeout_at(patience.into(), self.incoming.frame()).await;
        let next = next.map_err(|_| GatewayError::SlowBody)?;
        let next = next.transpose();
        next.map_err(|error| match error.is::<TooSlow>() {
            true => GatewayError::SlowBody,
            false => GatewayError::BadRequest("the request's body broke off"),
        })
    }

    fn too_large(&self) -> GatewayError {
        match self.route.body_limit > WHOLE_MAX {
            true => GatewayError::TooLargeToCheck {
                function: self.route.function.to_string(),
                limit: WHOLE_MAX,
            },
            false => GatewayError::too_large(self.route),
        }
    }

    fn no_room(&self) -> GatewayError {
        GatewayError::NoVerdict {
            function: self.route.function.to_string(),
            problem: "too many signed bodies are being read: try again in a moment",
        }
    }
}

// === impl WholeBody ===

impl Body for WholeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
