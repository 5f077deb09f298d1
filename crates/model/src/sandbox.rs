//! Running once what somebody sent, in a cage that is made for it and destroyed after.

mod end;
mod headers;
mod language;
mod limits;
mod maxima;
mod order;
mod paths;

pub use end::{RunEnd, RunEvent, RunTimes};
pub use headers::{COORD, RUN_END, WORKER};
pub use language::{BASH, FILE, Language, SCRIPT};
pub use limits::{RunLimits, SandboxLevel};
pub use maxima::RunMaxima;
pub use order::{RunFile, RunOrder};
pub use paths::{EXECUTE_ALIAS, EXECUTE_PATH, RUN_PATH, asks_for_run};
