use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Memory, Timespan};

/// How strong a sandbox is, weakest first.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SandboxLevel {
    /// hob's own cage: namespaces, cgroup, no capabilities, a strict list of system calls. The
    /// kernel is the host's.
    #[default]
    Container,
    /// gVisor (`runsc`): a kernel of its own in user space.
    Gvisor,
    /// A virtual machine, made by an OCI runtime such as `krun` or `kata-runtime`.
    Vm,
}

impl SandboxLevel {
    /// Every level, weakest first.
    pub const ALL: [Self; 3] = [Self::Container, Self::Gvisor, Self::Vm];

    /// The word that users write for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Gvisor => "gvisor",
            Self::Vm => "vm",
        }
    }
}

impl fmt::Display for SandboxLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SandboxLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "container" => Ok(Self::Container),
            "gvisor" => Ok(Self::Gvisor),
            "vm" => Ok(Self::Vm),
            other => Err(format!(
                "level `{other}` is unknown: use `container`, `gvisor` or `vm`"
            )),
        }
    }
}

/// What one run may use. In an order each is below the owner's, and absent means the owner's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// From the lease to the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timespan>,
    /// Processor time of all its processes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Timespan>,
    /// Resident memory, page cache and files together, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Bytes of stdout and stderr together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Memory>,
    /// Bytes of files that it may write; they count as memory too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Memory>,
}
