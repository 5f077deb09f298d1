//! Who is shut out, and how often that came to bear.

use hob_model::{Bans, TurnedAway};
use prometheus::Error;

use super::family::{Family, Text, float};

pub(super) fn write(bans: &Bans, text: &mut Text) -> Result<(), Error> {
    let mut now = Family::gauges("hob_bans", "Addresses and ranges that are shut out.");
    now.gauge(&[], float(bans.count() as u64));
    text.add(now)?;
    let mut refused = Family::counters(
        "hob_door_refused_total",
        "Connections and requests that were refused at the door: of callers who are banned, and of those who have too many connections.",
    );
    for (reason, why) in [("banned", TurnedAway::Banned), ("crowd", TurnedAway::Crowd)] {
        refused.count(&[("reason", reason)], float(bans.refused(why)));
    }
    text.add(refused)
}
