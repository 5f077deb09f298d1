//! Work that waits for the disk, away from the threads that must not.

use tokio::task::spawn_blocking;

use crate::ImageError;

/// Does `work` on a thread that may wait; a panic in it goes on in the caller.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and the task that waits here with it.
            Err(_) => std::future::pending().await,
        },
    }
}
