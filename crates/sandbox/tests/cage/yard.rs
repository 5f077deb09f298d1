use std::{
    cell::Cell,
    env,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use hob_model::{End, Isolation};
use hob_sandbox::{
    Access, Bind, Cage, CageLimits, CageNetwork, CageRoot, CageSpec, CageUser, Mechanism,
    STOP_SIGNAL, Sandbox, SandboxConfig, SandboxError,
};
use tempfile::TempDir;

/// Names the cgroups of a yard that another process has made them for.
pub(crate) const CGROUP: &str = "HOB_CAGE_TEST_CGROUP";

/// Long enough for a busy machine, short enough for a hang to be noticed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A place to build cages in, which looks for leftovers at its end.
pub(crate) struct Yard {
    sandbox: Option<Sandbox>,
    folder: TempDir,
    name: String,
    /// Bytes of the output that were looked at already.
    seen: Cell<usize>,
    pub(crate) isolation: Isolation,
    pub(crate) mechanism: Mechanism,
}

impl Yard {
    pub(crate) fn new(test: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("hob-cage-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let own = || format!("hob-test-{}-{test}", std::process::id());
        let name = env::var(CGROUP).unwrap_or_else(|_| own());
        let sandbox = Sandbox::new(SandboxConfig {
            helper: "/proc/self/exe".into(),
            helper_args: vec!["cage-init".into()],
            cgroup_name: name.clone(),
            state: folder.path().join("state"),
        });
        Self {
            sandbox: Some(sandbox.unwrap()),
            folder,
            name,
            seen: Cell::new(0),
            isolation: Isolation::Container,
            mechanism: Mechanism::Native,
        }
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn spec(&self, argv: &[&str]) -> CageSpec {
        CageSpec {
            id: format!("c{}", argv.len()),
            isolation: self.isolation,
            mechanism: self.mechanism.clone(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![
                ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
                ("HOME".into(), "/tmp".into()),
            ],
            cwd: "/".into(),
            hostname: "cage".into(),
            root: CageRoot::Host,
            network: CageNetwork::Host,
            files: Vec::new(),
            binds: Vec::new(),
            limits: CageLimits {
                memory: 512 << 20,
                cpu_millis: 2000,
                pids: 128,
                tmp: 16 << 20,
                files: 256,
            },
            output: File::options()
                .create(true)
                .append(true)
                .open(self.path("out"))
                .unwrap(),
            user: CageUser::Unprivileged,
            stop_signal: STOP_SIGNAL,
        }
    }

    pub(crate) fn start(&self, spec: CageSpec) -> Cage {
        self.sandbox()
            .spawn(spec)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs to the end; what it wrote is the second half.
    pub(crate) fn run_spec(&self, spec: CageSpec) -> (End, String) {
        let cage = self.start(spec);
        let end = cage.wait_timeout(PATIENCE).unwrap();
        (end.expect("ends in time"), self.output())
    }

    pub(crate) fn run(&self, argv: &[&str]) -> (End, String) {
        self.run_spec(self.spec(argv))
    }

    /// What a shell in a cage says to `script`.
    pub(crate) fn shell(&self, script: &str) -> String {
        self.run(&["sh", "-c", script]).1
    }

    pub(crate) fn refusal(&self, spec: CageSpec) -> SandboxError {
        self.sandbox()
            .spawn(spec)
            .map(|_| ())
            .expect_err("must be refused")
    }

    /// What was written since this was asked last.
    pub(crate) fn output(&self) -> String {
        let text = fs::read_to_string(self.path("out")).unwrap();
        let seen = self.seen.replace(text.len());
        text[seen..].to_owned()
    }

    pub(crate) fn bind(&self, name: &str, target: &str, access: Access) -> Bind {
        let source = self.path(name);
        fs::create_dir_all(&source).unwrap();
        let mode = if access == Access::ReadWrite {
            0o777
        } else {
            0o755
        };
        fs::set_permissions(&source, fs::Permissions::from_mode(mode)).unwrap();
        Bind {
            source,
            target: target.into(),
            access,
        }
    }

    /// Processes in the yard's cgroups. What has ended and waits for the machine's init to notice
    /// is none.
    pub(crate) fn processes(&self) -> Vec<String> {
        let all = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let ours = |path: &PathBuf| {
            fs::read_to_string(path.join("cgroup")).is_ok_and(|text| text.contains(&self.name))
        };
        let name = |path: PathBuf| {
            let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            format!("{} {}", path.display(), command.replace('\0', " "))
        };
        let living = |path: &PathBuf| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        };
        all.filter(ours).filter(living).map(name).collect()
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = self.processes();
        let controllers = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let folders = controllers.map(|entry| entry.path().join(&self.name));
        left.extend(
            folders
                .filter(|path| path.exists() && (env::var_os(CGROUP).is_none() || holds_some(path)))
                .map(|path| path.display().to_string()),
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.path().display().to_string();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&folder))
                .map(str::to_owned),
        );
        left
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        self.sandbox = None;
        let left = self.leftovers();
        if !thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

/// Whether there are folders in it.
fn holds_some(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).unwrap().flatten();
    entries.any(|entry| entry.path().is_dir())
}

/// Waits until `done`, or fails.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether `tool` is there. In CI it has to be.
pub(crate) fn has(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(tool).exists())
        || Path::new(tool).exists();
    found || skip(&format!("`{tool}` is not installed"))
}

/// Says loudly that a test cannot run; in CI that is a failure.
pub(crate) fn skip(why: &str) -> bool {
    assert!(env::var_os("CI").is_none(), "cannot run here: {why}");
    println!("SKIPPED: {why}");
    false
}

pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("Uid:\t0\t")
}
