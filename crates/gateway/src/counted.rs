use std::{cell::Cell, ops::Deref, sync::Arc, time::Instant};

use hob_model::{EndReason, Route};
use http::StatusCode;

use crate::{error::GatewayError, guard::Place};

/// What a call is counted as whose caller left before there was an answer: the code that nginx
/// made up for it. Nobody ever reads it from a socket.
pub(crate) const CALLER_LEFT: u16 = 499;

/// The route of a call, and its place in the counters of the route.
///
/// A call that was started ends once: by the first of the words below, or on drop as one that its
/// caller gave up. Nothing else counts as an end, so that calls under way are never off.
pub(crate) struct Counted {
    route: Arc<Route>,
    arrived: Instant,
    /// The code of the answer, as long as the call is under way and is counted by this.
    code: Cell<Option<u16>>,
    /// The code of the answer so far, also of a call that is over.
    told: Cell<u16>,
    /// Its place among the calls under way of all functions, as long.
    place: Cell<Option<Place>>,
}

impl Counted {
    /// Counts nothing before [`Counted::start`]: it may not be a call yet.
    pub(crate) fn new(route: Arc<Route>, arrived: Instant) -> Self {
        Self {
            route,
            arrived,
            code: Cell::new(None),
            told: Cell::new(CALLER_LEFT),
            place: Cell::new(None),
        }
    }

    /// The call has a place, and gives it back at its end.
    pub(crate) fn hold(&self, place: Option<Place>) {
        self.place.set(place);
    }

    /// The call is let in.
    pub(crate) fn start(&self) {
        self.route.counters.start();
        self.code.set(Some(CALLER_LEFT));
    }

    /// The head of an answer is here.
    pub(crate) fn head(&self, code: u16) {
        if self.code.get().is_some() {
            self.code.set(Some(code));
            self.told.set(code);
        }
    }

    /// What the caller was told, or would have been had it stayed.
    pub(crate) fn told(&self) -> u16 {
        self.told.get()
    }

    /// The last byte of an answer is here, as of `now`.
    pub(crate) fn end(&self, now: Instant) {
        self.finish(EndReason::Ok, now);
    }

    /// An answer is here that has no replica behind it, or whose replica counts it to its end.
    pub(crate) fn answered(&self, code: StatusCode) {
        self.head(code.as_u16());
        self.end(Instant::now());
    }

    /// hob answers in place of the function.
    pub(crate) fn refused(&self, error: &GatewayError) {
        self.route.counters.failure();
        self.head(error.status().as_u16());
        self.finish(error.end(), Instant::now());
    }

    /// The rest of the answer will not come.
    pub(crate) fn cut(&self, reason: EndReason) {
        self.route.counters.failure();
        self.finish(reason, Instant::now());
    }

    /// The head of an answer is here, and another counts the call to its end.
    pub(crate) fn hand_over(&self, code: StatusCode) -> Self {
        self.head(code.as_u16());
        Self {
            route: Arc::clone(&self.route),
            arrived: self.arrived,
            code: Cell::new(self.code.take()),
            told: Cell::new(self.told.get()),
            place: Cell::new(self.place.take()),
        }
    }

    fn finish(&self, reason: EndReason, now: Instant) {
        if let Some(code) = self.code.take() {
            let took = now.saturating_duration_since(self.arrived);
            self.route.counters.end(code, took, reason);
            // Who has the answer finds the place free.
            self.place.take();
        }
    }
}

impl Deref for Counted {
    type Target = Arc<Route>;

    fn deref(&self) -> &Arc<Route> {
        &self.route
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.code.get().is_some() {
            self.finish(EndReason::Cancelled, Instant::now());
        }
    }
}
