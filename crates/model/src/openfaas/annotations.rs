//! What OpenFaaS's annotations, and hob's own, mean in the words of a manifest.

use std::str::FromStr;

use crate::{AsyncPolicy, CageUse, Manifest, ManifestError, Schedule, Timespan};

/// Names the topics by which a function is called, separated by commas.
const TOPIC: &str = "topic";
/// The topic of the clock.
pub const CRON_TOPIC: &str = "cron-function";
/// When the clock calls; several are separated by `;`.
const SCHEDULE: &str = "schedule";
/// Says what `sandbox` of a `hob.toml` says. hob's own, for clients that can say it by no other way.
const SANDBOX: &str = "hob.sandbox";

impl Manifest {
    /// Takes over what the annotations say, where the manifest's own keys say nothing.
    ///
    /// # Errors
    /// [`ManifestError::Annotation`] names the annotation and what is wrong with it.
    pub(crate) fn heed_annotations(&mut self) -> Result<(), ManifestError> {
        if self.schedule.is_empty() && self.has_cron_topic() {
            self.schedule = self.annotated_schedules()?;
        }
        if self.asynchronous.is_none() {
            self.asynchronous = self.annotated_retries()?;
        }
        if self.sandbox.is_none() {
            self.sandbox = self.annotated::<CageUse>(SANDBOX)?;
        }
        Ok(())
    }

    fn has_cron_topic(&self) -> bool {
        let topics = self.annotations.get(TOPIC);
        topics.is_some_and(|topics| topics.split(',').any(|topic| topic.trim() == CRON_TOPIC))
    }

    fn annotated_schedules(&self) -> Result<Vec<Schedule>, ManifestError> {
        let text = self.annotations.get(SCHEDULE).map_or("", String::as_str);
        let texts = text.split(';').map(str::trim).filter(|one| !one.is_empty());
        let schedules: Vec<_> = texts.map(Schedule::from).collect();
        if schedules.is_empty() {
            return Err(ManifestError::Annotation {
                key: SCHEDULE,
                problem:
                    "is missing: with `topic: cron-function`, write when, such as `*/5 * * * *`"
                        .into(),
            });
        }
        Ok(schedules)
    }

    fn annotated_retries(&self) -> Result<Option<AsyncPolicy>, ManifestError> {
        let mut policy = AsyncPolicy::default();
        if let Some(attempts) = self.annotated::<u32>("com.openfaas.retry.attempts")? {
            // None at all is there to switch retries off.
            policy.attempts = attempts.max(1);
        }
        if let Some(text) = self.annotations.get(CODES) {
            policy.codes = codes(text)?;
        }
        if let Some(wait) = self.annotated::<Timespan>("com.openfaas.retry.min_wait")? {
            policy.min_wait = wait;
            policy.max_wait = policy.max_wait.max(wait);
        }
        if let Some(wait) = self.annotated::<Timespan>("com.openfaas.retry.max_wait")? {
            policy.max_wait = wait;
            policy.min_wait = policy.min_wait.min(wait);
        }
        Ok((!policy.is_default()).then_some(policy))
    }

    fn annotated<T: FromStr<Err: std::fmt::Display>>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, ManifestError> {
        let value = self.annotations.get(key);
        let value = value.map(|text| text.trim().parse());
        value
            .transpose()
            .map_err(|error| ManifestError::Annotation {
                key,
                problem: format!("cannot be read: {error}"),
            })
    }
}

const CODES: &str = "com.openfaas.retry.codes";

fn codes(text: &str) -> Result<Vec<u16>, ManifestError> {
    let texts = text
        .split(',')
        .map(str::trim)
        .filter(|code| !code.is_empty());
    let codes: Result<Vec<u16>, _> = texts.map(str::parse).collect();
    codes.map_err(|_| ManifestError::Annotation {
        key: CODES,
        problem: format!("must be status codes such as `429,502`, not `{text}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(annotations: &[(&str, &str)]) -> Manifest {
        let pairs = annotations.iter();
        Manifest {
            annotations: pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..Manifest::default()
        }
    }

    #[test]
    fn the_documented_annotations_are_heeded() {
        let mut manifest = manifest(&[
            ("topic", "kafka-topic, cron-function"),
            ("schedule", "*/5 * * * * ; CRON_TZ=Asia/Tokyo 0 9 * * *"),
            ("com.openfaas.retry.attempts", "3"),
            ("com.openfaas.retry.codes", "429,502"),
            ("com.openfaas.retry.min_wait", "1s"),
            ("com.openfaas.retry.max_wait", "30s"),
            ("hob.sandbox", "per-call"),
        ]);
        manifest.heed_annotations().expect("valid");
        assert_eq!(manifest.schedule.len(), 2);
        let policy = manifest.asynchronous.expect("set");
        assert_eq!((policy.attempts, policy.codes), (3, vec![429, 502]));
        assert_eq!(policy.max_wait, Timespan::from_secs(30));
        assert_eq!(manifest.sandbox, Some(CageUse::PerCall));
    }

    #[test]
    fn a_schedule_without_the_topic_is_no_schedule() {
        let mut manifest = manifest(&[("schedule", "*/5 * * * *")]);
        manifest.heed_annotations().expect("valid");
        assert!(manifest.schedule.is_empty() && manifest.asynchronous.is_none());
    }

    #[test]
    fn mistakes_name_the_annotation() {
        for (annotations, expected) in [
            (&[("topic", "cron-function")][..], "`schedule` is missing"),
            (
                &[("com.openfaas.retry.attempts", "many")],
                "`com.openfaas.retry.attempts` cannot be read",
            ),
            (&[("com.openfaas.retry.codes", "5xx")], "not `5xx`"),
            (&[("hob.sandbox", "once")], "`hob.sandbox` cannot be read"),
        ] {
            let error = manifest(annotations)
                .heed_annotations()
                .expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
