use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::stream;
use hob_model::{
    port::{EngineError, LogQuery, LogStream},
    wire::LogLine,
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::reader::LogReader;

/// How soon a follower sees a new line.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Blocks of lines that wait for a slow reader; after these, reading waits for it.
const BLOCKS_AHEAD: usize = 2;

/// Tells which replicas still write.
pub(in crate::local) type Living = Arc<dyn Fn() -> BTreeSet<String> + Send + Sync>;

/// What a block of reading gives: the lines, and the reader for the next block.
type Step = io::Result<(Vec<LogLine>, LogReader)>;

/// The lines in `folder` that `query` asks for. Dropping the stream ends the reading.
pub(in crate::local) fn stream(folder: PathBuf, query: LogQuery, living: Living) -> LogStream {
    let (send, receive) = mpsc::channel(BLOCKS_AHEAD);
    tokio::spawn(async move {
        if let Err(problem) = copy(&folder, query, &living, &send).await {
            let folder = folder.display();
            let message = format!("logs in {folder} cannot be read: {problem}");
            // A reader who is gone needs no error.
            let _ = send.send(Err(EngineError::Host(message))).await;
        }
    });
    let blocks = stream::unfold(receive, |mut receive| async {
        let block: Result<Vec<LogLine>, EngineError> = receive.recv().await?;
        let lines: Vec<_> = match block {
            Ok(lines) => lines.into_iter().map(Ok).collect(),
            Err(problem) => vec![Err(problem)],
        };
        Some((stream::iter(lines), receive))
    });
    Box::pin(futures_util::StreamExt::flatten(blocks))
}

async fn copy(
    folder: &Path,
    query: LogQuery,
    living: &Living,
    send: &mpsc::Sender<Result<Vec<LogLine>, EngineError>>,
) -> io::Result<()> {
    let folder = folder.to_owned();
    let mut reader = blocking(move || LogReader::new(folder, query.tail)).await?;
    loop {
        // Asked before reading: who is not living now has written its last word.
        let alive = if query.follow {
            living()
        } else {
            BTreeSet::new()
        };
        let lines;
        (lines, reader) = blocking(move || read(reader, &alive)).await?;
        if !lines.is_empty() {
            if send.send(Ok(lines)).await.is_err() {
                return Ok(());
            }
            continue;
        }
        if !query.follow {
            return Ok(());
        }
        let closed = tokio::time::timeout(LOOK_EVERY, send.closed()).await;
        if closed.is_ok() {
            return Ok(());
        }
        reader = blocking(move || {
            let mut reader = reader;
            reader.look_again()?;
            Ok(reader)
        })
        .await?;
    }
}

fn read(mut reader: LogReader, alive: &BTreeSet<String>) -> Step {
    let mut lines = reader.next_lines()?;
    if lines.is_empty() {
        lines = reader.finish(alive);
    }
    Ok((lines, reader))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
