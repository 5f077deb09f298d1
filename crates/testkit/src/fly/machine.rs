use std::collections::BTreeSet;

use serde_json::{Value, json};

/// A machine that does not exist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FakeMachine {
    /// Given by the fake.
    pub id: String,
    /// As it was asked for.
    pub name: String,
    /// As Fly words it: `created`, `starting`, `started`, `stopping`, `stopped`, `failed`.
    pub state: String,
    /// Where it would be.
    pub region: String,
    /// Its version, given by the fake.
    pub instance: String,
    /// When it was made, in seconds since 1970; 0 for now.
    pub created: u64,
    /// As it was asked for.
    pub config: Value,
    /// Proof of its lease, and when that ends, in seconds since 1970.
    pub lease: Option<(String, u64)>,
    /// Files on its disk, which a start resets to none.
    pub disk: BTreeSet<String>,
    /// Whether its worker has had its only run since it was started.
    pub used: bool,
}

impl FakeMachine {
    /// A stopped one that somebody else made.
    pub fn stopped(name: &str, region: &str, image: &str) -> Self {
        Self {
            name: name.into(),
            state: "stopped".into(),
            region: region.into(),
            config: json!({ "image": image, "metadata": {} }),
            ..Self::default()
        }
    }

    /// What is in its metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.config["metadata"][key].as_str()
    }

    /// Whether it costs.
    pub fn is_running(&self) -> bool {
        ["created", "starting", "started", "stopping"].contains(&self.state.as_str())
    }

    /// What was under way is done when somebody looks.
    pub(super) fn settle(&mut self) {
        let settled = match self.state.as_str() {
            "created" | "starting" => "started",
            "stopping" => "stopped",
            _ => return,
        };
        self.state = settled.into();
    }

    /// Whether somebody with this proof may change it.
    pub(super) fn lets(&self, nonce: Option<&str>, now: u64) -> Result<(), (u16, String)> {
        let lease = self.lease.as_ref().filter(|(_, ends)| *ends > now);
        match (lease, nonce) {
            (None, None) => Ok(()),
            (Some((held, _)), Some(nonce)) if held == nonce => Ok(()),
            // What Fly does with the proof of a lease that is over is not documented.
            (None, Some(_)) => Err((412, "failed_precondition: no such lease".into())),
            (Some((_, ends)), _) => Err((
                409,
                format!(
                    "machine ID {} lease currently held by fake@fly.io, expires at {ends}",
                    self.id
                ),
            )),
        }
    }

    /// As the API shows it, with the proof of its lease or without.
    pub(super) fn show(&self, nonce: bool) -> Value {
        let lease = self.lease.as_ref().filter(|_| nonce);
        json!({
            "nonce": lease.map(|(nonce, _)| nonce),
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "region": self.region,
            "instance_id": self.instance,
            "private_ip": "fdaa:0:0:a7b:1:2:3:2",
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.created),
            "config": self.config,
            "events": [],
        })
    }
}

/// Whole seconds since 1970 as the API writes them.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    // Days to a date, by the method of H. Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_written_as_the_api_does() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_708_569_778), "2024-02-22T02:42:58Z");
    }
}
