use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::stream;
use hob_model::{
    port::{EngineError, LogQuery, LogStream},
    wire::LogLine,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{keeper::LogKeeper, reader::LogReader};

/// How soon a follower sees a new line.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same while the last replicas end, whose logs may go right after.
const LOOK_EVERY_AT_THE_END: Duration = Duration::from_millis(5);
/// Blocks of lines that wait for a slow reader; after these, reading waits for it.
const BLOCKS_AHEAD: usize = 2;

/// Where lines come from.
pub(in crate::local) struct Source {
    /// Knows which logs are being written.
    pub(in crate::local) keeper: Arc<LogKeeper>,
    /// The logs of one function.
    pub(in crate::local) folder: PathBuf,
    /// Which replicas still write.
    pub(in crate::local) living: Box<dyn Fn() -> BTreeSet<String> + Send + Sync>,
    /// Cancelled when no new replicas will come.
    pub(in crate::local) closed: CancellationToken,
}

/// What a block of reading gives: the lines, and the reader for the next block.
type Step = io::Result<(Vec<LogLine>, LogReader)>;

/// The lines that `query` asks for. Dropping the stream ends the reading.
pub(in crate::local) fn stream(source: Source, query: LogQuery) -> LogStream {
    let (send, receive) = mpsc::channel(BLOCKS_AHEAD);
    tokio::spawn(async move {
        if let Err(problem) = copy(&source, query, &send).await {
            let folder = source.folder.display();
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
    source: &Source,
    query: LogQuery,
    send: &mpsc::Sender<Result<Vec<LogLine>, EngineError>>,
) -> io::Result<()> {
    let (keeper, folder) = (Arc::clone(&source.keeper), source.folder.clone());
    let follow = query.follow;
    let mut reader = blocking(move || LogReader::new(keeper, folder, &query)).await?;
    loop {
        // Asked before reading: who is not living now has written its last word.
        let closed = source.closed.is_cancelled();
        let living = if follow {
            (source.living)()
        } else {
            BTreeSet::new()
        };
        let is_over = !follow || (closed && living.is_empty());
        let lines;
        (lines, reader) = blocking(move || read(reader, &living)).await?;
        if !lines.is_empty() {
            if send.send(Ok(lines)).await.is_err() {
                return Ok(());
            }
            continue;
        }
        if is_over {
            return Ok(());
        }
        let pause = if closed {
            LOOK_EVERY_AT_THE_END
        } else {
            LOOK_EVERY
        };
        tokio::select! {
            () = send.closed() => return Ok(()),
            () = source.closed.cancelled(), if !closed => {}
            () = sleep(pause) => {}
        }
        reader = blocking(move || {
            let mut reader = reader;
            reader.look_again()?;
            Ok(reader)
        })
        .await?;
    }
}

fn read(mut reader: LogReader, living: &BTreeSet<String>) -> Step {
    let lines = reader.next_lines(living)?;
    Ok((lines, reader))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
