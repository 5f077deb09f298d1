use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::port::PoolStanding;

/// How busy the sandboxes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxesSummary {
    /// Most of them at once.
    pub size: usize,
    /// Made, and waiting for a run.
    pub ready: usize,
    /// With a run.
    pub leased: usize,
    /// Callers in line.
    pub waiting: usize,
}

impl From<PoolStanding> for SandboxesSummary {
    fn from(standing: PoolStanding) -> Self {
        Self {
            size: standing.size,
            ready: standing.ready,
            leased: standing.leased,
            waiting: standing.waiting,
        }
    }
}
