//! Times in JSON, as people and other programs read them: `2026-11-22T14:08:03.512Z`, with as many
//! digits as it takes to be exact.
//! For `#[serde(with = "crate::rfc3339")]`.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    // What humantime cannot write is before 1970: a clock that was never set.
    let time = (*time).max(SystemTime::UNIX_EPOCH);
    to.collect_str(&humantime::format_rfc3339(time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_rfc3339(&text).map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is no time such as 2026-11-22T14:08:03.512Z"
        ))
    })
}

/// For times that may not have come yet.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serializer, SystemTime};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        #[derive(Deserialize)]
        struct Time(#[serde(with = "super")] SystemTime);
        let time = Option::<Time>::deserialize(from)?;
        Ok(time.map(|Time(time)| time))
    }
}

/// With three digits, always.
pub(crate) mod millis {
    use std::time::SystemTime;

    use serde::Serializer;

    pub(crate) use super::deserialize;

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        let time = (*time).max(SystemTime::UNIX_EPOCH);
        to.collect_str(&humantime::format_rfc3339_millis(time))
    }
}
