use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use utoipa::ToSchema;

/// When a function is called by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Table")]
pub struct Schedule {
    /// Five fields as crontab has them: `*/5 * * * *`, or a name such as `@daily`.
    pub cron: String,
    /// Time zone by its IANA name: `Europe/Berlin`. `None` means UTC.
    pub zone: Option<String>,
    /// What becomes of runs that were due while hob was down.
    pub missed: Missed,
}

/// What becomes of the runs of a schedule that were due while hob was down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are left out.
    Skip,
    /// One run makes up for all of them.
    #[default]
    Once,
    /// Each is made up for, the oldest first.
    All,
}

impl Missed {
    /// The word that users write for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// What begins a schedule that names its time zone in front of the five fields.
const ZONE_PREFIXES: [&str; 2] = ["CRON_TZ=", "TZ="];

impl From<&str> for Schedule {
    /// `*/5 * * * *`, or `CRON_TZ=Europe/Berlin 0 9 * * 1-5`.
    fn from(text: &str) -> Self {
        let text = text.trim();
        let zoned = ZONE_PREFIXES.iter().find_map(|prefix| {
            let (zone, cron) = text.strip_prefix(prefix)?.split_once(char::is_whitespace)?;
            Some((zone.to_owned(), cron.trim_start()))
        });
        let (zone, cron) = zoned.map_or((None, text), |(zone, cron)| (Some(zone), cron));
        Self {
            cron: cron.to_owned(),
            zone,
            missed: Missed::default(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "CRON_TZ={zone} {}", self.cron),
            None => f.write_str(&self.cron),
        }
    }
}

/// A schedule as people write it.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Written {
    Text(String),
    Table(#[schema(inline)] Table),
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    cron: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default)]
    #[schema(inline)]
    missed: Missed,
}

impl From<Written> for Schedule {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => text.as_str().into(),
            Written::Table(Table { cron, zone, missed }) => {
                let short = Self::from(cron.as_str());
                Self {
                    cron: short.cron,
                    zone: zone.or(short.zone),
                    missed,
                }
            }
        }
    }
}

impl From<Schedule> for Table {
    fn from(schedule: Schedule) -> Self {
        let Schedule { cron, zone, missed } = schedule;
        Self { cron, zone, missed }
    }
}

/// One, or a list of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(
    dead_code,
    reason = "the shape in the API's document; `one_or_many` reads it"
)]
pub(crate) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

/// Reads one, or a list of them. An untagged enum would not tell what is wrong with the one that is
/// meant.
pub(crate) fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Reader<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text, or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(text.into_deserializer()).map(|one| vec![one])
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(Reader(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_may_stand_in_front() {
        let schedule = Schedule::from("CRON_TZ=Europe/Berlin  0 9 * * 1-5 ");
        assert_eq!(schedule.zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(schedule.cron, "0 9 * * 1-5");
        assert_eq!(Schedule::from(schedule.to_string().as_str()), schedule);
        assert_eq!(Schedule::from("@daily").zone, None);
    }
}
