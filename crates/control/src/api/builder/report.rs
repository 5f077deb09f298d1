//! How a build goes, in the words of OpenFaaS's clients.

use std::collections::VecDeque;

use hob_image::ImageRef;
use hob_model::wire::{BuiltImage, ImageEvent};
use serde::Serialize;

use super::super::error::ApiError;
use crate::events::EventReader;

/// Bytes of one line of the log: clients read lines of up to 64 KiB, and JSON may need two letters
/// for one.
const MAX_LINE: usize = 16 << 10;
/// Lines of a log that is sent in one piece; the last ones tell most.
const MAX_LINES: usize = 2_000;

/// One line of the answer, or all of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    log: VecDeque<String>,
    image: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Makes the reports of one build.
pub(super) struct Reports {
    image: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    InProgress,
    Success,
    Failed,
}

// === impl Reports ===

impl Reports {
    /// Of a build of this image.
    pub(super) fn of(image: &ImageRef) -> Self {
        let image = image.to_string();
        Self { image }
    }

    /// Of a build that did not begin, perhaps since nobody knows of what image.
    pub(super) fn refusal(error: &ApiError) -> Report {
        Report {
            log: VecDeque::new(),
            image: String::new(),
            status: Status::Failed,
            error: Some(cut(error.to_string())),
        }
    }

    /// What one event says.
    pub(super) fn one(&self, event: ImageEvent) -> Report {
        let (line, status, error) = match event {
            ImageEvent::Step { text } | ImageEvent::Output { text } => {
                (Some(text), Status::InProgress, None)
            }
            ImageEvent::Done { image, .. } => (Some(summary(&image)), Status::Success, None),
            ImageEvent::Failed { message, .. } => (None, Status::Failed, Some(cut(message))),
        };
        Report {
            log: line.map(cut).into_iter().collect(),
            image: self.image.clone(),
            status,
            error,
        }
    }

    /// What all events say together.
    pub(super) async fn all(&self, mut reader: EventReader<ImageEvent>) -> Report {
        let mut log = VecDeque::new();
        let mut last = None;
        while let Some(event) = reader.next().await {
            let mut report = self.one(event);
            log.append(&mut report.log);
            while log.len() > MAX_LINES {
                log.pop_front();
            }
            last = Some(report);
        }
        // A build always ends with one; without it nobody could say that it worked.
        let last = last.unwrap_or_else(|| Report {
            log: VecDeque::new(),
            image: self.image.clone(),
            status: Status::Failed,
            error: Some("the build ended without a word: see the server's log".into()),
        });
        Report { log, ..last }
    }
}

fn summary(image: &BuiltImage) -> String {
    let pushed = match image.pushed {
        true => format!("pushed, {} bytes sent", image.sent),
        false => "not pushed".to_owned(),
    };
    format!("built {}, {pushed}", image.digest)
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(MAX_LINE);
    text.truncate(end);
    text
}
