use std::net::TcpListener;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::{environment::Environment, exit::Failure};

/// What `FileDescriptorName=` in a socket unit calls the socket for Prometheus. Every other name
/// means calls: systemd-socket-activate knows none, and a socket unit's default is its own.
const METRICS: &str = "metrics";
/// The same for calls by TLS, and for those who are sent there.
const TLS: &str = "tls";
const REDIRECT: &str = "redirect";

/// Listening sockets that were passed to this process by the protocol of sd_listen_fds(3). Whoever
/// passed them holds them as well, so that connections wait while there is no hob.
#[derive(Debug, Default)]
pub(crate) struct PassedSockets {
    /// For calls and the control API.
    pub(crate) calls: Option<TcpListener>,
    /// For Prometheus.
    pub(crate) metrics: Option<TcpListener>,
    /// For calls and the control API, by TLS.
    pub(crate) tls: Option<TcpListener>,
    /// Sends everybody there.
    pub(crate) redirect: Option<TcpListener>,
}

// === impl PassedSockets ===

impl PassedSockets {
    /// Takes what there is. No program that this process starts later gets it, or is told of it.
    /// Has to be called before there are threads, since it changes the environment.
    ///
    /// # Errors
    /// One line with the cure, when a socket cannot be used.
    pub(crate) fn take(env: &Environment) -> anyhow::Result<Self> {
        let mut passed = ListenFd::from_env();
        let meant = env.text("LISTEN_PID").and_then(|pid| pid.parse().ok());
        if meant != Some(std::process::id()) {
            // Meant for whoever started this process; the library takes no pid for ours.
            return Ok(Self::default());
        }
        let names = env.text("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').chain(std::iter::repeat(""));
        let mut sockets = Self::default();
        for (index, name) in names.enumerate().take(passed.len()) {
            let taken = passed.take_tcp_listener(index);
            let taken = taken.map_err(|error| unusable(name, &error.to_string()))?;
            let Some(socket) = taken else { continue };
            if !SockRef::from(&socket).is_listener()? {
                return Err(unusable(name, "it does not listen").into());
            }
            sockets.put(name, socket)?;
        }
        Ok(sockets)
    }

    fn put(&mut self, name: &str, socket: TcpListener) -> Result<(), Failure> {
        let (place, purpose) = match name {
            METRICS => (&mut self.metrics, "metrics"),
            TLS => (&mut self.tls, "TLS"),
            REDIRECT => (&mut self.redirect, "the redirect to TLS"),
            _ => (&mut self.calls, "calls"),
        };
        match place.replace(socket) {
            None => Ok(()),
            Some(_) => Err(Failure::failed(format!(
                "systemd passes several sockets for {purpose}, and hob takes one: leave one `ListenStream=` in the unit of `{name}`; the one for Prometheus has `FileDescriptorName={METRICS}`, that for TLS `{TLS}`, that which redirects there `{REDIRECT}`"
            ))),
        }
    }
}

fn unusable(name: &str, why: &str) -> Failure {
    Failure::failed(format!(
        "the socket `{name}` that systemd passes cannot be used: {why}: its unit must have a `ListenStream=` of an IP address and a port, and no `Accept=yes`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_purpose_and_each_has_one_socket() {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut sockets = PassedSockets::default();
        sockets.put("metrics", listen()).expect("the first");
        sockets.put("", listen()).expect("the first");
        let error = sockets.put("calls", listen()).expect_err("the second");
        assert!(error.to_string().contains("several sockets for calls"));
        let error = sockets.put("metrics", listen()).expect_err("the second");
        assert!(error.to_string().contains("several sockets for metrics"));
    }
}
