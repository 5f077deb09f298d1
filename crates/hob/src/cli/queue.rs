//! Asynchronous calls: what waits, what became of it, and what is to be done about it.

mod drop;
mod list;
mod retry;
mod show;

use clap::Subcommand;
use hob_model::{FunctionName, wire::CallPhase};

use super::Context;
use crate::{
    client::quoted,
    output::{Cell, Tint},
};

/// See to asynchronous calls: what waits, what came of them, what failed
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    List(list::List),
    Show(show::Show),
    Retry(retry::Retry),
    Drop(drop::Drop),
}

impl Queue {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Show(verb) => verb.run(context),
            Self::Retry(verb) => verb.run(context),
            Self::Drop(verb) => verb.run(context),
        }
    }
}

/// The path of a call in the API, of one function or of all. Its caller may have named it in any
/// way.
fn call_path(id: &str, rest: &str, function: Option<&FunctionName>) -> String {
    let id = quoted(id).replace('/', "%2F");
    let whose = function.map_or(String::new(), |name| {
        format!("?function={}", quoted(&name.to_string()))
    });
    format!("/hob/v1/calls/{id}{rest}{whose}")
}

/// A state in its colour.
fn state(phase: CallPhase) -> Cell {
    let tint = match phase {
        CallPhase::Done => Tint::Good,
        CallPhase::Running | CallPhase::Callback => Tint::Odd,
        CallPhase::Dead => Tint::Bad,
        CallPhase::Waiting => Tint::Plain,
    };
    Cell::tinted(phase.as_str(), tint)
}
