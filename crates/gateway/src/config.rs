use std::{num::NonZeroUsize, thread, time::Duration};

use hob_model::{Cors, Rate};
use http::HeaderValue;

use crate::{AccessLog, Proxies, TlsConfig};

/// Sizes and times of the data plane. The defaults suit one small machine.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Threads that accept and forward, each with its own pool of connections. At least 1.
    /// Default: one per core.
    pub threads: usize,
    /// Client connections open at once, over all threads; the next one waits in the listener's
    /// queue until another closes. Default 16,384.
    pub connections: usize,
    /// The same of one caller: an IPv4 address, or the /64 of an IPv6 address; the next one is
    /// closed. Those whom [`hob_model::Bans`] exempts may have as many as they like. Default 256.
    pub connections_per_address: usize,
    /// From the first byte of a request's head (or from the accept) to its last. Default 10 s.
    pub head_timeout: Duration,
    /// How long a client connection stays open without a request, or with a caller who takes no
    /// byte of an answer. Default 60 s.
    pub idle_timeout: Duration,
    /// Largest head of a request or an answer, in bytes, and buffer of a connection while bodies
    /// stream. At least 8,192. Default 64 KiB. A head has at most 100 lines besides.
    pub head_bytes: usize,
    /// How many bytes of a request's body have to come each second, on average. At least 1.
    /// Default 1 KiB.
    pub body_rate: u64,
    /// How far a body may fall behind that. Default 10 s.
    pub body_grace: Duration,
    /// Calls at once on one HTTP/2 connection. Default 128.
    pub streams: u32,
    /// Idle connections kept per replica and thread, by the express lane and besides. Default 128
    /// each.
    pub idle_upstreams: usize,
    /// How long an idle connection to a replica is kept. Default 30 s.
    pub upstream_idle: Duration,
    /// What listeners for TLS need; there are none without it. Default none.
    pub tls: Option<TlsConfig>,
    /// Who may say whose a request is. Default: nobody.
    pub proxies: Proxies,
    /// What all functions together, and those that set nothing, let in.
    pub calls: CallLimits,
    /// What refusals of runs in sandboxes say beside why, as all other answers to them do.
    pub runs: RunFields,
    /// Where each request leaves a line. Default: nowhere.
    pub access_log: Option<AccessLog>,
}

/// How many calls are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls under way at once, over all functions and threads; further ones are refused. Default
    /// 10,000.
    pub calls: usize,
    /// Functions that call each other in one chain. Default 16.
    pub depth: u32,
    /// How often one caller may call a function that sets no rate. Default: as often as it likes.
    pub rate: Option<Rate>,
    /// How often one address may have something run in a sandbox. Default: as often as it likes.
    pub runs: Option<Rate>,
}

/// What each answer to who asks for a run has in its head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFields {
    /// Name of the server, in `Coord`; `None` leaves it out.
    pub coord: Option<HeaderValue>,
    /// Whose web pages may read it; `None` means nobody's.
    pub cors: Option<Cors>,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls: 10_000,
            depth: 16,
            rate: None,
            runs: None,
        }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            threads: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            connections: 16_384,
            connections_per_address: 256,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            head_bytes: 64 << 10,
            body_rate: 1 << 10,
            body_grace: Duration::from_secs(10),
            streams: 128,
            idle_upstreams: 128,
            upstream_idle: Duration::from_secs(30),
            tls: None,
            proxies: Proxies::default(),
            calls: CallLimits::default(),
            runs: RunFields::default(),
            access_log: None,
        }
    }
}
