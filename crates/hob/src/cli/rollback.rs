use clap::Args;
use hob_model::{
    FunctionName,
    wire::{RevisionSummary, RollbackRequest},
};
use http::Method;

use super::{
    Context,
    deploy::{Deployed, Report, follow, places, revision},
    progress::Progress,
    revisions,
    session::{Session, function_path},
};
use crate::{
    client::full,
    config::ClientArgs,
    exit::Failure,
    output::{self, Format, OutputArgs},
};

/// Characters of a digest that mean a revision, at least.
const SHORTEST_DIGEST: usize = 4;

/// Go back to a revision of a function that ran before, without a build
///
/// With no revision named, the canary ends if there is one. Else the revision becomes the current one again under the number that it has. As for a deploy, what runs
/// answers until the other is ready, and stays when that fails.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The function
    name: String,
    /// Number of the revision, or the beginning of its digest [default: the current one while there is a
    /// canary, else the one before it]
    #[arg(value_name = "REV")]
    revision: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Rollback {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let progress = Progress::new(context.terminal);
        context.wait(async {
            let wanted = match &self.revision {
                Some(text) => Some(meant(text, &name, &revisions::of(&session, &name).await?)?),
                None => None,
            };
            let body = serde_json::to_vec(&RollbackRequest { revision: wanted })?;
            let (done, url) = change(&session, &name, "/rollback", body, &progress).await?;
            if self.output.output == Format::Json {
                return output::json(&Report::of(&done, url));
            }
            let revision = revision(&done.function);
            let url = places(&done.function, &url);
            output::line(&if done.changed {
                let millis = done.millis;
                format!("{name} is back at {url} ({revision}, {millis} ms)")
            } else {
                format!("{name} is there already, live at {url} ({revision})")
            })
        })
    }
}

/// Has another of the function's revisions answer, and follows that to its end; returns where the
/// function is as well.
pub(super) async fn change(
    session: &Session,
    name: &FunctionName,
    verb: &str,
    body: Vec<u8>,
    progress: &Progress,
) -> anyhow::Result<(Deployed, String)> {
    let (path, length) = (function_path(name, verb), body.len() as u64);
    let client = &session.client;
    let answer = client.stream(Method::POST, &path, full(body), Some(length));
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => return Err(session.explain(name, error).await),
    };
    let done = follow(client.lines(answer), progress).await;
    progress.finish();
    let done = done?;
    let url = format!("{}{}", session.gateway().await?, done.function.path);
    Ok((done, url))
}

/// The number of the revision that `text` means.
fn meant(text: &str, name: &FunctionName, kept: &[RevisionSummary]) -> Result<u32, Failure> {
    let by_number = text.parse().ok();
    if let Some(number) = by_number
        && (kept.iter().any(|one| one.number == number) || text.len() < SHORTEST_DIGEST)
    {
        return Ok(number);
    }
    let mut found = kept.iter().filter(|one| one.digest.starts_with(text));
    match found.next() {
        Some(newest) if text.len() >= SHORTEST_DIGEST => {
            // Those of one digest behave alike: the newest does.
            if found.all(|other| other.digest == newest.digest) {
                return Ok(newest.number);
            }
            Err(Failure::failed(format!(
                "`{text}` begins the digests of several revisions: write more of it"
            )))
        }
        _ => Err(Failure::failed(format!(
            "function `{name}` has no revision `{text}`: `hob revisions {name}` shows those that are kept"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use hob_model::wire::RevisionState;

    use super::*;

    fn kept(revisions: &[(u32, &str)]) -> Vec<RevisionSummary> {
        let summary = |&(number, digest): &(u32, &str)| RevisionSummary {
            number,
            digest: digest.into(),
            state: RevisionState::Kept,
            canary: None,
            language: "python".into(),
            image: None,
            built_at: UNIX_EPOCH,
            deployed_at: UNIX_EPOCH,
        };
        revisions.iter().map(summary).collect()
    }

    #[test]
    fn a_revision_is_meant_by_number_or_digest() {
        let name = "hello".parse().expect("valid");
        let kept = kept(&[(4, "1234ab"), (3, "1234cd"), (2, "ffff01"), (1, "1234ab")]);
        for (text, number) in [
            ("3", 3),
            ("7", 7),
            ("1234a", 4),
            ("1234c", 3),
            ("ffff01", 2),
        ] {
            assert_eq!(meant(text, &name, &kept).ok(), Some(number), "{text}");
        }
        for (text, says) in [
            ("1234", "several"),
            ("fff", "no revision `fff`"),
            ("0000", "no revision `0000`"),
        ] {
            let message = meant(text, &name, &kept).expect_err(text).to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
