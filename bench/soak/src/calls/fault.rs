use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    functions::{Function, Habit},
    stage::Stage,
};

/// What is done to a hob whose functions are called all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fault {
    /// Nothing, for comparison.
    Quiet,
    /// Each function is deployed again and again, changed each time.
    Redeploy,
    /// Replicas are killed with SIGKILL.
    Replicas,
    /// hob is killed with SIGKILL and started again.
    Hob,
    /// A function is left alone until it sleeps, and called again.
    Sleep,
    /// A function floods its log.
    Flood,
}

impl Fault {
    /// In the order in which they come.
    pub(super) const ALL: [Self; 6] = [
        Self::Quiet,
        Self::Redeploy,
        Self::Replicas,
        Self::Hob,
        Self::Sleep,
        Self::Flood,
    ];

    /// What it is called in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Redeploy => "redeploys",
            Self::Replicas => "replicas killed",
            Self::Hob => "hob killed",
            Self::Sleep => "sleep and wake",
            Self::Flood => "log flood",
        }
    }

    /// Does it. Returns when it is over and all is as before.
    pub(super) fn inject(self, stage: &mut Stage<'_>) -> Result<()> {
        let form = &stage.run.form;
        match self {
            Self::Quiet => stage.go_on(form.quiet),
            Self::Redeploy => redeploy(stage),
            Self::Replicas => kill_replicas(stage),
            Self::Hob => {
                for _ in 0..form.hob_kills {
                    stage.go_on(form.after_hob_kill)?;
                    stage.kill_hob();
                }
                stage.go_on(form.after_hob_kill)
            }
            Self::Sleep => {
                let load = stage.load.as_ref().context("nothing is called")?;
                load.set_gaps(true);
                stage.go_on(form.sleep)?;
                load.set_gaps(false);
                Ok(())
            }
            Self::Flood => {
                let load = stage.load.as_ref().context("nothing is called")?;
                load.set_flood(true);
                stage.go_on(form.flood)?;
                load.set_flood(false);
                Ok(())
            }
        }
    }
}

/// All but those that are called in their own phase only.
fn called(stage: &Stage<'_>) -> Vec<Function> {
    let functions = stage.functions.iter().copied();
    functions
        .filter(|function| function.habit != Habit::Chatty)
        .collect()
}

fn redeploy(stage: &mut Stage<'_>) -> Result<()> {
    for _ in 0..stage.run.form.redeploys {
        for function in called(stage) {
            stage.deploy(function)?;
        }
    }
    Ok(())
}

/// Each function has two replicas meanwhile, and never loses both at once: what is left must do.
fn kill_replicas(stage: &mut Stage<'_>) -> Result<()> {
    let mut victims = called(stage);
    victims.retain(|function| function.has_replicas());
    for function in &victims {
        stage.order(&["scale", function.name, "2"])?;
    }
    for _ in 0..stage.run.form.replica_kills {
        let function = *stage.dice.pick(&victims);
        let ready = stage.ready(function, 2)?;
        let process = *stage.dice.pick(&ready);
        stage.kill_replica(function, process)?;
        stage.go_on(stage.run.form.after_replica_kill)?;
    }
    for function in &victims {
        stage.ready(*function, 2)?;
        stage.order(&["scale", function.name, "1"])?;
    }
    Ok(())
}
