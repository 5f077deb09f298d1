use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hob_model::Isolation;

use crate::{
    Able, Cage, CageNetwork, CageRoot, CageSpec, CageUser, Capabilities, Mechanism, SandboxError,
    cage::Nature,
    capabilities,
    cgroup::{self, Tree},
    native::{
        launch::{Helper, memory_file},
        plan::{Base, Failure, Level, Plan, Proc, Rlimits, Root, Scratch, User, UserNamespace},
        standard,
    },
    oci, probe,
    seccomp::{self, Policy},
    spec::CAGE_UID,
};

/// Beginning of the names of cgroups that wait for a cage.
const SPARE: &str = "spare-";

/// Where no cgroup bounds memory, each process may have this many times the limit as private
/// writable memory: the stacks of threads count in full, used or not.
const DATA_FACTOR: u64 = 4;
/// And at least this much, in bytes, or else no interpreter starts.
const LEAST_DATA: u64 = 1 << 30;

/// Makes cages. One per daemon, shared by reference.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) config: SandboxConfig,
    capabilities: Capabilities,
    pub(crate) tree: Tree,
    /// The seccomp filter, compiled once, as a file in memory.
    filter: OwnedFd,
    /// The same for one-shot cages.
    pub(crate) strict_filter: OwnedFd,
    standard: standard::Cache,
    /// The same for one-shot cages.
    pub(crate) bare: standard::Cache,
    /// Whether namespaces can be made without one for users.
    pub(crate) privileged: bool,
    /// A helper that waits for the next cage.
    spare: Mutex<Option<Helper>>,
    spares: AtomicU64,
}

/// What a [`Sandbox`] needs to know.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Executable to run as the helper, normally `/proc/self/exe`; its `main` begins with
    /// [`crate::run_helper_if_asked`].
    pub helper: PathBuf,
    /// Arguments that make it the helper, normally `["cage-init"]`.
    pub helper_args: Vec<OsString>,
    /// Folder of this daemon's cages under each cgroup controller, such as `hob-1a2b3c4d`.
    /// Two daemons on one machine need two names.
    pub cgroup_name: String,
    /// Scratch folder of the sandbox: mount point of roots, OCI bundles. Made when missing.
    pub state: PathBuf,
}

// === impl Sandbox ===

impl Sandbox {
    /// Looks at the machine, in a few milliseconds.
    ///
    /// # Errors
    /// When `state` cannot be made. A machine that can cage nothing is not an error; see
    /// [`Sandbox::capabilities`].
    pub fn new(mut config: SandboxConfig) -> Result<Self, SandboxError> {
        let root = config.state.join("root");
        fs::create_dir_all(&root).map_err(SandboxError::io("cannot create", &root))?;
        config.state = fs::canonicalize(&config.state)
            .map_err(SandboxError::io("cannot find", &config.state))?;
        let tree = Tree::find(&config.cgroup_name);
        Ok(Self {
            capabilities: Capabilities::look(&tree),
            config,
            tree,
            filter: filter(&seccomp::FUNCTION)?,
            strict_filter: filter(&seccomp::STRANGER)?,
            standard: standard::Cache::new(standard::Reader::Function),
            bare: standard::Cache::new(standard::Reader::Stranger),
            privileged: capabilities::is_privileged(),
            spare: Mutex::new(None),
            spares: AtomicU64::new(0),
        })
    }

    /// What this machine can do, looked at once.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Like [`Sandbox::capabilities`], but by making one cage of each kind; takes up to seconds.
    pub fn probe(&self) -> Capabilities {
        probe::probe(self)
    }

    /// Gets the next cage half ready, so that a first [`Sandbox::spawn`] is as quick as all
    /// others. Keeps a process of a few megabytes, nearly all shared, waiting.
    pub fn warm(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            match self.helper() {
                Ok(helper) => *spare = Some(helper),
                Err(error) => tracing::warn!(%error, "cannot prepare a cage"),
            }
        }
    }

    /// Makes a cage and starts the program; returns after `exec` inside has succeeded. Blocks for
    /// a few milliseconds.
    ///
    /// # Errors
    /// Names the step and the cure. Nothing is left behind.
    pub fn spawn(&self, spec: CageSpec) -> Result<Cage, SandboxError> {
        spec.check().map_err(SandboxError::Spec)?;
        if let Able::No { why, cure } = self.capabilities.able(spec.isolation, &spec.mechanism) {
            return Err(SandboxError::Unable {
                isolation: spec.isolation,
                why,
                cure,
            });
        }
        match &spec.mechanism {
            Mechanism::Native => self.spawn_native(spec),
            Mechanism::Oci(program) => {
                let place = oci::Place {
                    state: &self.config.state,
                    cgroup: &self.config.cgroup_name,
                    tree: &self.tree,
                };
                oci::spawn(
                    &place,
                    program,
                    &spec,
                    self.standard.get().without(&spec.files),
                )
            }
        }
    }

    /// Ends and removes whatever an earlier daemon with the same `cgroup_name` left, but for the
    /// cages `kept`, which were adopted; call it before the first [`Sandbox::spawn`]. Returns how
    /// many cages that were.
    ///
    /// Without cgroups nothing can be found, and what a killed daemon left at level `process` and
    /// wrote no record of lives on.
    ///
    /// # Errors
    /// When a leftover does not go away.
    pub fn sweep(&self, kept: &BTreeSet<String>) -> Result<usize, SandboxError> {
        let mut cages = 0;
        for (name, group) in self.tree.groups() {
            if kept.contains(&name) {
                continue;
            }
            let folder = group.folders().into_iter().next().unwrap_or_default();
            cgroup::remove(&*group)
                .map_err(SandboxError::io("cannot remove the cgroup", folder))?;
            cages += usize::from(!name.starts_with(SPARE));
        }
        oci::sweep(&self.config.state, kept)?;
        Ok(cages)
    }

    fn spawn_native(&self, spec: CageSpec) -> Result<Cage, SandboxError> {
        let plan = self.plan(&spec);
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ordered = spare.map(|helper| self.order(helper, &plan, &spec));
        let helper = match ordered {
            Some(Ok(helper)) => helper,
            // The one that waited may have been killed meanwhile.
            Some(Err(_)) | None => self
                .helper()
                .and_then(|helper| self.order(helper, &plan, &spec))
                .map_err(|error| SandboxError::Helper {
                    id: spec.id.clone(),
                    problem: format!("cannot be started: {error}"),
                })?,
        };
        // Meanwhile the cage is being built, so this costs no time.
        self.warm();
        let first = helper.finish().map_err(|failure| explain(&spec, failure))?;
        let nature = Nature {
            id: spec.id,
            isolation: spec.isolation,
            limits: spec.limits,
        };
        Ok(Cage::new(nature, first, None))
    }

    fn helper(&self) -> io::Result<Helper> {
        let number = self.spares.fetch_add(1, Ordering::Relaxed);
        let name = format!("{SPARE}{}-{number}", process::id());
        Helper::start(&self.config, &self.tree, &name)
    }

    fn order(&self, mut helper: Helper, plan: &Plan, spec: &CageSpec) -> io::Result<Helper> {
        if let Some(group) = helper.adopt(&self.tree, &spec.id)? {
            group.limit(&spec.limits)?;
        }
        helper.order(plan, &spec.output, &self.filter)?;
        Ok(helper)
    }

    fn plan(&self, spec: &CageSpec) -> Plan {
        let container = spec.isolation == Isolation::Container;
        let own = container && !self.privileged;
        let outer = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let user = user(&spec.user);
        Plan {
            argv: spec.argv.clone(),
            env: spec
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            // Empty, it joins to the root itself.
            cwd: Path::new("/").join(&spec.cwd),
            level: if container {
                Level::Container(self.root(spec))
            } else {
                self.landlock(spec)
            },
            network: match &spec.network {
                CageNetwork::Host => None,
                CageNetwork::Namespace(path) => Some(path.clone()),
            },
            user_namespace: own.then_some(UserNamespace {
                inner: (user.uid, user.gid),
                outer,
            }),
            user: (own || outer.0 == 0).then_some(user),
            stop_signal: spec.stop_signal,
            rlimits: self.rlimits(spec, own),
            cgroup: match &self.tree {
                Tree::V2(tree) => Some(tree.folder().join(&spec.id)),
                Tree::V1(_) | Tree::None(_) => None,
            },
        }
    }

    fn root(&self, spec: &CageSpec) -> Root {
        let (base, mut files) = match &spec.root {
            CageRoot::Host => (
                Base::Host(self.standard.get().without(&spec.files)),
                standard::files(&spec.hostname),
            ),
            CageRoot::Layers(layers) => (
                Base::Layers(layers.clone()),
                standard::files_over_image(&spec.hostname),
            ),
        };
        // Later ones are written over earlier ones.
        files.extend(spec.files.iter().cloned());
        Root {
            mount_point: self.config.state.join("root"),
            hostname: spec.hostname.clone(),
            base,
            files,
            binds: spec.binds.clone(),
            scratch: Scratch::Tmp(spec.limits.tmp),
            proc: Proc::Usual,
        }
    }

    fn landlock(&self, spec: &CageSpec) -> Level {
        let of = |access| {
            spec.binds
                .iter()
                .filter(move |bind| bind.access == access)
                .map(|bind| bind.source.clone())
        };
        let standard = self.standard.get();
        let links = standard.symlinks.into_iter().map(|(link, _)| link);
        let shown = links
            .chain(standard.read_only)
            .chain(standard::UNCAGED.map(PathBuf::from));
        Level::Process {
            read_only: shown.chain(of(crate::Access::ReadOnly)).collect(),
            read_write: of(crate::Access::ReadWrite).collect(),
        }
    }

    fn rlimits(&self, spec: &CageSpec, own_user: bool) -> Rlimits {
        let controllers = self.tree.support().controllers;
        let limited = |name: &str| controllers.iter().any(|controller| controller == name);
        let data = spec
            .limits
            .memory
            .saturating_mul(DATA_FACTOR)
            .max(LEAST_DATA);
        Rlimits {
            files: spec.limits.files.into(),
            data: (!limited("memory")).then_some(data),
            // Of a user that all cages share, one cage would use up what another needs.
            processes: (!limited("pids") && own_user).then(|| cgroup::pids_with_init(&spec.limits)),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tree.remove();
    }
}

fn filter(policy: &Policy) -> Result<OwnedFd, SandboxError> {
    let filter = seccomp::encode(&seccomp::compile(policy));
    memory_file("hob-seccomp", &filter).map_err(SandboxError::system("cannot make a memory file"))
}

fn user(user: &CageUser) -> User {
    match user {
        CageUser::Unprivileged => User {
            uid: CAGE_UID,
            gid: CAGE_UID,
            groups: Vec::new(),
        },
        CageUser::Of { uid, gid, groups } => User {
            uid: *uid,
            gid: *gid,
            groups: groups.clone(),
        },
    }
}

fn explain(spec: &CageSpec, failure: Failure) -> SandboxError {
    match failure.step {
        Some(step) => SandboxError::Step {
            id: spec.id.clone(),
            step,
            problem: failure.problem,
        },
        None => SandboxError::Exec {
            program: spec.argv.first().cloned().unwrap_or_default(),
            problem: failure.problem,
        },
    }
}
