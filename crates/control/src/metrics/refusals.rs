//! Calls that guards did not let in. Every guard has its value from the start.

use hob_model::{Refusal, Refusals};
use prometheus::Error;

use super::family::{Family, Text, float};

/// Writes all that there is on refused calls.
pub(super) fn write(refusals: &Refusals, text: &mut Text) -> Result<(), Error> {
    let help = "Calls that were not let in, by the guard that refused them.";
    let mut family = Family::counters("hob_refused_total", help);
    for refusal in Refusal::ALL {
        let labels = [("reason", refusal.as_str())];
        family.count(&labels, float(refusals.of(refusal)));
    }
    text.add(family)
}
