use clap::Args;
use hob_model::{
    AsyncPolicy, CageUse, Cors, Network, Settings,
    wire::{CanarySummary, FunctionDetail, Instance, InstanceState, WakePrice},
};

use super::{
    Context,
    list::{is_files, memory, revision, state},
    scale,
    schedule::next_run,
    session::{Session, function_path},
};
use crate::{
    config::ClientArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// Show one function: its settings, its replicas and how the last one ended
#[derive(Debug, Args)]
pub(super) struct Describe {
    /// The function
    name: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Describe {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let (detail, gateway) = context.wait(async {
            let answer = session.client.get(&function_path(&name, "")).await;
            let detail: FunctionDetail = match answer {
                Ok(detail) => detail,
                Err(error) => return Err(session.explain(&name, error).await),
            };
            Ok((detail, session.gateway().await?))
        })?;
        if self.output.output == Format::Json {
            return output::json(&detail);
        }
        let url = format!("{gateway}{}", detail.summary.path);
        print(&detail, url, context.terminal.colour)
    }
}

fn print(detail: &FunctionDetail, url: String, colour: bool) -> anyhow::Result<()> {
    let summary = &detail.summary;
    let mut table = Table::plain();
    table.pair("name", summary.name.to_string());
    table.pair("namespace", summary.name.namespace());
    table.pair("url", url);
    for domain in &summary.domains {
        table.pair("domain", domain.to_string());
    }
    table.pair("state", state(summary.state));
    if let Some(problem) = &detail.problem {
        table.pair("problem", Cell::tinted(problem.as_str(), Tint::Bad));
    }
    table.pair("replicas", scale::present(summary));
    if !is_files(summary) {
        table.pair("scale", scale::in_short(&detail.settings));
        table.pair("memory", memory(summary.memory));
        table.pair("from frozen", price(summary.wakes.frozen.as_ref()));
        table.pair("from stopped", price(summary.wakes.stopped.as_ref()));
    }
    let calls = format!("{}, of which {} failed", summary.calls, summary.failed);
    table.pair("calls", calls);
    table.pair("language", summary.language.as_str());
    if let Some(image) = &detail.image {
        table.pair("image", image.name.as_str());
        table.pair("manifest", image.manifest.as_str());
    }
    table.pair(
        "revision",
        revision(summary.revision_number, &summary.revision),
    );
    if let Some(canary) = &summary.canary {
        self::canary(&mut table, canary);
    }
    table.pair(
        "updated",
        format!("{} ago", output::age(summary.updated_at)),
    );
    table.pair("created", format!("{} ago", output::age(detail.created_at)));
    for schedule in &detail.schedules {
        let (cron, zone) = (&schedule.schedule, &schedule.zone);
        table.pair(
            "schedule",
            format!("{cron} ({zone}), {}", next_run(schedule)),
        );
    }
    settings(&mut table, &detail.settings);
    if let Some(end) = &detail.last_end {
        table.pair("last end", Cell::tinted(end.to_string(), Tint::Odd));
    }
    table.print(colour)?;
    if !detail.instances.is_empty() {
        output::line("")?;
        instances(&detail.instances).print(colour)?;
    }
    Ok(())
}

/// What it cost to wake it: "woke in 0.6 ms (12 times, the last in 0.7 ms)".
fn price(price: Option<&WakePrice>) -> String {
    let Some(price) = price else {
        return "not measured yet".into();
    };
    let typical = output::millis(price.typical_millis);
    let times = match price.count {
        1 => "once".to_owned(),
        count => format!(
            "{count} times, the last in {}",
            output::millis(price.last_millis)
        ),
    };
    format!("woke in {typical} ({times})")
}

fn canary(table: &mut Table, canary: &CanarySummary) {
    let which = revision(canary.revision_number, &canary.revision);
    let (share, calls, failed) = (canary.share, canary.calls, canary.failed);
    table.pair(
        "canary",
        format!("revision {which}, {share} of the calls, {calls} calls, {failed} failed"),
    );
    table.pair("canary state", state(canary.state));
    if let Some(end) = &canary.last_end {
        table.pair("canary end", Cell::tinted(end.to_string(), Tint::Odd));
    }
}

fn settings(table: &mut Table, settings: &Settings) {
    table.pair("timeout", settings.timeout.to_string());
    table.pair("freeze", settings.freeze.to_string());
    table.pair("idle", settings.idle.to_string());
    if let Some(prewake) = settings.prewake {
        table.pair("prewake", prewake.to_string());
    }
    let limits = &settings.limits;
    table.pair(
        "limits",
        format!(
            "memory {}, cpu {}, pids {}, tmp {}, files {}, body {}, output {}",
            limits.memory,
            limits.cpu,
            limits.pids,
            limits.tmp,
            limits.files,
            limits.body,
            limits.output
        ),
    );
    let later = &settings.asynchronous;
    if *later != AsyncPolicy::default() {
        let (at_once, attempts) = (later.concurrency, later.attempts);
        table.pair("async", format!("{at_once} at a time, {attempts} attempts"));
    }
    if let Some(isolation) = settings.isolation {
        table.pair("isolation", isolation.as_str());
    }
    if settings.sandbox != CageUse::Shared {
        table.pair("sandbox", settings.sandbox.as_str());
    }
    if settings.network == Network::None {
        table.pair("network", "none");
    }
    if let Some(runtime) = &settings.runtime {
        table.pair("runtime", runtime.as_str());
    }
    match &settings.cors {
        Some(Cors::Any) => table.pair("cors", "*"),
        Some(Cors::Origins(origins)) => table.pair("cors", origins.join(", ")),
        None => {}
    }
    if let Some(auth) = settings.auth.kind() {
        table.pair("auth", auth);
    }
    if !settings.secrets.is_empty() {
        let names: Vec<&str> = settings.secrets.iter().map(|name| name.as_str()).collect();
        table.pair("secrets", names.join(", "));
    }
    for (key, value) in &settings.env {
        table.pair("env", format!("{key}={value}"));
    }
}

fn instances(instances: &[Instance]) -> Table {
    let mut table = Table::with_head([
        "REPLICA",
        "STATE",
        "PID",
        "MEMORY",
        "CALLS NOW",
        "REVISION",
        "AGE",
    ]);
    for instance in instances {
        let state = match instance.state {
            InstanceState::Starting => Cell::tinted("starting", Tint::Odd),
            InstanceState::Ready => Cell::tinted("ready", Tint::Good),
            InstanceState::Frozen => Cell::tinted("frozen", Tint::Dim),
            InstanceState::Draining => Cell::tinted("draining", Tint::Dim),
        };
        table.row([
            instance.id.to_string().into(),
            state,
            instance.pid.to_string().into(),
            memory(instance.memory).into(),
            instance.in_flight.to_string().into(),
            output::short_digest(&instance.revision).into(),
            output::age(instance.started_at).into(),
        ]);
    }
    table
}
