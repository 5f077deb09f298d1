use clap::Args;
use hob_model::{
    Scaling, Settings,
    openfaas::Load,
    wire::{FunctionDetail, FunctionSummary, ScaleRequest},
};

use super::{
    Context,
    list::is_files,
    session::{Session, function_path},
};
use crate::{
    config::ClientArgs,
    output::{self, Table},
};

/// Run at least so many replicas of a function; 0 stops it until the next call
#[derive(Debug, Args)]
pub(super) struct Scale {
    /// The function
    name: String,
    /// Replicas wanted; left out, it is shown how many there are, and why
    replicas: Option<u32>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Scale {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let Some(replicas) = self.replicas else {
            let detail: FunctionDetail = context.wait(async {
                match session.client.get(&function_path(&name, "")).await {
                    Ok(detail) => Ok(detail),
                    Err(error) => Err(session.explain(&name, error).await),
                }
            })?;
            return show(&detail, context.terminal.colour);
        };
        let body = serde_json::to_vec(&ScaleRequest { replicas })?;
        let function: FunctionSummary = context.wait(async {
            let path = function_path(&name, "/scale");
            match session.client.post(&path, body).await {
                Ok(function) => Ok(function),
                Err(error) => Err(session.explain(&name, error).await),
            }
        })?;
        let name = &function.name;
        if replicas == 0 {
            return output::line(&format!("{name} is stopped; the next call wakes it"));
        }
        let ready = output::count(function.ready as usize, "replica");
        let why = match function.ready == replicas {
            true => String::new(),
            false => format!(", by its settings and its load: `hob scale {name}` shows them"),
        };
        output::line(&format!("{name} runs {ready}{why}"))
    }
}

fn show(detail: &FunctionDetail, colour: bool) -> anyhow::Result<()> {
    let mut table = Table::plain();
    table.pair("replicas", present(&detail.summary));
    if !is_files(&detail.summary) {
        let scaling = detail.settings.scaling();
        let min = match scaling.min {
            0 => "0, it may sleep".to_owned(),
            some => some.to_string(),
        };
        table.pair("min", min);
        table.pair("max", scaling.most().to_string());
        table.pair("target", target(&scaling));
    }
    table.print(colour)
}

/// `2 ready of 3 wanted`.
pub(super) fn present(summary: &FunctionSummary) -> String {
    if is_files(summary) {
        return "none, hob serves the files itself".into();
    }
    let (ready, wanted) = (summary.ready, summary.replicas);
    match summary.frozen {
        0 => format!("{ready} ready of {wanted} wanted"),
        frozen => format!("{ready} ready and {frozen} frozen of {wanted} wanted"),
    }
}

/// All of it in one line: `0 to 20 replicas, one for 50 calls in flight, fewer after 1m`.
pub(super) fn in_short(settings: &Settings) -> String {
    let scaling = settings.scaling();
    format!(
        "{} to {} replicas, one for {}, fewer after {}",
        scaling.min,
        scaling.most(),
        target(&scaling),
        scaling.window
    )
}

fn target(scaling: &Scaling) -> String {
    let target = scaling.target;
    let s = if target == 1.0 { "" } else { "s" };
    match scaling.load {
        Load::Calls => format!("{target} call{s} in flight"),
        Load::Rate => format!("{target} call{s} a second"),
        Load::Cpu => format!("{target} thousandth{s} of a core"),
        Load::Queue => format!("{target} asynchronous call{s}"),
        Load::Custom => "nothing that hob measures".into(),
    }
}
