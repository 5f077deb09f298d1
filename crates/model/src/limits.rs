use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Cpu, Memory};

/// What one replica may use. Every field has a bound; the defaults suit a small web handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Resident memory, page cache and tmpfs together. Default 256 MiB.
    pub memory: Memory,
    /// Processor time per second. Default 1 core.
    pub cpu: Cpu,
    /// Processes and threads. Default 256.
    #[schema(minimum = 4)]
    pub pids: u32,
    /// Size of the private `/tmp`, in bytes; it counts as memory too. Default 64 MiB.
    pub tmp: Memory,
    /// Open file descriptors per process. Default 1,024.
    #[schema(minimum = 16)]
    pub files: u32,
    /// Largest request body, in bytes. Default 2 GiB, since bodies stream through.
    pub body: Memory,
    /// Largest body of an answer, in bytes. Default 2 GiB, since bodies stream through.
    pub output: Memory,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Memory(256 << 20),
            cpu: Cpu(1000),
            pids: 256,
            tmp: Memory(64 << 20),
            files: 1024,
            body: Memory(2 << 30),
            output: Memory(2 << 30),
        }
    }
}

/// How a replica is caged on this machine, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Own process group, rlimits, landlock and seccomp. Sees the host's processes and network.
    Process,
    /// Own namespaces, read-only root, cgroup limits, no capabilities, seccomp.
    Container,
}

impl Isolation {
    /// The word that users write for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Container => "container",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "process" => Ok(Self::Process),
            "container" => Ok(Self::Container),
            other => Err(format!(
                "isolation `{other}` is unknown: use `container` or `process`"
            )),
        }
    }
}
