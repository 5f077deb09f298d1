//! What Prometheus's Alertmanager sends.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::FunctionName;

/// The body of `POST /system/alert`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Alerts {
    /// What those say that say nothing of their own: `firing` or `resolved`.
    #[serde(default)]
    pub status: String,
    /// Each is about one function.
    pub alerts: Option<Vec<Alert>>,
}

/// One alert.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Alert {
    /// `firing` while there are too many calls, `resolved` when that is over.
    pub status: String,
    /// What it is about.
    pub labels: AlertLabels,
}

/// What an alert is about; other labels are passed by.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AlertLabels {
    /// `name.namespace`, as in the metrics.
    #[schema(required, value_type = FunctionName)]
    pub function_name: String,
}
