use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hob_model::{
    CageUse, CanaryRoute, Counters, FunctionName, Guard, ImageRun, Network, ReplicaSet, Revision,
    Route, Routes, Run, Scale, Share, Target, Track, port::EngineError,
};
use hob_sandbox::{CageRoot, CageUser, Mechanism, STOP_SIGNAL, network::Outbound};

use super::{host::Host, isolation::CageKind, places::Owner, replica::STOP_GRACE};

/// What an image has at least between the signal to stop and the kill when it is replaced or put
/// to sleep; as Docker gives.
const IMAGE_GRACE: Duration = Duration::from_secs(10);
/// What it has at most, whatever its environment says.
const IMAGE_GRACE_MAX: Duration = Duration::from_secs(300);

/// One revision of a function, checked and ready to answer calls.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) function: FunctionName,
    pub(super) revision: Arc<Revision>,
    pub(super) answer: Answer,
    /// How many of the function's calls it gets, if it is a canary.
    pub(super) share: Option<Share>,
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
    pub(super) home: Home,
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// What the template adds to the environment.
    pub(super) env: BTreeMap<String, String>,
    pub(super) cage: CageKind,
}

/// Where a program and its files are.
#[derive(Debug)]
pub(super) enum Home {
    /// A bundle on the host, in a root of the host's own tools.
    Bundle(PathBuf),
    /// The root of an image.
    Image {
        /// Its layers on the host, topmost first.
        layers: Vec<PathBuf>,
        run: Box<ImageRun>,
    },
}

// === impl Plan ===

impl Plan {
    /// Refuses what this machine cannot run, before anything is touched.
    pub(super) fn new(
        host: &Host,
        function: &FunctionName,
        revision: &Revision,
        share: Option<Share>,
    ) -> Result<Arc<Self>, EngineError> {
        let function = function.clone();
        let revision = Arc::new(revision.clone());
        let bundle = || {
            let bundle = host.places.bundle(&revision.bundle);
            there(&function, bundle, "bundle")
        };
        let program = |home, argv: &[String], env: &BTreeMap<String, String>| {
            Ok::<_, EngineError>(Answer::Program(Arc::new(Program {
                function: function.clone(),
                revision: Arc::clone(&revision),
                home,
                argv: argv.to_vec(),
                env: env.clone(),
                cage: host.cage_for(&function, &revision)?,
            })))
        };
        let per_call = revision.settings.sandbox == CageUse::PerCall;
        let answer = match &revision.run {
            Run::Static { .. } if per_call => return Err(no_cage(&function)),
            Run::Static { root } => Answer::Files(bundle()?.join(root)),
            Run::Process { argv, env } => program(Home::Bundle(bundle()?), argv, env)?,
            Run::Image(run) => {
                let layers = run.layers.iter().map(|name| host.places.layer(name));
                let layers = layers.map(|layer| there(&function, layer, "layer"));
                let home = Home::Image {
                    layers: layers.collect::<Result<_, _>>()?,
                    run: run.clone(),
                };
                program(home, &run.argv, &run.env)?
            }
        };
        Ok(Arc::new(Self {
            function,
            revision,
            answer,
            share,
        }))
    }

    /// Has the gateway send calls to `set`: all, or a canary's share of them.
    pub(super) fn publish(&self, routes: &Routes, set: &Arc<ReplicaSet>, all: &Arc<Counters>) {
        match self.share {
            None => routes.set(self.route(Track::Stable, set, Arc::clone(all))),
            Some(share) => {
                let counters = Arc::new(Counters::within(all));
                let route = Arc::new(self.route(Track::Canary, set, counters));
                routes.set_canary(&self.function, Some(CanaryRoute { share, route }));
            }
        }
    }

    fn route(&self, track: Track, set: &Arc<ReplicaSet>, counters: Arc<Counters>) -> Route {
        let settings = &self.revision.settings;
        Route {
            function: self.function.clone(),
            track,
            revision: self.revision.digest.clone(),
            timeout: settings.timeout,
            body_limit: settings.limits.body.0,
            output_limit: settings.limits.output.0,
            cors: settings.cors.clone(),
            guard: Guard::of(settings),
            domains: settings.domain.clone(),
            target: match &self.answer {
                Answer::Files(root) => Target::Static(root.clone()),
                Answer::Program(_) => Target::Replicas(Arc::clone(set)),
            },
            counters,
            canary: None,
        }
    }

    pub(super) fn program(&self) -> Option<&Arc<Program>> {
        match &self.answer {
            Answer::Files(_) => None,
            Answer::Program(program) => Some(program),
        }
    }
}

// === impl Home ===

impl Home {
    pub(super) fn root(&self) -> CageRoot {
        match self {
            Self::Bundle(_) => CageRoot::Host,
            Self::Image { layers, .. } => CageRoot::Layers(layers.clone()),
        }
    }

    /// `None` is the bundle's folder.
    pub(super) fn cwd(&self) -> Option<PathBuf> {
        match self {
            Self::Bundle(_) => None,
            Self::Image { run, .. } => Some(PathBuf::from(&run.cwd)),
        }
    }

    pub(super) fn user(&self) -> CageUser {
        match self {
            Self::Bundle(_) => CageUser::Unprivileged,
            Self::Image { run, .. } => {
                let (uid, gid, groups) = run.user.clone();
                CageUser::Of { uid, gid, groups }
            }
        }
    }

    pub(super) fn stop_signal(&self) -> i32 {
        match self {
            Self::Bundle(_) => STOP_SIGNAL,
            Self::Image { run, .. } => run.stop_signal,
        }
    }
}

// === impl Program ===

impl Program {
    /// Whether each call gets a replica of its own.
    pub(super) fn is_used_once(&self) -> bool {
        self.revision.settings.sandbox == CageUse::PerCall
    }

    /// How long a call may last, and so how long a replica may take to finish those it has.
    pub(super) fn timeout(&self) -> Duration {
        self.revision.settings.timeout.0
    }

    /// What it has between the signal to stop and the kill, once its calls are done.
    ///
    /// A watchdog of OpenFaaS says for `healthcheck_interval` that it is about to go, and then
    /// waits up to `write_timeout` for calls that only it knows of.
    pub(super) fn stop_grace(&self) -> Duration {
        if let Home::Bundle(_) = self.home {
            return STOP_GRACE;
        }
        let time = |name: &str| {
            let text = self.variable(name)?;
            let seconds = text.parse().map(Duration::from_secs).ok();
            seconds.or_else(|| humantime::parse_duration(text).ok())
        };
        let write = time("write_timeout");
        let announced = time("healthcheck_interval").or(write);
        grace(announced, write)
    }

    /// A variable of its environment that is not hob's own.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let settings = &self.revision.settings.env;
        let text = settings.get(name).or_else(|| self.env.get(name));
        text.map(String::as_str)
    }

    /// The user and group that its files on the host belong to; `None` is hob's own.
    pub(super) fn owner(&self) -> Owner {
        match &self.home {
            Home::Bundle(_) => Host::cage_owner(),
            Home::Image { run, .. } => Host::cage_owner().map(|_| (run.user.0, run.user.1)),
        }
    }

    /// The same, where it is not the usual user of cages.
    pub(super) fn unusual_owner(&self) -> Owner {
        self.owner().filter(|_| self.owner() != Host::cage_owner())
    }

    /// The user that the machine knows its processes by, where that is not hob's own and a runtime
    /// does not put one of its own between.
    pub(super) fn user_on_host(&self) -> Owner {
        self.owner()
            .filter(|_| self.cage.mechanism == Mechanism::Native)
    }

    /// Whether its replicas have a network of their own.
    pub(super) fn network(&self) -> Option<Outbound> {
        match (&self.home, self.revision.settings.network) {
            (_, Network::None) => Some(Outbound::No),
            (Home::Image { .. }, Network::Outbound) => Some(Outbound::Yes),
            (Home::Bundle(_), Network::Outbound) => None,
        }
    }
}

fn no_cage(function: &FunctionName) -> EngineError {
    EngineError::Unsupported(format!(
        "function `{function}` is a folder of files, for which no program runs: leave `sandbox` out"
    ))
}

/// An image may name any length of time.
fn grace(announced: Option<Duration>, write: Option<Duration>) -> Duration {
    let asked = [announced, write].into_iter().flatten();
    let asked = asked.fold(STOP_GRACE, Duration::saturating_add);
    asked.clamp(IMAGE_GRACE, IMAGE_GRACE_MAX)
}

fn there(function: &FunctionName, path: PathBuf, what: &str) -> Result<PathBuf, EngineError> {
    if path.is_dir() {
        return Ok(path);
    }
    let path = path.display();
    Err(EngineError::Host(format!(
        "function `{function}`: {what} {path} is gone: deploy it again"
    )))
}

pub(super) fn check_replicas(name: &FunctionName, replicas: u32) -> Result<(), EngineError> {
    if replicas <= Scale::MOST_REPLICAS {
        return Ok(());
    }
    Err(EngineError::Unsupported(format!(
        "function `{name}` cannot have {replicas} replicas: one machine runs at most {} of a function",
        Scale::MOST_REPLICAS
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_image_says_its_grace_has_bounds() {
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(grace(None, None), IMAGE_GRACE);
        assert_eq!(grace(seconds(20), seconds(30)), Duration::from_secs(52));
        assert_eq!(grace(seconds(u64::MAX), seconds(u64::MAX)), IMAGE_GRACE_MAX);
    }
}
