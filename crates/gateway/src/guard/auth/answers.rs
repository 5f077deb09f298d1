use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use hob_model::AddressRange;

use super::{introspection::Active, issuer::sha256};

/// Longest time that it is believed that a token does not hold.
const REFUSED: Duration = Duration::from_secs(5);
/// Longest time that any answer is kept.
const KEPT: Duration = Duration::from_secs(3600);
/// Tokens of one issuer that are known to hold, and known not to. Strangers can make up as many of
/// the latter as they like, so these have a room of their own.
const ACTIVE_MAX: usize = 10_000;
const REFUSED_MAX: usize = 1_000;
/// Questions to one issuer at the same time; more are not asked.
const ASKED_MAX: usize = 64;
/// The same for one caller: an address, or a network of IPv6.
const OWN_MAX: usize = 8;

/// A token is known here by its hash only.
type Hash = [u8; 32];
type Asking = Shared<BoxFuture<'static, Option<()>>>;

/// What an issuer has said lately, of which token.
#[derive(Default)]
pub(super) struct Answers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    active: HashMap<Hash, (Arc<Active>, Instant)>,
    refused: HashMap<Hash, Instant>,
    /// With whoever asked first.
    asked: HashMap<Hash, (Asking, AddressRange)>,
}

// === impl Answers ===

impl Answers {
    /// What is known of a token by an answer that is not older than `cache`: that it does not hold,
    /// or what it is.
    pub(super) fn get(&self, token: &str, cache: Duration) -> Option<Option<Arc<Active>>> {
        let hash = sha256(token.as_bytes());
        let known = lock(&self.0);
        if let Some((active, said)) = known.active.get(&hash)
            && said.elapsed() < cache
            && !is_over(active)
        {
            return Some(Some(Arc::clone(active)));
        }
        let said = known.refused.get(&hash)?;
        (said.elapsed() < REFUSED.min(cache)).then_some(None)
    }

    /// Keeps an answer of now.
    pub(super) fn put(&self, token: &str, answer: Option<Active>) {
        let hash = sha256(token.as_bytes());
        let now = Instant::now();
        let mut known = lock(&self.0);
        match answer {
            Some(active) => {
                known.refused.remove(&hash);
                make_room(&mut known.active, ACTIVE_MAX, |(active, said)| {
                    said.elapsed() < KEPT && !is_over(active)
                });
                known.active.insert(hash, (Arc::new(active), now));
            }
            None => {
                known.active.remove(&hash);
                make_room(&mut known.refused, REFUSED_MAX, |said| {
                    said.elapsed() < REFUSED
                });
                known.refused.insert(hash, now);
            }
        }
    }

    /// Asks `question` of a token for `caller`, or waits for the answer where it is being asked
    /// already.
    pub(super) async fn share(
        &self,
        token: &str,
        caller: AddressRange,
        question: impl Future<Output = Option<()>> + Send + 'static,
    ) -> Option<()> {
        let hash = sha256(token.as_bytes());
        let asking = {
            let mut known = lock(&self.0);
            match known.asked.get(&hash) {
                Some((asking, _)) => asking.clone(),
                None if !known.may_ask(caller) => return None,
                None => {
                    let asking = self.ask(hash, question);
                    known.asked.insert(hash, (asking.clone(), caller));
                    asking
                }
            }
        };
        asking.await
    }

    /// A task of its own: whoever waits for it may go away.
    fn ask(
        &self,
        hash: Hash,
        question: impl Future<Output = Option<()>> + Send + 'static,
    ) -> Asking {
        let done = Done(Arc::clone(&self.0), hash);
        let task = tokio::spawn(async move {
            let _done = done;
            question.await
        });
        task.map(|answer| answer.ok().flatten()).boxed().shared()
    }
}

impl Known {
    /// Whether there is room for a question of `caller`. Else one who makes up tokens would keep all
    /// others from being asked about.
    fn may_ask(&self, caller: AddressRange) -> bool {
        let own = self.asked.values().filter(|(_, first)| *first == caller);
        self.asked.len() < ASKED_MAX && own.count() < OWN_MAX
    }
}

/// Makes room for the next question, also where this one came to nothing.
struct Done(Arc<Mutex<Known>>, Hash);

impl Drop for Done {
    fn drop(&mut self) {
        lock(&self.0).asked.remove(&self.1);
    }
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves room for one more: what does not count any more goes first.
fn make_room<V>(map: &mut HashMap<Hash, V>, most: usize, counts: impl Fn(&V) -> bool) {
    if map.len() >= most {
        map.retain(|_, value| counts(value));
    }
    while map.len() >= most {
        let Some(any) = map.keys().next().copied() else {
            return;
        };
        map.remove(&any);
    }
}

fn is_over(active: &Active) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    active.end.is_some_and(|end| end <= now)
}
