//! The end of the pool.

use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::{OnClose, Shared, roster::Phase};

/// Takes no more runs, ends those that there are, and leaves no machine running.
pub(super) async fn close(shared: &Arc<Shared>) {
    shared.closing.cancel();
    shared.ended.cancel();
    shared.tasks.close();
    let work = async {
        // Each task of a run ends with its machine stopped, or doomed.
        shared.tasks.wait().await;
        if shared.config.on_close == OnClose::Destroy {
            for phase in [Phase::Free, Phase::Left] {
                for machine in shared.roster.all(phase) {
                    shared.condemn(&machine).await;
                }
            }
        }
        while shared.destroy_doomed().await > 0 {
            sleep(shared.config.pace.destroy).await;
        }
    };
    if timeout(shared.config.pace.close, work).await.is_err() {
        let left = shared.roster.entries_now();
        let left = left.iter().filter(|entry| entry.phase != Phase::Free);
        let names: Vec<&str> = left.map(|entry| entry.machine.name.as_str()).collect();
        tracing::error!(
            "these machines of Fly could not be stopped or destroyed in {:?}, and may cost until hob starts again: {}",
            shared.config.pace.close,
            names.join(", ")
        );
    }
}
