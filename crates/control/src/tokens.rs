//! Tokens: all of them in memory, so that the data plane can ask on every call.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hob_model::{
    TOKEN_PREFIX, Token, Tokens,
    wire::{NewToken, TokenSummary},
};
use hob_store::{
    StoreError, TokenRow,
    clock::{system_time, unix_now},
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::{sync::Mutex, time::sleep};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::Control;

/// Random bytes of a token: as many as a key.
const RANDOM: usize = 32;
/// Characters of its text: of these bytes in base64, after the prefix.
const LENGTH: usize = TOKEN_PREFIX.len() + (RANDOM * 4).div_ceil(3);
/// Most tokens that there may be.
const MOST: usize = 1_000;
/// Longest time that a token may have: ten years and their leap days.
const LONGEST: Duration = Duration::from_secs(3_653 * 24 * 3600);
/// How often it is written down when tokens were last used.
const NOTE: Duration = Duration::from_secs(60);
/// How exactly that is known, in milliseconds: calls of many threads need not all write.
const EXACTLY: i64 = 1_000;

type Hash = [u8; 32];

/// The tokens that there are.
#[derive(Default)]
pub(crate) struct KnownTokens {
    /// By the hash of their text. Finding one takes a time that says something of hashes only, and
    /// nobody can choose those.
    all: ArcSwap<HashMap<Hash, Arc<Known>>>,
    /// Store and memory change together, one change at a time.
    changes: Mutex<()>,
}

struct Known {
    token: Arc<Token>,
    created_at: i64,
    /// Milliseconds since 1970; 0 before the first use.
    used_at: AtomicI64,
    /// What the store has of that.
    noted: AtomicI64,
}

/// Why a token was not made.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// It would let do nothing.
    #[error("token `{0}` has no scope: name at least one, such as functions:read")]
    NoScope(String),
    /// It would end at once, or never.
    #[error("a token lasts from a second to ten years: leave `expires_in` out for one without end")]
    Expiry,
    /// There is one of that name.
    #[error("there is a token `{0}` already: revoke it first, or choose another name")]
    Exists(String),
    /// Too many.
    #[error("there are {MOST} tokens already: revoke those that nobody uses")]
    Full,
    /// The system has no random source.
    #[error("no token can be made: {0}")]
    Random(String),
    /// The disk could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl KnownTokens ===

impl KnownTokens {
    fn put(&self, row: TokenRow) {
        let known = Arc::new(Known::from(&row));
        self.all.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(row.hash, Arc::clone(&known));
            all
        });
    }

    fn remove(&self, name: &str) {
        self.all.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.retain(|_, known| &*known.token.name != name);
            all
        });
    }

    /// What of their uses the store does not have.
    fn unnoted(&self) -> Vec<(Hash, i64)> {
        let all = self.all.load();
        let unnoted = all.iter().filter_map(|(hash, known)| {
            let at = known.used_at.load(Relaxed);
            (at > known.noted.load(Relaxed)).then_some((*hash, at))
        });
        unnoted.collect()
    }

    fn noted(&self, uses: &[(Hash, i64)]) {
        let all = self.all.load();
        for (hash, at) in uses {
            if let Some(known) = all.get(hash) {
                known.noted.store(*at, Relaxed);
            }
        }
    }
}

impl Tokens for KnownTokens {
    fn find(&self, text: &str) -> Option<Arc<Token>> {
        if text.len() != LENGTH || !text.starts_with(TOKEN_PREFIX) {
            return None;
        }
        let all = self.all.load();
        let known = all.get(&hash(text))?;
        let ended = |end: SystemTime| end <= SystemTime::now();
        if known.token.expires.is_some_and(ended) {
            return None;
        }
        let now = unix_now();
        if now - known.used_at.load(Relaxed) >= EXACTLY {
            known.used_at.store(now, Relaxed);
        }
        Some(Arc::clone(&known.token))
    }
}

// === impl Known ===

impl Known {
    fn summary(&self) -> TokenSummary {
        let used_at = self.used_at.load(Relaxed);
        TokenSummary {
            name: self.token.name.to_string(),
            scopes: self.token.scopes.clone(),
            created_at: system_time(self.created_at),
            expires_at: self.token.expires,
            last_used_at: (used_at > 0).then(|| system_time(used_at)),
        }
    }
}

impl From<&TokenRow> for Known {
    fn from(row: &TokenRow) -> Self {
        let used_at = row.used_at.unwrap_or_default();
        Self {
            token: Arc::new(Token {
                name: row.name.as_str().into(),
                scopes: row.scopes.clone(),
                expires: row.expires_at.map(system_time),
            }),
            created_at: row.created_at,
            used_at: AtomicI64::new(used_at),
            noted: AtomicI64::new(used_at),
        }
    }
}

impl Control {
    /// Who bears which token, for the data plane.
    pub fn tokens(&self) -> Arc<dyn Tokens> {
        Arc::clone(&self.tokens) as _
    }

    /// All tokens, by name, those that have ended too.
    pub(crate) fn list_tokens(&self) -> Vec<TokenSummary> {
        let all = self.tokens.all.load();
        let mut all: Vec<_> = all.values().map(|known| known.summary()).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Makes a token; its text is nowhere but in the answer.
    pub(crate) async fn create_token(
        &self,
        asked: NewToken,
    ) -> Result<(Zeroizing<String>, TokenSummary), TokenError> {
        let name = asked.name.to_string();
        if asked.scopes.is_empty() {
            return Err(TokenError::NoScope(name));
        }
        let span = asked.expires_in.map(|span| span.0);
        if span.is_some_and(|span| !(Duration::from_secs(1)..=LONGEST).contains(&span)) {
            return Err(TokenError::Expiry);
        }
        let text = draw()?;
        let mut scopes = asked.scopes;
        scopes.sort();
        scopes.dedup();
        let created_at = unix_now();
        let row = TokenRow {
            name,
            hash: hash(&text),
            scopes,
            created_at,
            // Ten years of milliseconds fit.
            expires_at: span.map(|span| created_at + span.as_millis() as i64),
            used_at: None,
        };
        let _change = self.tokens.changes.lock().await;
        if self.tokens.all.load().len() >= MOST {
            return Err(TokenError::Full);
        }
        let stored = row.clone();
        if !self.stored(move |store| store.add_token(&stored)).await? {
            return Err(TokenError::Exists(row.name));
        }
        let summary = Known::from(&row).summary();
        self.tokens.put(row);
        Ok((text, summary))
    }

    /// Forgets a token: on return nobody comes in with it any more. False when there is none.
    pub(crate) async fn revoke_token(&self, name: String) -> Result<bool, StoreError> {
        let _change = self.tokens.changes.lock().await;
        let gone = name.clone();
        let removed = self.stored(move |store| store.remove_token(&gone)).await?;
        self.tokens.remove(&name);
        Ok(removed)
    }

    /// Learns what tokens there are.
    pub(crate) async fn restore_tokens(&self) -> Result<(), StoreError> {
        let _change = self.tokens.changes.lock().await;
        let rows = self.stored(|store| store.tokens()).await?;
        let all = rows
            .iter()
            .map(|row| (row.hash, Arc::new(Known::from(row))));
        self.tokens.all.store(Arc::new(all.collect()));
        Ok(())
    }

    /// Writes down now and then, and once more at the end, when tokens were last used.
    pub(crate) async fn note_tokens(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                () = sleep(NOTE) => false,
            };
            let uses = self.tokens.unnoted();
            if !uses.is_empty() {
                let written = uses.clone();
                let noted = self.stored(move |store| store.note_token_uses(&written));
                match noted.await {
                    Ok(()) => self.tokens.noted(&uses),
                    Err(error) => {
                        tracing::warn!("the last use of tokens is not written down: {error}");
                    }
                }
            }
            if last {
                return;
            }
        }
    }
}

fn draw() -> Result<Zeroizing<String>, TokenError> {
    let mut random = Zeroizing::new([0_u8; RANDOM]);
    getrandom::fill(random.as_mut()).map_err(|error| TokenError::Random(error.to_string()))?;
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    text.push_str(TOKEN_PREFIX);
    URL_SAFE_NO_PAD.encode_string(&random[..], &mut text);
    Ok(text)
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_256_bits_and_a_prefix_and_is_new_each_time() {
        let (one, two) = (draw().expect("random"), draw().expect("random"));
        assert_ne!(one, two);
        assert_eq!((one.len(), LENGTH), (LENGTH, 47));
        let random = one.strip_prefix(TOKEN_PREFIX).expect("prefix");
        let random = URL_SAFE_NO_PAD.decode(random).expect("base64");
        assert_eq!(random.len(), RANDOM);
    }
}
