use std::{borrow::Cow, cell::RefCell, fmt::Display, sync::Arc};

use axum::{extract::MatchedPath, response::Response};
use hob_store::{AuditRow, clock::unix_now};
use http::{StatusCode, request::Parts};

use super::{
    super::actor::Actor,
    action::{action, target},
};
use crate::{Control, ending::Ending};

/// Longest name of what was changed that is kept, in bytes.
const TARGET_MAX: usize = 256;
/// Whoever has signed a request and is not known otherwise.
const SIGNED: &str = "signed";

tokio::task_local! {
    /// What the request under way changes, as soon as its handler knows.
    static SUBJECT: RefCell<Option<String>>;
}

/// A request that changes something, or tries to.
pub(in crate::api) struct Change {
    action: Cow<'static, str>,
    /// As far as the path says it.
    target: String,
}

/// Says what the request under way changes, for the audit: a handler whose path does not. Never a
/// value.
pub(in crate::api) fn about(name: impl Display) {
    // Elsewhere nobody wants to know.
    let _ = SUBJECT.try_with(|subject| subject.replace(Some(name.to_string())));
}

impl Change {
    /// `None` where nothing is changed.
    pub(in crate::api) fn of(head: &Parts) -> Option<Self> {
        let path = head.extensions.get::<MatchedPath>()?.as_str();
        let asked = head.uri.path();
        let action = action(&head.method, path, asked)?;
        let target = target(path, asked);
        Some(Self { action, target })
    }

    /// Has it made by `work`, and writes down how that went before anybody learns of it.
    pub(in crate::api) async fn made(
        self,
        control: &Arc<Control>,
        actor: Actor,
        work: impl Future<Output = Response>,
    ) -> Response {
        let scope = SUBJECT.scope(RefCell::default(), async {
            let response = work.await;
            (response, SUBJECT.with(RefCell::take))
        });
        let (mut response, subject) = scope.await;
        let change = Self {
            target: subject.unwrap_or(self.target),
            ..self
        };
        match response.extensions_mut().remove::<Ending>() {
            None => change.note(control, &actor, response.status()).await,
            Some(ending) => {
                let held = ending.hold();
                let control = Arc::clone(control);
                tokio::spawn(async move {
                    let status = ending.status().await;
                    change.note(&control, &actor, status).await;
                    drop(held);
                });
            }
        }
        response
    }

    /// Writes down how it went. A change that cannot be written down has been made all the same.
    pub(in crate::api) async fn note(self, control: &Control, actor: &Actor, status: StatusCode) {
        // The route has no such method, and nothing was tried.
        if status == StatusCode::METHOD_NOT_ALLOWED {
            return;
        }
        let who = match &*actor.name {
            // Strangers are calls, but for those who sign; else they could fill the disk.
            "stranger" if status.is_success() => SIGNED,
            "stranger" => return,
            name => name,
        };
        let address = match actor.address {
            Some(address) => address.to_string(),
            None if who.starts_with("local") => "local".to_owned(),
            None => "-".to_owned(),
        };
        let row = AuditRow {
            at: unix_now(),
            who: who.to_owned(),
            address,
            action: self.action.into_owned(),
            target: plain(&self.target),
            status: status.as_u16(),
        };
        tracing::info!(
            "audit who={} from={} action={} target={} status={}",
            row.who,
            row.address,
            row.action,
            row.target,
            row.status
        );
        let written = control.stored(move |store| store.note_change(&row)).await;
        if let Err(error) = written {
            tracing::error!("a change is missing in the audit: {error}");
        }
    }
}

/// On one line and in one word, whoever chose it.
fn plain(target: &str) -> String {
    let end = target.floor_char_boundary(TARGET_MAX);
    let shown = |c: char| {
        if c.is_control() || c.is_whitespace() {
            '?'
        } else {
            c
        }
    };
    target[..end].chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_a_line_of_his_own_into_the_log() {
        assert_eq!(plain("a\naudit who=admin"), "a?audit?who=admin");
        assert_eq!(plain(&"ä".repeat(9_000)).len(), TARGET_MAX);
        assert_eq!(plain(""), "");
    }
}
