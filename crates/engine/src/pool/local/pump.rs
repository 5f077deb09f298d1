use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::Stream;
use hob_model::{
    End, EndReason,
    sandbox::{RunEnd, RunEvent, RunTimes},
};
use hob_sandbox::{Alarm, OneShotEnd, Usage};
use tokio::{
    io::unix::AsyncFd, net::unix::pipe::Receiver, sync::mpsc, task::spawn_blocking, time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{run::Run, watch::Watched};

/// Most bytes of one event.
const CHUNK: usize = 32 << 10;
/// Events that wait for their reader; then the program waits.
pub(super) const EVENTS: usize = 4;
/// How long one that was killed may take to be dead.
const DEATH: Duration = Duration::from_secs(5);
/// How long the pipes of the dead may stay open, as in the hands of an OCI runtime that ends too.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the reader of a run that is over may take for one event.
const READER: Duration = Duration::from_secs(60);

/// Carries what a run says to its reader, and clears up after it.
pub(super) struct Pump {
    pub(super) run: Arc<Run>,
    /// Until it is over.
    pub(super) watched: Watched,
    /// Readable when there is news of its end.
    pub(super) news: AsyncFd<OwnedFd>,
    /// Tells when its memory has run out.
    pub(super) alarm: Option<Alarm>,
    pub(super) voices: Voices,
    pub(super) events: mpsc::Sender<RunEvent>,
    /// Of the whole pool.
    pub(super) closing: CancellationToken,
    pub(super) times: RunTimes,
    /// When the program began.
    pub(super) began: Instant,
}

/// The two pipes of a program, and how much more may come of them together.
pub(super) struct Voices {
    pub(super) stdout: Voice,
    pub(super) stderr: Voice,
    pub(super) budget: u64,
    buffer: Vec<u8>,
}

/// One of them; `None` at its end.
pub(super) struct Voice(Option<Receiver>, fn(Vec<u8>) -> RunEvent);

/// What was read of a pipe.
enum Heard {
    /// It was nothing after all.
    Nothing,
    Event(RunEvent),
    /// The last one, if any: there is more than there may be.
    TooMuch(Option<RunEvent>),
}

/// What the reader of a run holds. Dropping it kills the run.
pub(super) struct Events {
    pub(super) run: Arc<Run>,
    pub(super) receiver: mpsc::Receiver<RunEvent>,
}

// === impl Pump ===

impl Pump {
    pub(super) async fn work(mut self) {
        self.carry().await;
        let died = timeout(DEATH, death(&self.news, &self.run)).await.is_ok();
        let lasted = self.began.elapsed();
        let rest = self.drain().await;
        let mut end = self.end(died);
        end.times.run = lasted;
        let tenant = self.run.take();
        drop(self.watched);
        spawn_blocking(move || drop(tenant));
        for event in rest.into_iter().chain([RunEvent::End(end)]) {
            let sent = timeout(READER, self.events.send(event)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Until it is dead or to die.
    async fn carry(&mut self) {
        let run = Arc::clone(&self.run);
        let mut starves = pin!(run.starves(self.alarm.take()));
        loop {
            let heard = async {
                // Not before there is room for it: the program waits for its reader.
                let room = self.events.reserve().await.ok()?;
                Some((room, self.voices.hear().await))
            };
            tokio::select! {
                biased;
                () = death(&self.news, &self.run) => return,
                () = self.run.doomed.cancelled() => return,
                () = &mut starves => return,
                () = self.closing.cancelled() => {
                    self.run.end_by(End::new(EndReason::Cancelled, "hob is stopping"));
                    return;
                }
                () = self.events.closed() => return self.run.abandon(),
                heard = heard => match heard {
                    None => return self.run.abandon(),
                    Some((_, Heard::Nothing)) => {}
                    Some((room, Heard::Event(event))) => room.send(event),
                    Some((room, Heard::TooMuch(last))) => {
                        if let Some(last) = last {
                            room.send(last);
                        }
                        return self.run.flooded();
                    }
                },
            }
        }
    }

    /// What the dead have left in the pipes.
    async fn drain(&mut self) -> VecDeque<RunEvent> {
        let mut rest = VecDeque::new();
        if self.voices.budget == 0 && self.run.doomed.is_cancelled() {
            return rest;
        }
        let all = async {
            while self.voices.is_open() {
                match self.voices.hear().await {
                    Heard::Nothing => {}
                    Heard::Event(event) => rest.push_back(event),
                    Heard::TooMuch(last) => {
                        rest.extend(last);
                        self.run.flooded();
                        return;
                    }
                }
            }
        };
        // Whoever still holds them has nothing more to say.
        let _ = timeout(DRAIN, all).await;
        rest
    }

    fn end(&self, died: bool) -> RunEnd {
        let (own, usage) = match self.run.outcome() {
            Some((Ok(end), usage)) => (end, usage),
            Some((Err(error), usage)) => {
                tracing::warn!(%error, "cannot tell how a run ended");
                (None, usage)
            }
            None => (None, Usage::default()),
        };
        let own = own.unwrap_or_else(|| OneShotEnd {
            code: -1,
            signal: None,
            end: match died {
                true => End::new(EndReason::Host, "nobody can tell how it ended"),
                false => End::new(EndReason::Host, "it was killed and does not die"),
            },
        });
        let (code, signal) = (own.code, own.signal);
        let doom = self.run.reason();
        // It may have ended by itself just before.
        let doom = doom.filter(|doom| doom.end.reason == EndReason::Output || code < 0);
        RunEnd {
            code,
            signal,
            by_deadline: doom.as_ref().is_some_and(|doom| doom.by_deadline),
            end: doom.map_or(own.end, |doom| doom.end),
            times: self.times,
            cpu: usage.cpu,
            memory: usage.memory,
        }
    }
}

/// Waits until a run is dead, and all that it started.
async fn death(news: &AsyncFd<OwnedFd>, run: &Run) {
    while let Ok(mut some) = news.readable().await {
        if run.has_ended() {
            return;
        }
        some.clear_ready();
    }
}

// === impl Voices ===

impl Voices {
    pub(super) fn new(stdout: Voice, stderr: Voice, budget: u64) -> Self {
        Self {
            stdout,
            stderr,
            budget,
            buffer: vec![0; CHUNK],
        }
    }

    fn is_open(&self) -> bool {
        self.stdout.0.is_some() || self.stderr.0.is_some()
    }

    /// Waits for either. Without end when both are at their end. Nothing is lost when the future
    /// is dropped.
    async fn hear(&mut self) -> Heard {
        let read = tokio::select! {
            () = self.stdout.speaks() => self.stdout.read(&mut self.buffer, self.budget),
            () = self.stderr.speaks() => self.stderr.read(&mut self.buffer, self.budget),
        };
        match &read {
            Heard::Nothing => {}
            Heard::Event(event) => self.budget -= length(event),
            Heard::TooMuch(_) => self.budget = 0,
        }
        read
    }
}

// === impl Voice ===

impl Voice {
    pub(super) fn stdout(pipe: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self(receiver(pipe)?, RunEvent::Stdout))
    }

    pub(super) fn stderr(pipe: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self(receiver(pipe)?, RunEvent::Stderr))
    }

    async fn speaks(&self) {
        match &self.0 {
            // An error shows when it is read.
            Some(pipe) => drop(pipe.readable().await),
            None => std::future::pending().await,
        }
    }

    fn read(&mut self, buffer: &mut [u8], budget: u64) -> Heard {
        let Some(pipe) = &self.0 else {
            return Heard::Nothing;
        };
        match pipe.try_read(buffer) {
            Ok(0) => self.0 = None,
            Ok(count) => {
                let allowed = usize::try_from(budget).unwrap_or(usize::MAX).min(count);
                let event = (allowed > 0).then(|| (self.1)(buffer[..allowed].to_vec()));
                return match event {
                    Some(event) if allowed == count => Heard::Event(event),
                    last => Heard::TooMuch(last),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.0 = None,
        }
        Heard::Nothing
    }
}

fn receiver(pipe: Option<OwnedFd>) -> io::Result<Option<Receiver>> {
    pipe.map(Receiver::from_owned_fd).transpose()
}

fn length(event: &RunEvent) -> u64 {
    match event {
        RunEvent::Stdout(bytes) | RunEvent::Stderr(bytes) => bytes.len() as u64,
        RunEvent::End(_) => 0,
    }
}

// === impl Events ===

impl Stream for Events {
    type Item = RunEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RunEvent>> {
        self.receiver.poll_recv(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.run.abandon();
    }
}
