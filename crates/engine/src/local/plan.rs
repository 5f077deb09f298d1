use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hob_model::{
    Counters, Function, FunctionName, ReplicaSet, Revision, Route, Run, Target, port::EngineError,
};

use super::{host::Host, isolation::CageKind};

/// Most replicas that one function may have on one machine.
const REPLICAS_MAX: u32 = 100;

/// One revision of a function, checked and ready to answer calls.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) function: FunctionName,
    pub(super) revision: Arc<Revision>,
    pub(super) answer: Answer,
}

/// Who answers the calls.
#[derive(Debug)]
pub(super) enum Answer {
    /// The gateway itself, from this folder.
    Files(PathBuf),
    /// Replicas of a program.
    Program(Arc<Program>),
}

/// What replicas run.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) function: FunctionName,
    pub(super) revision: Arc<Revision>,
    /// The bundle on the host.
    pub(super) bundle: PathBuf,
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// What the template adds to the environment.
    pub(super) env: BTreeMap<String, String>,
    pub(super) cage: CageKind,
}

// === impl Plan ===

impl Plan {
    /// Refuses what this machine cannot run, before anything is touched.
    pub(super) fn new(host: &Host, wanted: &Function) -> Result<Self, EngineError> {
        let function = wanted.name.clone();
        let revision = Arc::new(wanted.revision.clone());
        check_replicas(&function, wanted.replicas)?;
        let bundle = host.places.bundle(&revision.digest);
        if !bundle.is_dir() {
            return Err(EngineError::Host(format!(
                "function `{function}`: bundle {} is gone: deploy it again",
                bundle.display()
            )));
        }
        let answer = match &revision.run {
            Run::Static { root } => Answer::Files(bundle.join(root)),
            Run::Process { argv, env } => Answer::Program(Arc::new(Program {
                function: function.clone(),
                revision: Arc::clone(&revision),
                bundle,
                argv: argv.clone(),
                env: env.clone(),
                cage: host.cage_for(&function, &revision.settings)?,
            })),
        };
        Ok(Self {
            function,
            revision,
            answer,
        })
    }

    pub(super) fn route(&self, set: &Arc<ReplicaSet>, counters: &Arc<Counters>) -> Route {
        let settings = &self.revision.settings;
        Route {
            function: self.function.clone(),
            revision: self.revision.digest.clone(),
            timeout: settings.timeout,
            body_limit: settings.limits.body.0,
            cors: settings.cors.clone(),
            target: match &self.answer {
                Answer::Files(root) => Target::Static(root.clone()),
                Answer::Program(_) => Target::Replicas(Arc::clone(set)),
            },
            counters: Arc::clone(counters),
        }
    }

    pub(super) fn program(&self) -> Option<&Arc<Program>> {
        match &self.answer {
            Answer::Files(_) => None,
            Answer::Program(program) => Some(program),
        }
    }
}

// === impl Program ===

impl Program {
    /// How long a call may last, and so how long a replica may take to finish those it has.
    pub(super) fn timeout(&self) -> Duration {
        self.revision.settings.timeout.0
    }
}

pub(super) fn check_replicas(name: &FunctionName, replicas: u32) -> Result<(), EngineError> {
    if replicas <= REPLICAS_MAX {
        return Ok(());
    }
    Err(EngineError::Unsupported(format!(
        "function `{name}` cannot have {replicas} replicas: one machine runs at most {REPLICAS_MAX} of a function"
    )))
}
