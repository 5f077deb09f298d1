//! What the API says of a machine, and what it is told to make.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Longest identifier of a machine that is believed, in bytes.
const LONGEST_ID: usize = 64;
/// What the pool says of a machine, or Fly adds to it by itself, and what is harmless: with these
/// a machine still runs the image that it is said to run, as it is.
const HARMLESS: [&str; 8] = [
    "auto_destroy",
    "checks",
    "dns",
    "guest",
    "image",
    "metadata",
    "restart",
    "services",
];

/// A machine as the API shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Seen {
    /// Never changes.
    pub(super) id: MachineId,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) state: MachineState,
    #[serde(default)]
    pub(super) region: String,
    /// Of its present version: an update makes another.
    #[serde(default)]
    pub(super) instance_id: String,
    /// RFC 3339.
    #[serde(default)]
    created_at: String,
    /// Of its lease, if the API tells it.
    #[serde(default)]
    pub(super) nonce: Option<String>,
    #[serde(default)]
    config: Value,
}

/// Identifier of a machine, checked so that it can stand in a path and in a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct MachineId(String);

/// What a machine does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MachineState {
    Creating,
    Created,
    Starting,
    Started,
    Stopping,
    Stopped,
    Replacing,
    Destroying,
    Destroyed,
    /// Any other, such as `suspended` or `failed`.
    #[default]
    #[serde(other)]
    Other,
}

/// A lease as the API gives it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Lease {
    /// What proves it.
    pub(super) nonce: String,
    /// Seconds since 1970.
    pub(super) expires_at: u64,
}

/// Size of each machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// `shared` or `performance`.
    pub kind: String,
    /// Processors.
    pub cpus: u32,
    /// MiB.
    pub memory: u32,
}

/// What each machine of the pool is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) image: String,
    pub(super) guest: Guest,
    /// Where the worker listens in it.
    pub(super) port: u16,
    pub(super) pool_id: String,
}

// === impl Recipe ===

impl Recipe {
    /// The body of a request that makes a machine.
    pub(super) fn order(&self, name: &str, region: &str, lease: u64) -> Value {
        json!({
            "config": {
                "init": { "exec": null },
                "metadata": { "pool_id": self.pool_id },
                "services": [{
                    "protocol": "tcp",
                    "internal_port": self.port,
                    "autostop": false,
                    "autostart": false,
                    "min_machines_running": 0,
                    "ports": [{ "port": 80, "handlers": ["http"] }],
                }],
                "image": self.image,
                "auto_destroy": false,
                "restart": { "policy": "no" },
                "guest": {
                    "cpu_kind": self.guest.kind,
                    "cpus": self.guest.cpus,
                    "memory_mb": self.guest.memory,
                },
            },
            "region": region,
            "name": name,
            "skip_launch": false,
            "lease_ttl": lease,
        })
    }

    /// Names what a machine is made of, for the roster: one of another make is not used again.
    pub(super) fn make(&self) -> String {
        let Guest { kind, cpus, memory } = &self.guest;
        format!("{} {kind}-{cpus}-{memory} {}", self.image, self.port)
    }

    /// Whether a machine, once stopped and started, runs the image of this recipe and nothing
    /// beside it. Its metadata says nothing: whoever is in the machine can write there.
    pub(super) fn fits(&self, seen: &Seen) -> bool {
        let Some(config) = seen.config.as_object() else {
            return false;
        };
        let image = config.get("image").and_then(Value::as_str);
        image == Some(&self.image)
            && config
                .iter()
                .all(|(key, value)| HARMLESS.contains(&key.as_str()) || says_nothing(value))
    }
}

/// Whether a value is what is meant where nothing is said, however deep.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

// === impl Seen ===

impl Seen {
    /// When it was made, in seconds since 1970; `None` where that is not told.
    pub(super) fn created(&self) -> Option<u64> {
        let time = humantime::parse_rfc3339(&self.created_at).ok()?;
        Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    /// Whether it says that it is of some pool. That proves nothing, but what does not say so is
    /// perhaps somebody's who never heard of pools.
    pub(super) fn is_of_a_pool(&self) -> bool {
        let id = &self.config["metadata"]["pool_id"];
        id.as_str().is_some_and(|id| !id.is_empty())
    }
}

// === impl MachineState ===

impl MachineState {
    /// Whether there is, or soon will be, nothing of it.
    pub(super) fn is_gone(self) -> bool {
        matches!(self, Self::Destroying | Self::Destroyed)
    }
}

// === impl MachineId ===

impl MachineId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MachineId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match !text.is_empty() && text.len() <= LONGEST_ID && text.bytes().all(fits) {
            true => Ok(Self(text)),
            false => Err("that is no identifier of a machine".into()),
        }
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> Self {
        id.0
    }
}

impl std::fmt::Display for MachineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            image: "registry/worker:1".into(),
            guest: Guest {
                kind: "shared".into(),
                cpus: 1,
                memory: 256,
            },
            port: 8001,
            pool_id: "p//registry/worker:1".into(),
        }
    }

    fn seen(config: Value) -> Seen {
        serde_json::from_value(json!({ "id": "a1", "config": config })).unwrap()
    }

    #[test]
    fn a_machine_fits_by_what_it_runs_and_not_by_its_metadata() {
        let recipe = recipe();
        let order = recipe.order("worker-p-1", "fra", 300);
        let good = order["config"].clone();
        assert!(recipe.fits(&seen(good.clone())));
        let with = |key: &str, value: Value| {
            let mut config = good.clone();
            config[key] = value;
            recipe.fits(&seen(config))
        };
        assert!(with("metadata", json!({ "pool_id": "theirs" })));
        assert!(with("metadata", Value::Null));
        assert!(with("env", json!({})));
        assert!(with("dns", json!({})));
        assert!(with("init", json!({ "exec": null, "tty": false })));
        assert!(!with("image", json!("registry/evil:1")));
        assert!(!with("env", json!({ "LD_PRELOAD": "/x" })));
        assert!(!with("init", json!({ "exec": ["/evil"] })));
        assert!(!with("files", json!([{ "guest_path": "/bin/bash" }])));
        assert!(!with("mounts", json!([{ "volume": "v" }])));
        assert!(!with("something_new", json!(1)));
        assert!(!recipe.fits(&seen(Value::Null)));
    }

    #[test]
    fn an_answer_is_believed_only_so_far() {
        for bad in ["", "../x", "a/b", "a\r\nb", &"a".repeat(65)] {
            let parsed = serde_json::from_value::<Seen>(json!({ "id": bad }));
            assert!(parsed.is_err(), "{bad}");
        }
        let odd = json!({
            "id": "a1", "state": "waking", "created_at": "1970-01-01T00:01:00.5Z", "nonce": null,
        });
        let odd: Seen = serde_json::from_value(odd).unwrap();
        assert_eq!((odd.state, odd.created()), (MachineState::Other, Some(60)));
        assert_eq!(seen(Value::Null).created(), None);
    }
}
