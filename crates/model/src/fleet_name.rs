use std::fmt;

use crate::FunctionName;

/// Names the replicas of a function that start, scale and sleep together: a function has those of
/// the revision that answers, and while it has a canary, those of the canary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FleetName {
    /// Whose they are.
    pub function: FunctionName,
    /// Which of its revisions they run.
    pub track: Track,
}

/// Which of a function's revisions is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Track {
    /// The one that answers, and that stays when a canary ends.
    Stable,
    /// The one that has a share of the calls.
    Canary,
}

impl FleetName {
    /// The replicas of the revision that answers.
    pub fn stable(function: &FunctionName) -> Self {
        Self {
            function: function.clone(),
            track: Track::Stable,
        }
    }

    /// Those, and the ones of a canary if there is one.
    pub fn both(function: &FunctionName) -> [Self; 2] {
        [Track::Stable, Track::Canary].map(|track| Self {
            function: function.clone(),
            track,
        })
    }
}

/// For people: the function's name, and whether its canary is meant.
impl fmt::Display for FleetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.track {
            Track::Stable => self.function.fmt(f),
            Track::Canary => write!(f, "{} (canary)", self.function),
        }
    }
}
