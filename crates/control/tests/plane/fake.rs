//! An engine and a builder that do as they are told and remember what they were asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::stream;
use hob_image::{Digest, ImageBuilder, ImageOrder, MadeImage, MadePlatform};
use hob_model::{
    Backend, CanaryRoute, EndReason, Endpoint, FleetName, Freeze, Function, FunctionName,
    ReplicaId, ReplicaSet, Revision, Route, Routes, Run, SecretName, Settings, Target, Timespan,
    Track,
    port::{
        BuildError, BuildLine, BuildLog, Builder, Effort, Engine, EngineError, LogQuery, LogStream,
        Observed, ObservedCanary, Packing, Source,
    },
    wire::{FunctionState, Instance, InstanceState, LogLine},
};
use tokio::sync::Semaphore;

/// Runs nothing; keeps routes with as many backends as replicas are wished.
pub(crate) struct FakeEngine {
    pub(crate) routes: Arc<Routes>,
    calls: Mutex<Vec<String>>,
    live: Mutex<BTreeMap<FunctionName, (Function, u32)>>,
    /// Starts wait here while a test has taken the permit.
    pub(crate) starts: Arc<Semaphore>,
    /// Starts fail.
    pub(crate) broken: AtomicBool,
    /// Looking at it panics.
    pub(crate) cursed: AtomicBool,
}

impl FakeEngine {
    pub(crate) fn new(routes: Arc<Routes>) -> Self {
        Self {
            routes,
            calls: Mutex::default(),
            live: Mutex::default(),
            starts: Arc::new(Semaphore::new(1)),
            broken: AtomicBool::new(false),
            cursed: AtomicBool::new(false),
        }
    }

    /// What it was asked, and forgets it.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().expect("lock"))
    }

    /// How often it was asked `call` since the last look.
    pub(crate) fn count(&self, call: &str) -> usize {
        let calls = self.calls.lock().expect("lock");
        calls.iter().filter(|one| *one == call).count()
    }

    /// Replicas of a function that it knows.
    pub(crate) fn replicas(&self, name: &FunctionName) -> Option<u32> {
        let live = self.live.lock().expect("lock");
        live.get(name).map(|(_, replicas)| *replicas)
    }

    /// Digest that answers calls.
    pub(crate) fn serving(&self, name: &FunctionName) -> Option<String> {
        self.routes.get(name).map(|route| route.revision.clone())
    }

    /// The route of a function that it knows.
    pub(crate) fn route(&self, name: &FunctionName) -> Arc<Route> {
        self.routes.get(name).expect("has a route")
    }

    /// Whether a function has frozen replicas.
    pub(crate) fn is_frozen(&self, name: &FunctionName) -> bool {
        let target = self.routes.get(name).map(|route| route.target.clone());
        matches!(target, Some(Target::Replicas(replicas)) if !replicas.frozen().is_empty())
    }

    fn note(&self, call: String) {
        self.calls.lock().expect("lock").push(call);
    }

    async fn start(&self, function: &Function, replicas: u32) -> Result<(), EngineError> {
        let _turn = self.starts.acquire().await.expect("open");
        if replicas > 0 && self.broken.load(Ordering::SeqCst) {
            return Err(EngineError::Start {
                reason: EndReason::Exit,
                message: format!("function `{}` ended at once: exit status 3", function.name),
                log_tail: vec!["Traceback".into(), "NameError: x".into()],
            });
        }
        self.set_route(function, replicas);
        let mut live = self.live.lock().expect("lock");
        live.insert(function.name.clone(), (function.clone(), replicas));
        Ok(())
    }

    fn set_route(&self, function: &Function, replicas: u32) {
        let backends = (0..replicas).map(|number| {
            let id = ReplicaId(format!("{}-{number}", function.name).into());
            Arc::new(Backend::new(id, Endpoint::Unix("/none".into())))
        });
        let set = ReplicaSet::default();
        set.replace(backends.collect());
        let stable = Route {
            function: function.name.clone(),
            track: Track::Stable,
            revision: function.revision.digest.clone(),
            timeout: function.revision.settings.timeout,
            body_limit: 1,
            output_limit: 1,
            cors: None,
            guard: None,
            domains: function.revision.settings.domain.clone(),
            target: Target::Replicas(Arc::new(set)),
            counters: Arc::default(),
            canary: None,
        };
        let canary = function.canary.as_ref().map(|canary| CanaryRoute {
            share: canary.share,
            route: Arc::new(Route {
                track: Track::Canary,
                revision: canary.revision.digest.clone(),
                ..stable.clone()
            }),
        });
        self.routes.set(stable);
        self.routes.set_canary(&function.name, canary);
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn apply(&self, function: &Function) -> Result<(), EngineError> {
        let (name, digest) = (&function.name, &function.revision.digest);
        let canary = function.canary.as_ref().map(|canary| {
            let (share, replicas) = (canary.share, canary.replicas);
            format!(" and {share} {} {replicas}", canary.revision.digest)
        });
        let canary = canary.unwrap_or_default();
        self.note(format!(
            "apply {name} {digest} {}{canary}",
            function.replicas
        ));
        if digest.contains("lost") || canary.contains("lost") {
            return Err(EngineError::Host(format!("bundle {digest} is missing")));
        }
        self.start(function, function.replicas).await
    }

    async fn scale(&self, fleet: &FleetName, replicas: u32) -> Result<Effort, EngineError> {
        self.note(format!("scale {fleet} {replicas}"));
        let name = &fleet.function;
        let known = self.live.lock().expect("lock").get(name).cloned();
        let (function, before) = known.ok_or_else(|| EngineError::NotFound(name.clone()))?;
        let effort = match self.is_frozen(name) {
            true => Effort::Thawed,
            false if replicas > before => Effort::Started,
            false => Effort::None,
        };
        self.start(&function, replicas).await?;
        Ok(effort)
    }

    async fn freeze(&self, fleet: &FleetName) -> Result<bool, EngineError> {
        self.note(format!("freeze {fleet}"));
        let name = &fleet.function;
        let Target::Replicas(replicas) = self.route(name).target.clone() else {
            return Ok(false);
        };
        replicas.replace_frozen(replicas.ready().to_vec());
        replicas.replace(Vec::new());
        Ok(true)
    }

    async fn adjust(&self, fleet: &FleetName, replicas: u32) -> Result<(), EngineError> {
        self.note(format!("adjust {fleet} {replicas}"));
        let name = &fleet.function;
        let known = self.live.lock().expect("lock").get(name).cloned();
        let (function, _) = known.ok_or_else(|| EngineError::NotFound(name.clone()))?;
        self.start(&function, replicas).await
    }

    async fn remove(&self, name: &FunctionName) -> Result<(), EngineError> {
        self.note(format!("remove {name}"));
        self.routes.remove(name);
        let known = self.live.lock().expect("lock").remove(name);
        known
            .map(drop)
            .ok_or_else(|| EngineError::NotFound(name.clone()))
    }

    async fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        assert!(!self.cursed.load(Ordering::SeqCst), "cursed on purpose");
        let live = self.live.lock().expect("lock");
        let observed = live.values().map(|(function, replicas)| {
            let frozen = self.is_frozen(&function.name);
            let instances = (0..*replicas).map(|number| Instance {
                state: match frozen {
                    true => InstanceState::Frozen,
                    false => InstanceState::Ready,
                },
                ..instance(function, number)
            });
            Observed {
                function: function.name.clone(),
                state: match replicas {
                    0 => FunctionState::Stopped,
                    _ if frozen => FunctionState::Frozen,
                    _ => FunctionState::Hot,
                },
                instances: instances.collect(),
                last_end: None,
                canary: function.canary.as_ref().map(|_| ObservedCanary {
                    state: FunctionState::Hot,
                    last_end: None,
                }),
            }
        });
        Ok(observed.collect())
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<LogStream, EngineError> {
        let lines = (0..query.tail.unwrap_or(3)).map(|number| LogLine {
            instance: ReplicaId(format!("{name}-0").into()),
            timestamp: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            text: format!("line {number}, follow {}", query.follow),
        });
        Ok(Box::pin(stream::iter(lines.map(Ok).collect::<Vec<_>>())))
    }

    async fn condemn(&self, name: &FunctionName, replica: &ReplicaId, why: EndReason) {
        self.note(format!("condemn {name} {replica} {why}"));
    }

    async fn refresh_secret(
        &self,
        namespace: &str,
        secret: &SecretName,
    ) -> Result<(), EngineError> {
        self.note(format!("refresh {namespace} {secret}"));
        if self.broken.load(Ordering::SeqCst) {
            return Err(EngineError::Host("no tmpfs".into()));
        }
        Ok(())
    }
}

fn instance(function: &Function, number: u32) -> Instance {
    Instance {
        id: ReplicaId(format!("{}-{number}", function.name).into()),
        function: function.name.clone(),
        revision: function.revision.digest.clone(),
        state: InstanceState::Ready,
        pid: 1,
        memory: Some(1 << 20),
        cpu_seconds: Some(1.5),
        in_flight: 0,
        started_at: SystemTime::UNIX_EPOCH,
    }
}

/// The archive is a script: its words say how the build goes, and all of it is the digest.
pub(crate) struct FakeBuilder {
    /// Those that were built.
    built: Mutex<Vec<Revision>>,
    /// Builds wait here while a test has taken the permit.
    pub(crate) builds: Arc<Semaphore>,
    /// Builds that have come this far.
    pub(crate) begun: AtomicU32,
}

impl Default for FakeBuilder {
    fn default() -> Self {
        Self {
            built: Mutex::default(),
            builds: Arc::new(Semaphore::new(1)),
            begun: AtomicU32::new(0),
        }
    }
}

impl FakeBuilder {
    /// Bundles that are here, in the order in which they were built.
    pub(crate) fn names(&self) -> Vec<String> {
        let built = self.built.lock().expect("lock");
        built.iter().map(|one| one.bundle.clone()).collect()
    }
}

#[async_trait]
impl Builder for FakeBuilder {
    async fn build(&self, source: Source, log: BuildLog) -> Result<Revision, BuildError> {
        let script = fs::read(source.archive).expect("the upload is there");
        let script = String::from_utf8(script[2..].to_vec()).expect("text");
        log(BuildLine::Step("python: compiling".into()));
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _turn = self.builds.acquire().await.expect("open");
        log(BuildLine::Output("main.py:1".into()));
        if script.contains("refuse") {
            return Err(BuildError::Refused("entry `../x` leaves the folder".into()));
        }
        if script.contains("fail") {
            log(BuildLine::Output("SyntaxError: invalid syntax".into()));
            return Err(BuildError::Failed(
                "python: compiling failed: exit status 1".into(),
            ));
        }
        if script.contains("toolless") {
            return Err(BuildError::Missing(
                "no go: apt-get install golang-go".into(),
            ));
        }
        assert!(!script.contains("panic"), "told to");
        let revision = revision(&script);
        self.built.lock().expect("lock").push(revision.clone());
        Ok(revision)
    }

    async fn bundle(&self, start: &str) -> Result<Option<Revision>, BuildError> {
        let built = self.built.lock().expect("lock");
        let mut built = built.iter();
        Ok(built.find(|one| one.bundle.starts_with(start)).cloned())
    }

    async fn collect(&self, kept: BTreeSet<String>) -> Result<usize, BuildError> {
        let mut built = self.built.lock().expect("lock");
        let before = built.len();
        built.retain(|one| kept.contains(&one.bundle));
        Ok(before - built.len())
    }

    async fn export(&self, function: &Function, target: &Path) -> Result<(), BuildError> {
        if function.revision.digest.contains("unexportable") {
            return Err(BuildError::Host("the bundle is gone".into()));
        }
        fs::create_dir(target.join("app")).expect("empty folder");
        fs::write(target.join("app/main.py"), &function.revision.digest).expect("write");
        fs::write(target.join("README.md"), "run me").expect("write");
        Ok(())
    }
}

fn revision(script: &str) -> Revision {
    let mut settings = Settings::default();
    let domains = script
        .split(' ')
        .filter_map(|word| word.strip_prefix("domain="));
    settings.domain = domains.map(|one| one.parse().expect("a domain")).collect();
    if script.contains("impatient") {
        settings.idle = Timespan(Duration::from_millis(50));
    }
    if script.contains("brisk") {
        settings.freeze = Freeze::After(Timespan(Duration::from_millis(50)));
    }
    if script.contains("steady") {
        settings.scale.min = 1;
    }
    if script.contains("early") {
        settings.prewake = Some(Timespan::from_secs(3600));
    }
    if script.contains("needs-key") {
        settings.secrets = vec!["key".parse().expect("valid")];
    }
    if let Some((_, schedules)) = script.split_once("clock ") {
        settings.schedule = serde_json::from_str(schedules).expect("schedules");
    }
    let run = match script.contains("static") {
        true => Run::Static { root: ".".into() },
        false => Run::Process {
            argv: vec!["python3".into()],
            env: BTreeMap::new(),
        },
    };
    Revision {
        digest: script.to_owned(),
        bundle: script.to_owned(),
        language: "python".into(),
        run,
        settings,
        built_at: SystemTime::UNIX_EPOCH,
    }
}

#[async_trait]
impl ImageBuilder for FakeBuilder {
    async fn build_image(
        &self,
        source: Source,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError> {
        self.build(source.clone(), log).await?;
        let digest = Digest::of(source.function.to_string().as_bytes());
        let platforms = order.platforms.into_iter().map(|platform| MadePlatform {
            platform,
            digest: digest.clone(),
            size: 7,
        });
        Ok(MadeImage {
            platforms: platforms.collect(),
            digest: digest.clone(),
            size: 8,
            sent: order.push.then_some(9),
        })
    }

    async fn export_image(
        &self,
        function: &Function,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError> {
        let source = Source {
            function: function.name.clone(),
            archive: "/none".into(),
            packing: Packing::Folder,
        };
        self.build_image(source, order, log).await
    }
}
