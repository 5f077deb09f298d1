//! Certificates that callers do not get, or are not to trust.

use std::time::SystemTime;

use hob_model::wire::{CertificateSource, CertificateSummary};

use super::{Finding, State};

/// One for each that is missing or has ended: nobody gets in by TLS there, or everybody learns to
/// look away.
pub(super) fn examine(certificates: &[CertificateSummary]) -> Vec<Finding> {
    let now = SystemTime::now();
    let found = certificates.iter().filter_map(|one| examine_one(one, now));
    found.collect()
}

fn examine_one(one: &CertificateSummary, now: SystemTime) -> Option<Finding> {
    let hosts = one.hosts.join(", ");
    let what = match one.ends {
        None => "there is none",
        Some(ends) if ends <= now => "has ended",
        Some(_) => return None,
    };
    let because = one.problem.iter().map(|problem| format!(": {problem}"));
    let cure = match (one.source, one.hosts.first(), &one.problem) {
        (CertificateSource::Acme, Some(host), Some(_)) => {
            format!("mend that, and ask again with `hob certificate renew {host}`")
        }
        (CertificateSource::File, ..) => "put a new one in the place of the old".into(),
        _ => "wait a minute, and look at `hob certificate list`".into(),
    };
    Some(Finding::not(
        State::Fail,
        format!("certificate of {hosts}"),
        format!("{what}{}", because.collect::<String>()),
        cure,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_that_nobody_can_use_is_no_small_thing() {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        let one = |ends| CertificateSummary {
            hosts: vec!["a.example.net".into()],
            source: CertificateSource::Acme,
            file: None,
            issuer: None,
            ends,
            renews: None,
            problem: Some("no answer".into()),
        };
        assert_eq!(examine_one(&one(Some(now + day)), now), None);
        for (ends, expected) in [
            (None, "there is none: no answer"),
            (Some(now - day), "has ended"),
        ] {
            let finding = examine_one(&one(ends), now).expect(expected);
            assert_eq!(finding.state, State::Fail);
            assert!(finding.detail.starts_with(expected), "{finding:?}");
            let cure = finding.cure.expect("a cure");
            assert!(cure.contains("renew a.example.net"), "{cure}");
        }
    }
}
