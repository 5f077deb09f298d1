use std::path::Path;

use hob_model::wire::Status;
use hob_store::{StoreError, check_database, disk};
use rustix::fs::{Access, access};

use super::{Context, Finding, State};
use crate::{client::Client, config::ClientConfig, output};

/// The data directory and the server that uses it.
pub(super) fn examine(config: &ClientConfig, context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.server.is_none() {
        findings.push(data(&config.data));
        findings.extend(room(&config.data));
        findings.extend(database(&config.data));
    }
    findings.push(server(config, context));
    findings
}

fn data(data: &Path) -> Finding {
    let check = "data directory";
    let shown = data.display();
    let existing = nearest_existing(data);
    if !existing.is_dir() {
        return Finding::not(
            State::Broken,
            check,
            format!("{} is not a folder", existing.display()),
            "name another with --data DIR",
        );
    }
    match access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if existing == data => Finding::ok(check, format!("{shown}")),
        Ok(()) => Finding::ok(check, format!("{shown}, made at the first start")),
        Err(error) => Finding::not(
            State::Broken,
            check,
            format!("{} cannot be written ({error})", existing.display()),
            "run as its owner, or name another with --data DIR",
        ),
    }
}

fn room(data: &Path) -> Option<Finding> {
    let check = "disk";
    let free = disk::free(nearest_existing(data))?;
    let detail = format!("{} free for {}", output::bytes(free), data.display());
    Some(if free < disk::FREE_MIN {
        let missing = output::bytes(disk::FREE_MIN - free);
        let cure = format!("nearly full: free {missing} or more");
        Finding::not(State::Limited, check, detail, cure)
    } else {
        Finding::ok(check, detail)
    })
}

/// Reads all of it; nothing when there is none yet.
fn database(data: &Path) -> Option<Finding> {
    let check = "database";
    match check_database(data) {
        Ok(true) => Some(Finding::ok(check, "every page is sound")),
        Ok(false) => None,
        Err(error) => Some(Finding {
            state: match error {
                StoreError::NotADatabase { .. } => State::Broken,
                _ => State::Limited,
            },
            ..Finding::ok(check, error.to_string())
        }),
    }
}

/// The data directory or the folder that it would be made in.
fn nearest_existing(path: &Path) -> &Path {
    let mut above = path.ancestors();
    above
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"))
}

fn server(config: &ClientConfig, context: &Context) -> Finding {
    let check = "server";
    let answer = Client::new(config).and_then(|client| {
        context.wait(async { Ok(client.get::<Status>("/hob/v1/status").await?) })
    });
    match answer {
        Ok(status) => Finding::ok(
            check,
            format!(
                "version {} at {}, metrics {}, isolation {}",
                status.version,
                status.gateway,
                status.metrics.as_deref().unwrap_or("off"),
                status.isolation
            ),
        ),
        // A machine with no server yet is no worse for it.
        Err(error) => Finding {
            state: State::Limited,
            ..Finding::ok(check, format!("{error:#}"))
        },
    }
}
