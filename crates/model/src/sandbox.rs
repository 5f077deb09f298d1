//! Running once what somebody sent, in a cage that is made for it and destroyed after.

mod counts;
mod end;
mod language;
mod limits;
mod maxima;
mod order;

pub use counts::RunCounts;
pub use end::{RunEnd, RunEvent, RunTimes};
pub use language::{FILE, Language, SCRIPT};
pub use limits::{RunLimits, SandboxLevel};
pub use maxima::RunMaxima;
pub use order::{RunFile, RunOrder};
