//! `[sandbox.fly]`: machines of Fly that are rented for runs.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use hob_engine::pool::{Guest, OnClose, PoolName, Protocol, Reuse};
use hob_model::{Memory, Timespan};
use serde::Deserialize;

use super::limits::within;

/// Inside Fly's private network.
const API: &str = "http://_api.internal:4280";
/// Where hob's workers listen, and those of bfaas.
const PORT: u16 = 8001;
const KINDS: [&str; 2] = ["shared", "performance"];
const CPUS: RangeInclusive<u32> = 1..=16;
/// Fly makes machines of 256 MiB and more.
const MEMORIES: RangeInclusive<Memory> = Memory(256 << 20)..=Memory(128 << 30);
const MEBIBYTE: u64 = 1 << 20;
/// Longest lease that may be asked for.
const LONGEST_LEASE: Timespan = Timespan::from_secs(24 * 3600);
const LEASE: Duration = Duration::from_secs(300);
/// Longest name of an app, a region or an image.
const LONGEST: usize = 255;

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    app: String,
    image: String,
    region: String,
    token_file: Option<PathBuf>,
    #[serde(default = "api")]
    api: String,
    workers: Option<String>,
    pool: Option<String>,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default = "port")]
    port: u16,
    #[serde(default = "cpu_kind")]
    cpu_kind: String,
    cpus: Option<u32>,
    memory: Option<Memory>,
    lease: Option<Timespan>,
    reuse: Option<bool>,
    #[serde(default)]
    close: Close,
}

/// What becomes of the machines when the server stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Close {
    #[default]
    Stop,
    Destroy,
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct FlyTable {
    /// The app that has nothing but workers.
    pub(crate) app: String,
    /// What machines run.
    pub(crate) image: String,
    /// Where they are.
    pub(crate) region: String,
    /// File with the token; `None` takes it from the environment.
    pub(crate) token_file: Option<PathBuf>,
    /// Address of the Machines API.
    pub(crate) api: String,
    /// Where the workers are reached.
    pub(crate) workers: String,
    /// Name of the pool; `None` makes one of the machine's.
    pub(crate) pool: Option<PoolName>,
    /// What the workers speak.
    pub(crate) protocol: Protocol,
    /// Where they listen in their machines.
    pub(crate) port: u16,
    /// Size of each machine.
    pub(crate) guest: Guest,
    /// How long a machine is leased at a time; `None` suits the longest run.
    pub(crate) lease: Option<Duration>,
    /// What becomes of a machine after its run.
    pub(crate) reuse: Reuse,
    /// What becomes of all when the server stops.
    pub(crate) on_close: OnClose,
}

impl FlyTable {
    /// How long a machine is leased, if runs take up to `time`.
    pub(crate) fn lease(&self, time: Duration) -> Duration {
        // Two runs, with starts and stops.
        self.lease.unwrap_or(LEASE + 2 * time)
    }
}

impl TryFrom<Written> for FlyTable {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        check_name("app", &written.app)?;
        check_name("region", &written.region)?;
        let image = &written.image;
        if image.is_empty() || image.len() > LONGEST || !image.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(format!(
                "sandbox.fly.image `{image}` is invalid: name one, as in registry.fly.io/APP:TAG"
            ));
        }
        if written
            .token_file
            .as_ref()
            .is_some_and(|path| !path.is_absolute())
        {
            return Err(
                "sandbox.fly.token_file must be a whole path, as in /etc/hob/fly.token".into(),
            );
        }
        if written.port == 0 {
            return Err("sandbox.fly.port must be 1 to 65535".into());
        }
        let workers = written.workers;
        let workers = workers.unwrap_or_else(|| format!("http://{}.flycast", written.app));
        for (key, address) in [("api", &written.api), ("workers", &workers)] {
            check_address(key, address)?;
        }
        let pool = written.pool.map(|name| name.parse::<PoolName>());
        let pool = pool.transpose();
        let reuse = written.reuse.unwrap_or(written.protocol == Protocol::Hob);
        let lease = written.lease.map(|lease| {
            let range = Timespan(LEASE / 5)..=LONGEST_LEASE;
            within("fly.lease", Some(lease), lease, &range)
        });
        Ok(Self {
            guest: guest(&written.cpu_kind, written.cpus, written.memory)?,
            app: written.app,
            image: written.image,
            region: written.region,
            token_file: written.token_file,
            api: written.api,
            workers,
            pool: pool.map_err(|error| format!("sandbox.fly.pool: {error}"))?,
            protocol: written.protocol,
            port: written.port,
            lease: lease.transpose()?.map(|lease| lease.0),
            reuse: if reuse { Reuse::Stopped } else { Reuse::Never },
            on_close: match written.close {
                Close::Stop => OnClose::Stop,
                Close::Destroy => OnClose::Destroy,
            },
        })
    }
}

fn guest(kind: &str, cpus: Option<u32>, memory: Option<Memory>) -> Result<Guest, String> {
    if !KINDS.contains(&kind) {
        return Err(format!(
            "sandbox.fly.cpu_kind `{kind}` is unknown: use `shared` or `performance`"
        ));
    }
    let memory = within("fly.memory", memory, *MEMORIES.start(), &MEMORIES)?;
    if memory.0 % (256 * MEBIBYTE) != 0 {
        return Err("sandbox.fly.memory must be a multiple of 256Mi".into());
    }
    Ok(Guest {
        kind: kind.to_owned(),
        cpus: within("fly.cpus", cpus, *CPUS.start(), &CPUS)?,
        memory: u32::try_from(memory.0 / MEBIBYTE).unwrap_or(u32::MAX),
    })
}

/// It stands in paths and in a host's name.
fn check_name(key: &str, name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(fits) {
        return Err(format!(
            "sandbox.fly.{key} `{name}` is invalid: use lower-case letters, digits and `-`"
        ));
    }
    Ok(())
}

fn check_address(key: &str, address: &str) -> Result<(), String> {
    let uri: Option<http::Uri> = address.parse().ok();
    let good = uri.is_some_and(|uri| {
        [Some("http"), Some("https")].contains(&uri.scheme_str())
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path_and_query().is_none_or(|path| path == "/")
    });
    if good {
        return Ok(());
    }
    Err(format!(
        "sandbox.fly.{key} `{address}` is invalid: write http://HOST:PORT or https://HOST"
    ))
}

fn api() -> String {
    API.into()
}

fn port() -> u16 {
    PORT
}

fn cpu_kind() -> String {
    KINDS[0].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "app = \"runs\"\nimage = \"registry.fly.io/runs:1\"\nregion = \"fra\"\n";

    fn read(more: &str) -> Result<FlyTable, String> {
        let text = format!("{LEAST}{more}");
        toml::from_str(&text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn three_settings_are_enough() {
        let table = read("").expect("valid");
        assert_eq!(table.api, API);
        assert_eq!(table.workers, "http://runs.flycast");
        assert_eq!((table.port, table.guest.memory), (8001, 256));
        assert_eq!(
            table.lease(Duration::from_secs(10)),
            Duration::from_secs(320)
        );
        assert_eq!(
            (table.reuse, table.on_close),
            (Reuse::Stopped, OnClose::Stop)
        );
        for missing in ["app", "image", "region"] {
            let lines = LEAST.lines().filter(|line| !line.starts_with(missing));
            let text = lines.collect::<Vec<_>>().join("\n");
            let error = toml::from_str::<FlyTable>(&text).expect_err(missing);
            assert!(error.message().contains(missing), "{error}");
        }
    }

    #[test]
    fn a_script_that_is_root_in_its_machine_has_it_destroyed_unless_the_owner_says_otherwise() {
        let bfaas = "protocol = \"bfaas\"\n";
        assert_eq!(read(bfaas).expect("valid").reuse, Reuse::Never);
        let reused = read(&format!("{bfaas}reuse = true")).expect("valid");
        assert_eq!(reused.reuse, Reuse::Stopped);
        assert_eq!(read("reuse = false").expect("valid").reuse, Reuse::Never);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (more, expected) in [
            ("tokenfile = \"x\"", "unknown field `tokenfile`"),
            (
                "token_file = \"x\"",
                "sandbox.fly.token_file must be a whole path",
            ),
            (
                "api = \"_api.internal:4280\"",
                "sandbox.fly.api `_api.internal:4280` is invalid",
            ),
            (
                "workers = \"http://h/run\"",
                "sandbox.fly.workers `http://h/run` is invalid",
            ),
            (
                "pool = \"A\"",
                "sandbox.fly.pool: `A` cannot be a pool's name",
            ),
            ("port = 0", "sandbox.fly.port must be 1 to 65535"),
            ("cpus = 17", "sandbox.fly.cpus must be 1 to 16"),
            (
                "cpu_kind = \"fast\"",
                "sandbox.fly.cpu_kind `fast` is unknown",
            ),
            (
                "memory = \"300Mi\"",
                "sandbox.fly.memory must be a multiple of 256Mi",
            ),
            (
                "memory = \"1Mi\"",
                "sandbox.fly.memory must be 256Mi to 128Gi",
            ),
            ("lease = \"2d\"", "sandbox.fly.lease must be 1m to 1d"),
            ("close = \"keep\"", "unknown variant `keep`"),
        ] {
            let error = read(more).expect_err(more);
            assert!(error.contains(expected), "{more}: {error}");
        }
        let text = LEAST.replace("\"runs\"", "\"../runs\"");
        let error = toml::from_str::<FlyTable>(&text).expect_err("app");
        assert!(
            error
                .message()
                .contains("sandbox.fly.app `../runs` is invalid")
        );
    }
}
