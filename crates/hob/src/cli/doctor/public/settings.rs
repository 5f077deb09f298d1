//! What the configuration file says.

use std::{net::SocketAddr, path::PathBuf};

use hob_model::AddressRange;
use hob_sandbox::network::Subnet;
use toml::{Table, Value};

use super::{Finding, State};
use crate::config::Settings;

/// Least bits of a network whose proxies are trusted: `10.0.0.0/8` is one.
const TRUSTED_BITS: u8 = 8;

pub(super) fn source(settings: &Settings) -> Finding {
    let check = "configuration";
    match &settings.path {
        Some(path) => Finding::ok(check, path.display().to_string()),
        None => Finding::ok(check, "no file: everything is as it comes"),
    }
}

/// All that can be said of tables alone.
pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let tables = &settings.tables;
    let mut findings = Vec::new();
    findings.extend(table(tables, "tls").map(certificates));
    findings.push(registry(tables));
    findings.push(bans(tables));
    findings.push(proxies(tables));
    findings.extend(sandbox(table(tables, "sandbox")));
    findings
}

/// Where TLS is spoken, or whence people are sent there.
pub(super) fn tls_ports(settings: &Settings) -> Vec<u16> {
    let tls = table(&settings.tables, "tls");
    let addresses = ["listen", "redirect"]
        .into_iter()
        .filter_map(|key| tls?.get(key)?.as_str());
    let addresses = addresses.filter_map(|text| text.parse::<SocketAddr>().ok());
    addresses.map(|address| address.port()).collect()
}

/// The files with the keys of the owner's own certificates.
pub(super) fn keys(settings: &Settings) -> Vec<PathBuf> {
    let Some(tls) = table(&settings.tables, "tls") else {
        return Vec::new();
    };
    let files = tls.get("files").and_then(Value::as_array);
    let files = files.into_iter().flatten().filter_map(Value::as_table);
    let tables = std::iter::once(tls).chain(files);
    let keys = tables.filter_map(|table| table.get("key")?.as_str());
    keys.map(PathBuf::from).collect()
}

/// Where functions have networks of their own.
pub(super) fn function_network(settings: &Settings) -> Option<AddressRange> {
    let asked = settings.tables.get("subnet").and_then(Value::as_str);
    let usual = || Subnet::default().to_string();
    asked.map_or_else(usual, str::to_owned).parse().ok()
}

/// Whether all functions have a rate.
pub(super) fn has_rate(settings: &Settings) -> bool {
    let limits = table(&settings.tables, "limits");
    limits.is_some_and(|limits| limits.contains_key("rate"))
}

fn table<'a>(tables: &'a Table, name: &str) -> Option<&'a Table> {
    tables.get(name).and_then(Value::as_table)
}

fn is(table: &Table, key: &str) -> bool {
    table.get(key).and_then(Value::as_bool) == Some(true)
}

fn certificates(tls: &Table) -> Finding {
    let check = "certificate";
    let acme = table(tls, "acme");
    if acme.is_some_and(|acme| is(acme, "staging")) {
        return Finding::not(
            State::Fail,
            check,
            "is one of trial, which nobody trusts",
            "remove `staging` from the table `tls.acme`",
        );
    }
    if acme.is_some() || tls.contains_key("certificate") || tls.contains_key("files") {
        return Finding::ok(check, "of an authority");
    }
    Finding::not(
        State::Warn,
        check,
        "is of hob's own authority, which only those trust whom you tell",
        "add the table `tls.acme` for one that everybody trusts",
    )
}

fn registry(tables: &Table) -> Finding {
    let check = "registry";
    match is(tables, "registry") {
        false => Finding::ok(check, "off"),
        true => Finding::not(
            State::Warn,
            check,
            "takes images under /v2 from who can log in",
            "leave `registry` out unless somebody pushes images here",
        ),
    }
}

fn bans(tables: &Table) -> Finding {
    let check = "bans";
    let bans = table(tables, "bans");
    let off = bans
        .and_then(|bans| bans.get("enabled"))
        .and_then(Value::as_bool)
        == Some(false);
    if off {
        let cure = "remove `enabled = false` from the table `bans`";
        return Finding::not(
            State::Fail,
            check,
            "off: passwords may be guessed for ever",
            cure,
        );
    }
    let never = bans.and_then(|bans| bans.get("never"));
    match widest(never) {
        Some(range) if range.bits() < TRUSTED_BITS => Finding::not(
            State::Warn,
            check,
            format!("`never` has {range}, so that few are left to ban"),
            "name the networks that you know",
        ),
        _ => Finding::ok(check, "on"),
    }
}

fn proxies(tables: &Table) -> Finding {
    let check = "trusted proxies";
    let trusted = table(tables, "proxy").and_then(|proxy| proxy.get("trusted"));
    match widest(trusted) {
        None => Finding::ok(check, "none: a caller's address is that of his connection"),
        Some(range) if range.bits() < TRUSTED_BITS => Finding::not(
            State::Fail,
            check,
            format!("everybody in {range} may say that he is somebody else"),
            "name the addresses of your proxies in `trusted` of the table `proxy`",
        ),
        Some(_) => Finding::ok(check, "named one by one"),
    }
}

/// Whether strangers may have something run, and how far that goes.
fn sandbox(settings: Option<&Table>) -> Vec<Finding> {
    let check = "sandbox";
    let Some(settings) = settings.filter(|settings| is(settings, "enabled")) else {
        return vec![Finding::ok(check, "off")];
    };
    let mut findings = Vec::new();
    findings.push(match (is(settings, "login"), settings.get("rate")) {
        (true, _) => Finding::ok(check, "runs scripts of those who log in"),
        (false, Some(_)) => Finding::ok(check, "runs scripts of everybody, at a rate"),
        (false, None) => Finding::not(
            State::Fail,
            check,
            "runs scripts of everybody who gets here, as many as he likes",
            "set `rate` in the table `sandbox`, as in rate = \"30/1m\", or `login = true`",
        ),
    });
    let level = settings.get("level").and_then(Value::as_str);
    // What other machines make, they choose the level of.
    let elsewhere = ["workers", "fly"]
        .iter()
        .any(|key| settings.contains_key(*key));
    if !is(settings, "login") && !elsewhere && level.is_none_or(|level| level == "container") {
        findings.push(Finding::not(
            State::Warn,
            "sandbox level",
            "container: strangers' programs run on this machine's own kernel",
            "set `level = \"gvisor\"` in the table `sandbox`, or `login = true`",
        ));
    }
    if settings.get("cors").and_then(Value::as_str) == Some("*") {
        findings.push(Finding::not(
            State::Warn,
            "sandbox cors",
            "every web page may have its visitors send scripts here",
            "name the origins of your pages in `cors` of the table `sandbox`",
        ));
    }
    findings
}

/// The largest of a list of networks.
fn widest(networks: Option<&Value>) -> Option<AddressRange> {
    let networks = networks?.as_array()?.iter();
    let ranges = networks.filter_map(|one| one.as_str()?.parse::<AddressRange>().ok());
    ranges.min_by_key(AddressRange::bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str, check: &str) -> State {
        let tables = toml::from_str(text).expect(text);
        let settings = Settings {
            tables,
            ..Settings::default()
        };
        let findings = examine(&settings);
        let finding = findings.iter().find(|finding| finding.check == check);
        finding.expect(check).state
    }

    #[test]
    fn the_level_is_of_sandboxes_of_this_machine() {
        let findings = |more: &str| {
            let text = format!("[sandbox]\nenabled = true\nrate = \"1/1s\"\n{more}");
            let tables: Table = toml::from_str(&text).expect(&text);
            sandbox(table(&tables, "sandbox"))
        };
        let of_level = |more: &str| {
            let findings = findings(more);
            findings.iter().any(|one| one.check == "sandbox level")
        };
        assert!(of_level(""));
        assert!(!of_level("level = \"vm\""));
        assert!(!of_level(
            "[[sandbox.workers]]\nurl = \"http://h\"\nid = \"a\""
        ));
        assert!(!of_level("[sandbox.fly]\napp = \"runs\""));
    }

    #[test]
    fn what_is_left_open_in_the_file_is_found() {
        for (text, check, expected) in [
            ("", "bans", State::Ok),
            ("[bans]\nlogins = 3", "bans", State::Ok),
            ("[bans]\nenabled = false", "bans", State::Fail),
            ("[bans]\nnever = [\"0.0.0.0/0\"]", "bans", State::Warn),
            ("", "sandbox", State::Ok),
            ("[sandbox]\nenabled = true", "sandbox", State::Fail),
            (
                "[sandbox]\nenabled = true\nrate = \"1/1s\"",
                "sandbox",
                State::Ok,
            ),
            (
                "[sandbox]\nenabled = true\nrate = \"1/1s\"",
                "sandbox level",
                State::Warn,
            ),
            (
                "[sandbox]\nenabled = true\nlogin = true",
                "sandbox",
                State::Ok,
            ),
            (
                "[sandbox]\nenabled = true\ncors = \"*\"",
                "sandbox cors",
                State::Warn,
            ),
            ("", "registry", State::Ok),
            ("registry = true", "registry", State::Warn),
            ("", "trusted proxies", State::Ok),
            (
                "[proxy]\ntrusted = [\"10.0.0.0/8\"]",
                "trusted proxies",
                State::Ok,
            ),
            (
                "[proxy]\ntrusted = [\"::1\", \"0.0.0.0/1\"]",
                "trusted proxies",
                State::Fail,
            ),
            (
                "[tls]\nlisten = \"0.0.0.0:443\"\nown = true",
                "certificate",
                State::Warn,
            ),
            ("[tls.acme]\nterms_agreed = true", "certificate", State::Ok),
            ("[tls.acme]\nstaging = true", "certificate", State::Fail),
            (
                "[tls]\ncertificate = \"/a\"\nkey = \"/b\"",
                "certificate",
                State::Ok,
            ),
        ] {
            assert_eq!(state(text, check), expected, "{text}");
        }
    }
}
