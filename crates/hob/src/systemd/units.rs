use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
};

use super::Scope;
use crate::exit::Failure;

/// The server.
pub(crate) const SERVICE: &str = "hob.service";
/// Holds the socket for calls.
const CALLS: &str = "hob.socket";
/// Holds the one for Prometheus.
const METRICS: &str = "hob-metrics.socket";
/// Holds the one for calls by TLS.
const TLS: &str = "hob-tls.socket";
/// Holds the one that sends everybody there.
const REDIRECT: &str = "hob-redirect.socket";
/// What begins the line that names the data directory.
const DATA: &str = "RequiresMountsFor=";

/// What a service is to do.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) scope: Scope,
    /// Whether a restart may leave something in the cgroup of the service.
    pub(crate) subgroups: bool,
    /// The executable, absolute.
    pub(crate) executable: &'a Path,
    /// The data directory, absolute.
    pub(crate) data: &'a Path,
    /// More flags of `hob up`.
    pub(crate) flags: &'a [OsString],
    /// Where calls are accepted.
    pub(crate) calls: SocketAddr,
    /// Where Prometheus reads, if anywhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where calls are accepted by TLS, if anywhere.
    pub(crate) tls: Option<SocketAddr>,
    /// Where everybody is sent there, if anywhere.
    pub(crate) redirect: Option<SocketAddr>,
}

/// A file for systemd.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// Every unit that there may be.
pub(crate) fn names() -> [&'static str; 5] {
    [CALLS, METRICS, TLS, REDIRECT, SERVICE]
}

/// The units of a plan, sockets first.
///
/// # Errors
/// When a path or a flag cannot stand in a unit, or a port is none.
pub(crate) fn units(plan: &Plan<'_>) -> anyhow::Result<Vec<Unit>> {
    let mut units = vec![socket(CALLS, "calls", plan.calls)?];
    for (name, purpose, address) in [
        (METRICS, "metrics", plan.metrics),
        (TLS, "tls", plan.tls),
        (REDIRECT, "redirect", plan.redirect),
    ] {
        if let Some(address) = address {
            units.push(socket(name, purpose, address)?);
        }
    }
    let sockets: Vec<_> = units.iter().map(|unit| unit.name).collect();
    let text = service(plan, &sockets.join(" "))?;
    units.push(Unit {
        name: SERVICE,
        text,
    });
    Ok(units)
}

/// The data directory in the text of a service, as it stands there.
pub(crate) fn data_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix(DATA))
}

fn socket(name: &'static str, purpose: &str, address: SocketAddr) -> anyhow::Result<Unit> {
    if address.port() == 0 {
        let message = format!("a service needs a port that stays the same: {address} names none");
        return Err(Failure::usage(message).into());
    }
    let text = format!(
        "\
[Unit]
Description=hob: {purpose}

[Socket]
ListenStream={address}
FileDescriptorName={purpose}
Service={SERVICE}
# The address may come later than this unit.
FreeBind=yes

[Install]
WantedBy=sockets.target
"
    );
    Ok(Unit { name, text })
}

fn service(plan: &Plan<'_>, sockets: &str) -> anyhow::Result<String> {
    // Variables are a matter of command lines alone.
    let data = quoted(plan.data.as_os_str())?.replace("$$", "$");
    let mut command = format!("{} up", quoted(plan.executable.as_os_str())?);
    let mut flag = OsString::from("--data=");
    flag.push(plan.data);
    for flag in std::iter::once(&flag).chain(plan.flags) {
        write!(command, " {}", quoted(flag)?)?;
    }
    let target = match plan.scope {
        Scope::System => "multi-user.target",
        Scope::User => "default.target",
    };
    let ends = ends(plan);
    Ok(format!(
        "\
[Unit]
Description=hob: functions on this machine
After=network.target
{DATA}{data}
# It is tried again for as long as it takes; callers wait meanwhile.
StartLimitIntervalSec=0

[Service]
Type=notify
Sockets={sockets}
ExecStart={command}
Restart=always
RestartSec=500ms
{ends}
# Replicas have cgroups with limits of their own, and one that passes them is hob's to mend.
Delegate=yes
OOMPolicy=continue
LimitNOFILE=524288
TasksMax=infinity

[Install]
WantedBy={target}
"
    ))
}

/// What a restart and a stop do to replicas.
fn ends(plan: &Plan<'_>) -> &'static str {
    match (plan.scope, plan.subgroups) {
        (Scope::System, _) => {
            "\
# A stop (SIGTERM) ends the replicas, a restart leaves them to the next start.
KillMode=process
RestartKillSignal=SIGUSR2"
        }
        (Scope::User, true) => {
            "\
# A stop (SIGTERM) ends the replicas, a restart leaves them to the next start.
KillMode=process
RestartKillSignal=SIGUSR2
# hob and its replicas may not be in one cgroup.
DelegateSubgroup=hob-daemon"
        }
        (Scope::User, false) => {
            "\
# This systemd, older than 254, starts nothing in a cgroup where replicas are left: they end too.
KillMode=mixed"
        }
    }
}

/// A word as unit files have it, with nothing in it that systemd would read as its own.
fn quoted(word: &OsStr) -> anyhow::Result<String> {
    let text = word
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    let Some(text) = text else {
        let message = format!("{} cannot stand in a unit of systemd", word.display());
        return Err(Failure::usage(message).into());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(scope: Scope, subgroups: bool) -> String {
        let flags = ["--registry=true".into()];
        let plan = Plan {
            scope,
            subgroups,
            executable: Path::new("/usr/local/bin/hob"),
            data: Path::new("/var/lib/hob"),
            flags: &flags,
            calls: ([127, 0, 0, 1], 8080).into(),
            metrics: None,
            tls: None,
            redirect: None,
        };
        let mut units = units(&plan).expect("a plan");
        assert_eq!(units.len(), 2);
        units.pop().expect("a service").text
    }

    #[test]
    fn what_ends_replicas_depends_on_what_systemd_can() {
        for (text, keeps) in [
            (plan(Scope::System, false), true),
            (plan(Scope::User, true), true),
            (plan(Scope::User, false), false),
        ] {
            assert_eq!(text.contains("RestartKillSignal=SIGUSR2"), keeps, "{text}");
            assert_eq!(text.contains("KillMode=process"), keeps, "{text}");
        }
        assert!(!plan(Scope::System, true).contains("DelegateSubgroup"));
        let text = plan(Scope::User, true);
        assert!(text.contains("\nDelegateSubgroup=hob-daemon\n"), "{text}");
        assert!(text.contains("\nWantedBy=default.target\n"), "{text}");
        assert_eq!(data_in(&text), Some("/var/lib/hob"));
        let line = "\nExecStart=/usr/local/bin/hob up --data=/var/lib/hob --registry=true\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn words_are_quoted_where_systemd_would_read_more_in_them() {
        let quoted = |word: &str| quoted(OsStr::new(word)).expect("a word");
        assert_eq!(quoted("--data=/var/lib/hob"), "--data=/var/lib/hob");
        assert_eq!(quoted("/a b/100%$"), "\"/a b/100%%$$\"");
        assert_eq!(quoted("a\"\\"), "\"a\\\"\\\\\"");
        assert_eq!(quoted(""), "\"\"");
        assert!(super::quoted(OsStr::new("a\nb")).is_err());
    }
}
