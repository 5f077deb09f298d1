//! Constant load on several functions in several languages, while faults are injected one after
//! the other.

mod chronicle;
mod client;
mod fault;
mod functions;
mod judge;
mod load;
mod picture;
mod report;
mod sample;
mod stage;

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context, Result};
use hob_testkit::{Hob, has_programs};
use socket2::{Domain, Socket, Type};

use self::{
    fault::Fault,
    functions::{Function, Habit},
    judge::{Class, judge},
    load::Load,
    report::Report,
    sample::{Sample, Span},
    stage::Stage,
};
use crate::run::{Outcome, Run};

/// Connections that may wait while hob is dead.
const BACKLOG: i32 = 4096;

/// Runs it, prints the table and keeps table, data and picture.
///
/// # Errors
/// When it could not be done to its end. A bar that was missed is in the outcome.
///
/// # Panics
/// When hob does not come up, or leaves something behind.
pub fn run(run: &Run) -> Result<Outcome> {
    let functions = Function::all(run.form.slow_builds).into_iter();
    let functions: Vec<_> = functions.filter(|one| has_programs(one.needs())).collect();
    run.tell("calls: deploying");
    let mut stage = Stage::set(run, functions, hob(run)?)?;
    let load = Load::start(stage.hob.address(), &stage.functions)?;
    let began = load.started();
    stage.load = Some(load);
    for fault in Fault::ALL {
        run.tell(&format!("calls: {}", fault.name()));
        let start = Instant::now();
        fault.inject(&mut stage)?;
        let end = Instant::now();
        stage.chronicle.phases.push((fault, Span { start, end }));
    }
    let load = stage.load.take().context("nothing was called")?;
    let samples = load.finish()?;
    let log_bytes = flooded(&stage)?;
    let chronicle = &stage.chronicle;
    let judged = samples.into_iter().map(|call| {
        let class = judge(&call, chronicle);
        (call, class)
    });
    let judged: Vec<(Sample, Class)> = judged.collect();
    let report = Report::new(run, chronicle, &judged, began, log_bytes);
    let table = report.table();
    run.keep("calls", &table, &report)?;
    run.keep_file("calls.svg", &picture::draw(&judged, chronicle, began))?;
    Ok(Outcome {
        table,
        missed: report.missed(),
    })
}

/// A hob whose socket for calls is held by this process, as systemd would: while hob is dead,
/// connections wait there.
fn hob(run: &Run) -> Result<Hob> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG).context("cannot listen")?;
    Ok(Hob::builder(&run.hob).holds("calls", socket.into()).start())
}

/// Bytes of the logs that were flooded.
fn flooded(stage: &Stage<'_>) -> Result<u64> {
    let functions = stage.functions.iter();
    let chatty = functions.filter(|function| function.habit == Habit::Chatty);
    chatty.map(|function| stage.log_size(*function)).sum()
}
