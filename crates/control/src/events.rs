use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hob_model::wire::{DeployEvent, Fault, ImageEvent};
use http::StatusCode;
use tokio::sync::Notify;

use crate::ending::Ending;

/// Events kept for a reader that lags behind. A build never waits for its reader: past this,
/// the oldest lines go, since the last ones tell why a build failed.
const PENDING: usize = 2_000;

/// One line of an answer.
pub(crate) trait Event {
    /// A line that says this and nothing else.
    fn output(text: String) -> Self;
    /// How the work went, as the last line of an answer says it.
    fn status(&self) -> StatusCode;
}

/// The writing end of an answer, such as a deploy's. Clones write to the same answer.
pub(crate) struct Events<E = DeployEvent>(Arc<Shared<E>>);

/// The reading end.
pub(crate) struct EventReader<E = DeployEvent>(Arc<Shared<E>>);

struct Shared<E> {
    state: Mutex<State<E>>,
    changed: Notify,
    ending: Ending,
}

struct State<E> {
    pending: VecDeque<E>,
    /// Lines that went since the reader last came.
    lost: usize,
    /// The last event is pending or read, or nobody reads: whatever comes now is for nobody.
    closed: bool,
}

/// An empty answer.
pub(crate) fn channel<E>() -> (Events<E>, EventReader<E>) {
    let state = State {
        pending: VecDeque::new(),
        lost: 0,
        closed: false,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        changed: Notify::new(),
        ending: Ending::default(),
    });
    (Events(Arc::clone(&shared)), EventReader(shared))
}

// === impl Events ===

impl<E> Clone for Events<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Events<E> {
    /// Adds an event. Never waits.
    pub(crate) fn push(&self, event: E) {
        self.add(event, false);
    }

    fn add(&self, event: E, is_last: bool) {
        let mut state = self.0.lock();
        if state.closed {
            return;
        }
        if state.pending.len() >= PENDING {
            state.pending.pop_front();
            state.lost += 1;
        }
        state.pending.push_back(event);
        state.closed = is_last;
        drop(state);
        self.0.changed.notify_one();
    }

    /// Adds the last event.
    pub(crate) fn finish(&self, event: E)
    where
        E: Event,
    {
        self.0.ending.tell(event.status());
        self.add(event, true);
    }
}

// === impl EventReader ===

impl<E: Event> EventReader<E> {
    /// How the work ends.
    pub(crate) fn ending(&self) -> Ending {
        self.0.ending.clone()
    }

    /// The next event; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<E> {
        loop {
            if self.0.is_at_its_end() {
                self.0.ending.free().await;
            }
            {
                let mut state = self.0.lock();
                let lost = std::mem::take(&mut state.lost);
                if lost > 0 {
                    let text =
                        format!("({lost} lines left out: they came faster than they were read)");
                    return Some(E::output(text));
                }
                match state.pending.pop_front() {
                    Some(event) => return Some(event),
                    None if state.closed => return None,
                    None => {}
                }
            }
            self.0.changed.notified().await;
        }
    }
}

impl<E> Drop for EventReader<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.pending = VecDeque::new();
    }
}

impl<E> Shared<E> {
    /// Whether nothing is left but the last event.
    fn is_at_its_end(&self) -> bool {
        let state = self.lock();
        state.closed && state.pending.len() <= 1
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event for DeployEvent {
    fn output(text: String) -> Self {
        Self::Output { text }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Failed { fault, .. } => blamed(*fault),
            _ => StatusCode::OK,
        }
    }
}

impl Event for ImageEvent {
    fn output(text: String) -> Self {
        Self::Output { text }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Failed { fault, .. } => blamed(*fault),
            _ => StatusCode::OK,
        }
    }
}

/// As an answer that could still choose its status would say it.
pub(crate) fn blamed(fault: Fault) -> StatusCode {
    match fault {
        Fault::Caller => StatusCode::BAD_REQUEST,
        Fault::Host => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize) -> DeployEvent {
        DeployEvent::Output {
            text: number.to_string(),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_last_lines_and_is_told_of_the_rest() {
        let (events, mut reader) = channel();
        for number in 0..PENDING + 5 {
            events.push(line(number));
        }
        events.finish(line(9999));
        events.push(line(0));
        let mut read = Vec::new();
        while let Some(event) = reader.next().await {
            read.push(event);
        }
        assert!(matches!(&read[0], DeployEvent::Output { text } if text.starts_with("(6 lines")));
        assert_eq!(read[1], line(6));
        assert_eq!(read.last(), Some(&line(9999)));
        assert_eq!(read.len(), PENDING + 1);
    }

    #[tokio::test]
    async fn nothing_is_kept_for_a_reader_that_left() {
        let (events, reader) = channel();
        drop(reader);
        events.push(line(1));
        assert!(events.0.lock().pending.is_empty());
    }
}
