//! Which pool runs what strangers send.

mod fly;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use hob_engine::pool::{
    LocalPool, LocalPoolConfig, Protocol, WorkerPool, WorkersConfig,
    local::{LanguageSetting, PoolError, languages_elsewhere},
};
use hob_model::{
    port::Sandboxes,
    sandbox::{BASH, Language},
};
use hob_sandbox::Sandbox;

use crate::{
    app::candidates,
    config::{Config, SandboxesConfig, Workers},
    environment::Environment,
    exit::Failure,
    key_file,
};

/// Each user who is logged in has a folder here.
const USERS: &str = "/run/user";

/// The pool that the owner wants, if any. `run` is this server's run folder, and `sandbox` has been
/// swept. Has to be called inside the runtime.
///
/// # Errors
/// When it is not possible here: it is never made weaker in silence.
pub(super) fn sandboxes(
    config: &Config,
    sandbox: &Arc<Sandbox>,
    run: &Path,
    env: &Environment,
) -> anyhow::Result<Option<Arc<dyn Sandboxes>>> {
    let wanted = &config.sandbox;
    if !wanted.enabled {
        return Ok(None);
    }
    Ok(Some(match (&wanted.workers, &wanted.fly) {
        (Some(workers), _) => elsewhere(wanted, workers)?,
        (None, Some(table)) => fly::fly(wanted, table, &config.data, env)?,
        (None, None) => local(wanted, sandbox, run, env)?,
    }))
}

/// The pool of this machine; see [`sandboxes`].
///
/// # Errors
/// When it is not possible here.
pub(super) fn local(
    wanted: &SandboxesConfig,
    sandbox: &Arc<Sandbox>,
    run: &Path,
    env: &Environment,
) -> anyhow::Result<Arc<dyn Sandboxes>> {
    let pool = LocalPool::new(local_config(wanted, run, env), Arc::clone(sandbox));
    Ok(pool.map_err(|error: PoolError| Failure::failed(error.to_string()))?)
}

/// The pool of other machines.
fn elsewhere(wanted: &SandboxesConfig, workers: &Workers) -> anyhow::Result<Arc<dyn Sandboxes>> {
    let key = wanted.key.as_deref().map(key_file::read_private);
    let languages = understood(wanted, workers.protocol);
    let pool = WorkerPool::new(WorkersConfig {
        workers: workers.workers.clone(),
        protocol: workers.protocol,
        key: key.transpose()?,
        limits: wanted.limits.run,
        queue: wanted.pool.queue,
        languages,
    });
    Ok(Arc::new(pool?))
}

/// What workers of a kind understand.
fn understood(wanted: &SandboxesConfig, protocol: Protocol) -> Vec<Language> {
    let mut languages = languages_elsewhere(&languages(wanted));
    if protocol == Protocol::Bfaas {
        languages.retain(|language| language.name == BASH);
    }
    languages
}

fn languages(wanted: &SandboxesConfig) -> Vec<LanguageSetting> {
    let languages = wanted.languages.iter();
    let languages = languages.map(|(name, language)| LanguageSetting {
        name: name.clone(),
        run: language.run.clone(),
        file: language.file.clone(),
        aliases: language.aliases.clone(),
        version: language.version.clone(),
    });
    languages.collect()
}

fn local_config(wanted: &SandboxesConfig, run: &Path, env: &Environment) -> LocalPoolConfig {
    LocalPoolConfig {
        run: run.to_owned(),
        neighbours: neighbours(env),
        level: wanted.level,
        runtime: wanted.runtime.clone(),
        size: wanted.pool.size,
        queue: wanted.pool.queue,
        lease: wanted.pool.lease,
        limits: wanted.limits.run,
        cpu_millis: wanted.limits.cores.0,
        languages: languages(wanted),
    }
}

/// Where the run folders of other servers may be: wherever this one's might have been, and for root,
/// who cleans up after everybody, those of other users.
fn neighbours(env: &Environment) -> Vec<PathBuf> {
    let mine = candidates("", env).into_iter();
    let mut folders: Vec<PathBuf> = mine
        .filter_map(|path| Some(path.parent()?.into()))
        .collect();
    if env.root {
        let users = fs::read_dir(USERS).into_iter().flatten().flatten();
        folders.extend(users.map(|user| user.path()));
    }
    folders.sort();
    folders.dedup();
    folders
}
