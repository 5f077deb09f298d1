//! What is still open before strangers reach the machine.

mod certificates;
mod files;
mod listening;
mod settings;

use std::net::{IpAddr, SocketAddr};

use hob_model::{
    Auth,
    wire::{CanarySummary, CertificateSummary, FunctionDetail, FunctionSummary, Status},
};

use super::{Context, Finding, State};
use crate::{
    client::Client,
    config::{ClientConfig, Settings},
    output,
};

/// Most functions that are looked at one by one.
const FUNCTIONS_MAX: usize = 1_000;
/// Most of them that a line names.
const NAMED_MAX: usize = 5;

/// Who reaches an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Programs of this machine.
    Machine,
    /// Those of its network, as far as addresses tell.
    Network,
    /// Everybody.
    World,
}

/// What the running server says of itself.
struct Server {
    status: Status,
    functions: Vec<FunctionDetail>,
    certificates: Vec<CertificateSummary>,
}

/// The server of this machine as a stranger would find it: by what it says, and by its settings.
pub(super) fn examine(
    config: &ClientConfig,
    settings: &Settings,
    context: &Context,
) -> Vec<Finding> {
    if let Some(remote) = &config.server {
        // Files and sockets here say nothing of a server elsewhere; what is at the other end of an
        // address, be it this machine's, may be a tunnel.
        return vec![Finding::not(
            State::Fail,
            "server",
            format!("{} is looked at from outside", remote.url),
            "run it on the server's machine, or with `--context local`",
        )];
    }
    let server = Client::new(config).and_then(|client| {
        context.wait(async {
            let status = client.get("/hob/v1/status").await?;
            let functions = functions(&client).await?;
            let certificates = client.get("/hob/v1/certificates").await?;
            Ok(Server {
                status,
                functions,
                certificates,
            })
        })
    });
    let mut findings = vec![settings::source(settings)];
    match &server {
        Ok(server) => {
            findings.extend(doors(&server.status, settings));
            findings.push(isolation(&server.status.isolation));
            let warnings = server.status.warnings.iter();
            findings.extend(warnings.map(|warning| Finding {
                state: State::Warn,
                ..Finding::ok("server", warning.as_str())
            }));
            findings.extend(certificates::examine(&server.certificates));
        }
        Err(error) => findings.push(Finding::not(
            State::Fail,
            "server",
            format!("{error:#}"),
            "start it, and ask again: what it really does is looked at",
        )),
    }
    findings.extend(settings::examine(settings));
    if let Ok(server) = &server {
        findings.push(without_auth(&server.functions));
        findings.push(without_rate(&server.functions, settings));
    }
    findings.extend(files::examine(config, settings));
    findings.extend(clock());
    findings
}

async fn functions(client: &Client) -> anyhow::Result<Vec<FunctionDetail>> {
    let list: Vec<FunctionSummary> = client.get("/hob/v1/functions").await?;
    let mut details = Vec::new();
    for summary in list.iter().take(FUNCTIONS_MAX) {
        let path = format!("/hob/v1/functions/{}", summary.name);
        // One that is removed meanwhile is no matter.
        if let Ok(detail) = client.get(&path).await {
            details.push(detail);
        }
    }
    Ok(details)
}

/// Where the server listens, which may differ from what its settings say now: flags and service
/// managers have their word in it.
fn doors(status: &Status, settings: &Settings) -> Vec<Finding> {
    let gateway = address_of(&status.gateway);
    let scraped = status.metrics.as_deref().and_then(address_of);
    let found = match listening::listening(status.pid) {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::not(
                State::Fail,
                "listening",
                format!("the process {} cannot be looked into ({error})", status.pid),
                "run this on the server's machine, as root or the user who started hob",
            )];
        }
    };
    let functions = settings::function_network(settings);
    let encrypted = settings::tls_ports(settings);
    let mut findings = Vec::new();
    for address in found {
        let port = Some(address.port());
        if functions.is_some_and(|network| network.contains(address.ip())) {
            // Only functions get there.
        } else if port == gateway.map(|gateway| gateway.port()) {
            findings.push(listener(address, !encrypted.is_empty()));
        } else if port == scraped.map(|scraped| scraped.port()) {
            findings.push(metrics(address));
        } else if encrypted.contains(&address.port()) {
            findings.push(Finding::ok("TLS", address.to_string()));
        } else {
            let cure = "`hob doctor --public --config FILE` with the file that the server was started with knows more";
            let detail = format!("{address} is not in the configuration");
            findings.push(Finding::not(State::Warn, "listening", detail, cure));
        }
    }
    findings
}

/// The address in `http://ADDRESS` and `http://ADDRESS/PATH`.
fn address_of(url: &str) -> Option<SocketAddr> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next()?.parse().ok()
}

fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        ip if ip.is_loopback() => Reach::Machine,
        IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() => Reach::Network,
        IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => Reach::Network,
        _ => Reach::World,
    }
}

fn listener(address: SocketAddr, tls: bool) -> Finding {
    let check = "plain HTTP";
    let cure = match tls {
        true => "set `listen = \"127.0.0.1:8080\"`: the table `tls` has an address of its own",
        false => {
            "add the table `tls` (docs/public.md), or set `listen = \"127.0.0.1:8080\"` behind a proxy that speaks TLS"
        }
    };
    let found = |who| format!("{address} takes passwords and calls unencrypted, from {who}");
    match reach(address.ip()) {
        Reach::Machine => Finding::ok(check, format!("{address}, for this machine only")),
        Reach::Network => Finding::not(State::Warn, check, found("its network"), cure),
        Reach::World => Finding::not(State::Fail, check, found("everybody"), cure),
    }
}

fn metrics(address: SocketAddr) -> Finding {
    let check = "metrics";
    let cure = "set `metrics = \"127.0.0.1:8082\"`, or `off`";
    let found = |who| format!("{address} asks {who} for no password");
    match reach(address.ip()) {
        Reach::Machine => Finding::ok(check, format!("{address}, for this machine only")),
        Reach::Network => Finding::not(State::Warn, check, found("its network"), cure),
        Reach::World => Finding::not(State::Fail, check, found("everybody"), cure),
    }
}

fn isolation(level: &str) -> Finding {
    let check = "isolation";
    match level {
        "container" => Finding::ok(check, level),
        weaker => Finding::not(
            State::Warn,
            check,
            format!("{weaker}: a function that is broken into sees more of the machine"),
            "`hob doctor` says what `container` needs here",
        ),
    }
}

fn without_auth(functions: &[FunctionDetail]) -> Finding {
    let check = "functions without auth";
    let open = lacking(
        functions,
        |settings| settings.auth == Auth::None,
        |canary| canary.auth == Auth::None,
    );
    match open.len() {
        0 => Finding::ok(check, "none: each asks who calls"),
        // That is what most functions are for.
        _ => Finding::ok(check, format!("everybody may call {}", names(&open))),
    }
}

fn without_rate(functions: &[FunctionDetail], settings: &Settings) -> Finding {
    let check = "functions without rate";
    let free = lacking(
        functions,
        |settings| settings.rate.is_none(),
        |canary| canary.rate.is_none(),
    );
    if free.is_empty() || settings::has_rate(settings) {
        return Finding::ok(check, "none: each has its own, or the server's");
    }
    Finding::not(
        State::Warn,
        check,
        format!("one caller may keep {} busy", names(&free)),
        "set `rate` in each hob.toml, or `rate` in the table `limits` for all",
    )
}

/// The functions without a guard, and those whose canary has none: it has its own.
fn lacking(
    functions: &[FunctionDetail],
    it: impl Fn(&hob_model::Settings) -> bool,
    canary: impl Fn(&CanarySummary) -> bool,
) -> Vec<String> {
    let lacks = |one: &FunctionDetail| {
        let name = &one.summary.name;
        if it(&one.settings) {
            return Some(name.to_string());
        }
        let its = one.summary.canary.as_ref().filter(|its| canary(its));
        its.map(|_| format!("the canary of {name}"))
    };
    functions.iter().filter_map(lacks).collect()
}

fn names(names: &[String]) -> String {
    let mut text = names[..names.len().min(NAMED_MAX)].join(", ");
    if let Some(more) = names.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {}", output::count(more, "other")));
    }
    text
}

/// Certificates and tokens with an end need the time. Nothing where nobody can tell.
fn clock() -> Option<Finding> {
    let check = "clock";
    let asked = std::process::Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output()
        .ok()?;
    match asked.stdout.trim_ascii() {
        b"yes" => Some(Finding::ok(check, "is kept right")),
        b"no" => Some(Finding::not(
            State::Warn,
            check,
            "nobody keeps it right, and certificates and tokens end by it",
            "`timedatectl set-ntp true`, or install chrony",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        let address = |url: &str| address_of(url).expect(url);
        let state = |url: &str, tls| listener(address(url), tls).state;
        for (url, expected) in [
            ("http://127.0.0.1:8080", State::Ok),
            ("http://[::1]:8080", State::Ok),
            ("http://192.168.1.2:8080", State::Warn),
            ("http://[fd00::2]:8080", State::Warn),
            ("http://0.0.0.0:8080", State::Fail),
            ("http://[::]:80", State::Fail),
            ("http://203.0.113.9:80", State::Fail),
        ] {
            assert_eq!(state(url, false), expected, "{url}");
            assert_eq!(state(url, true), expected, "{url}");
        }
        let open = metrics(address("http://0.0.0.0:8082/metrics"));
        assert_eq!(open.state, State::Fail);
    }
}
