//! Finds the programs that a build needs on this machine, and what of its settings they may see.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use hob_model::port::BuildError;
use sha2::{Digest, Sha256};

use super::{
    template::{Bench, Template, When},
    tree::add_field,
    workplace::{Workplace, give_to_cage},
};

/// The system's folders for programs: all that a cage has.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of hob's own environment that tools may see: how they reach their registries.
const PASSED_ON: [&str; 26] = [
    "LANG",
    "LC_ALL",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "JAVA_HOME",
    "JAVA_TOOL_OPTIONS",
    "MAVEN_OPTS",
    "GOFLAGS",
    "GOINSECURE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOTOOLCHAIN",
    "GOVCS",
];
/// The same, by how they begin.
const PASSED_ON_FAMILIES: [&str; 7] = [
    "PIP_",
    "UV_",
    "NPM_CONFIG_",
    "npm_config_",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
];

/// The tools of one language as they are on this machine.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Folders with programs, in the order in which they are searched.
    pub(crate) path: Vec<PathBuf>,
    /// Folders outside of the system's that tools read.
    pub(crate) folders: Vec<PathBuf>,
    /// The environment of every tool.
    pub(crate) env: BTreeMap<String, String>,
    /// Settings files of the owner: variable and file.
    settings: Vec<(String, PathBuf)>,
    /// The programs found; a changed one means a new build.
    programs: Vec<PathBuf>,
}

/// Where the machine keeps things.
#[derive(Debug, Clone)]
pub(crate) struct Machine<'a> {
    /// What `~` is.
    pub(crate) home: &'a Path,
    /// Folders for programs, separated by `:`.
    pub(crate) system_path: &'a str,
    /// hob's own environment.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// What `$CACHE` is.
    pub(crate) cache: &'a Path,
    /// What `$FUNCTION_CACHE` is.
    pub(crate) function_cache: &'a Path,
}

// === impl Toolchain ===

impl Toolchain {
    /// Finds the tools of `template`; with `None`, those that any folder can use.
    pub(crate) fn find(
        template: Option<&Template>,
        machine: &Machine<'_>,
        needs: (When, bool),
    ) -> Result<Self, BuildError> {
        let none = Bench::default();
        let bench = template.map_or(&none, |template| &template.recipe.build);
        let place = |text: &str| PathBuf::from(machine.expand(text));
        let own = bench.path.iter().map(|folder| place(folder));
        let own: Vec<_> = own.filter(|folder| folder.is_dir()).collect();
        let folders = bench.folders.iter().map(|folder| place(folder));
        let mut folders: Vec<_> = folders.filter(|folder| folder.is_dir()).collect();
        folders.extend(
            own.iter()
                .filter(|folder| !folder.starts_with("/usr"))
                .cloned(),
        );
        let mut path = own;
        path.extend(machine.system_path.split(':').map(PathBuf::from));
        let mut toolchain = Self {
            path,
            folders,
            env: machine.passed_on(),
            settings: Vec::new(),
            programs: Vec::new(),
        };
        for (name, folder) in [
            ("CACHE", machine.cache),
            ("FUNCTION_CACHE", machine.function_cache),
        ] {
            let folder = folder.to_string_lossy().into_owned();
            toolchain.env.insert(name.into(), folder);
        }
        for (name, value) in &bench.env {
            toolchain.env.insert(name.clone(), machine.expand(value));
        }
        for (name, files) in &bench.settings {
            let file = files
                .iter()
                .map(|file| place(file))
                .find(|file| file.is_file());
            toolchain
                .settings
                .extend(file.map(|file| (name.clone(), file)));
        }
        if let Some(template) = template {
            toolchain.check(template, needs)?;
        }
        Ok(toolchain)
    }

    /// Finds each program, or says what brings it.
    fn check(
        &mut self,
        template: &Template,
        (kind, with_dependencies): (When, bool),
    ) -> Result<(), BuildError> {
        let tools = template.recipe.tools.iter();
        for tool in tools.filter(|tool| tool.when.holds(kind, with_dependencies)) {
            match tool.any.iter().find_map(|name| self.which(name)) {
                Some(program) => self.programs.push(program),
                None => {
                    return Err(BuildError::Missing(format!(
                        "{} functions need {}, which this machine does not have: apt-get install {}",
                        template.name(),
                        tool.any.join(" or "),
                        tool.package
                    )));
                }
            }
        }
        Ok(())
    }

    /// Where a program is.
    fn which(&self, name: &str) -> Option<PathBuf> {
        let places = self.path.iter().map(|folder| folder.join(name));
        let runs = |path: &PathBuf| {
            fs::metadata(path)
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        };
        places.into_iter().find(runs)
    }

    /// Changes when a program is updated.
    pub(crate) fn fingerprint(&self, hash: &mut Sha256) {
        for program in &self.programs {
            let real = fs::canonicalize(program).unwrap_or_else(|_| program.clone());
            add_field(hash, real.as_os_str().as_encoded_bytes());
            if let Ok(data) = fs::metadata(&real) {
                hash.update(data.size().to_le_bytes());
                hash.update(data.mtime().to_le_bytes());
            }
        }
    }

    /// The `PATH` of tools and of a program that hob.toml starts.
    pub(crate) fn path_variable(&self) -> String {
        let path = self.path.iter().map(|folder| folder.to_string_lossy());
        path.collect::<Vec<_>>().join(":")
    }

    /// Copies the owner's settings files to where only tools of this build read them; returns the
    /// variables that name them, `inside` being that folder as tools see it.
    pub(crate) fn lend_settings(
        &self,
        place: &Workplace,
        inside: &Path,
    ) -> io::Result<Vec<(String, String)>> {
        let mut variables = Vec::new();
        for (name, file) in &self.settings {
            let Some(file_name) = file.file_name() else {
                continue;
            };
            let copy = place.settings().join(file_name);
            let _ = fs::remove_file(&copy); // lent to the tool before this one
            fs::write(&copy, fs::read(file)?)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o400))?;
            give_to_cage(&copy)?;
            let seen = inside.join(file_name).to_string_lossy().into_owned();
            variables.push((name.clone(), seen));
        }
        Ok(variables)
    }
}

// === impl Machine ===

impl Machine<'_> {
    fn expand(&self, text: &str) -> String {
        let text = match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest).to_string_lossy().into_owned(),
            None => text.to_owned(),
        };
        text.replace("$FUNCTION_CACHE", &self.function_cache.to_string_lossy())
            .replace("$CACHE", &self.cache.to_string_lossy())
    }

    fn passed_on(&self) -> BTreeMap<String, String> {
        let may = |name: &str| {
            PASSED_ON.contains(&name)
                || PASSED_ON_FAMILIES
                    .iter()
                    .any(|begin| name.starts_with(begin))
        };
        let env = self.environment.iter().filter(|(name, _)| may(name));
        env.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}
