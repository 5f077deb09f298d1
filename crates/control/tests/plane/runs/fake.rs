use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt, future, stream};
use hob_model::{
    port::{PoolStanding, RunError, Sandboxes, StartedRun},
    sandbox::{Language, RunEvent, RunOrder},
};

/// What the fake pool does with an order.
#[derive(Debug, Clone, Default)]
pub(super) enum Plan {
    /// Says this.
    Say(Vec<RunEvent>),
    /// Says this and then nothing more, without an end.
    Hang(Vec<RunEvent>),
    /// Has it wait in line.
    #[default]
    Wait,
    /// Does not take it.
    Fail(RunError),
}

/// Runs nothing; remembers what was asked, and knows who is still there.
#[derive(Default)]
pub(super) struct FakeSandboxes {
    plan: Mutex<Plan>,
    orders: Mutex<Vec<RunOrder>>,
    present: Arc<AtomicUsize>,
}

/// Somebody who waits or has a run.
struct Presence(Arc<AtomicUsize>);

impl FakeSandboxes {
    pub(super) fn plan(&self, plan: Plan) {
        *self.plan.lock().expect("no panic") = plan;
    }

    /// The last order.
    pub(super) fn order(&self) -> RunOrder {
        let orders = self.orders.lock().expect("no panic");
        orders.last().expect("an order").clone()
    }

    pub(super) fn orders(&self) -> usize {
        self.orders.lock().expect("no panic").len()
    }

    /// Callers that wait or have a run.
    pub(super) fn present(&self) -> usize {
        self.present.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Presence {
        self.present.fetch_add(1, Ordering::SeqCst);
        Presence(Arc::clone(&self.present))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream whose caller counts as there.
struct Watched<S>(
    S,
    #[expect(dead_code, reason = "counts until it is dropped")] Presence,
);

impl<S: Stream + Unpin> Stream for Watched<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

fn language(name: &str, version: &str, aliases: &[&str], file: &str) -> Language {
    Language {
        name: name.into(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        version: version.into(),
        file: file.into(),
        run: vec![name.into(), "{file}".into()],
    }
}

#[async_trait]
impl Sandboxes for FakeSandboxes {
    async fn run(&self, order: RunOrder) -> Result<StartedRun, RunError> {
        let presence = self.enter();
        self.orders.lock().expect("no panic").push(order);
        let plan = self.plan.lock().expect("no panic").clone();
        let (events, hangs) = match plan {
            Plan::Say(events) => (events, false),
            Plan::Hang(events) => (events, true),
            Plan::Wait => future::pending().await,
            Plan::Fail(error) => return Err(error),
        };
        let events = stream::iter(events);
        let events = match hangs {
            true => events.chain(stream::pending()).left_stream(),
            false => events.right_stream(),
        };
        Ok(StartedRun {
            worker: "w7".into(),
            events: Box::pin(Watched(events, presence)),
        })
    }

    fn languages(&self) -> Vec<Language> {
        vec![
            language("bash", "", &["sh"], "main.sh"),
            language("python", "3.11.2", &["py", "python3"], "main.py"),
        ]
    }

    fn standing(&self) -> PoolStanding {
        PoolStanding {
            size: 4,
            ready: 3,
            leased: self.present(),
            waiting: 0,
        }
    }

    async fn close(&self) {}
}
