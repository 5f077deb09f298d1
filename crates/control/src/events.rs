use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hob_model::wire::DeployEvent;
use tokio::sync::Notify;

/// Events kept for a reader that lags behind. A build never waits for its reader: past this,
/// the oldest lines go, since the last ones tell why a build failed.
const PENDING: usize = 2_000;

/// The writing end of a deploy's answer. Clones write to the same answer.
#[derive(Clone)]
pub(crate) struct Events(Arc<Shared>);

/// The reading end.
pub(crate) struct EventReader(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    pending: VecDeque<DeployEvent>,
    /// Lines that went since the reader last came.
    lost: usize,
    /// The last event is pending or read, or nobody reads: whatever comes now is for nobody.
    closed: bool,
}

/// An empty answer.
pub(crate) fn channel() -> (Events, EventReader) {
    let shared = Arc::new(Shared::default());
    (Events(Arc::clone(&shared)), EventReader(shared))
}

// === impl Events ===

impl Events {
    /// Adds an event. Never waits.
    pub(crate) fn push(&self, event: DeployEvent) {
        let mut state = self.0.lock();
        if state.closed {
            return;
        }
        if state.pending.len() >= PENDING {
            state.pending.pop_front();
            state.lost += 1;
        }
        state.pending.push_back(event);
        drop(state);
        self.0.changed.notify_one();
    }

    /// Adds the last event.
    pub(crate) fn finish(&self, event: DeployEvent) {
        self.push(event);
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

// === impl EventReader ===

impl EventReader {
    /// The next event; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<DeployEvent> {
        loop {
            {
                let mut state = self.0.lock();
                let lost = std::mem::take(&mut state.lost);
                if lost > 0 {
                    let text =
                        format!("({lost} lines left out: they came faster than they were read)");
                    return Some(DeployEvent::Output { text });
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

impl Drop for EventReader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.pending = VecDeque::new();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
