//! The pool of machines that are rented from Fly.

use std::{path::Path, sync::Arc};

use hob_engine::pool::{Clock, FlyConfig, FlyError, FlyPool, FlyToken, Pace, PoolName};
use hob_model::port::Sandboxes;

use super::understood;
use crate::{
    config::{FlyTable, SandboxesConfig},
    environment::Environment,
    exit::Failure,
    key_file,
};

/// Where the token is looked for when no file is named: bfaas's name, and that of Fly's own tools.
const TOKENS: [&str; 2] = ["FLY_TOKEN", "FLY_API_TOKEN"];

/// Opens the pool. What is known of its machines is kept in the data directory, in a file for each
/// app.
///
/// # Errors
/// When there is no token, or the settings do not go together.
pub(super) fn fly(
    wanted: &SandboxesConfig,
    table: &FlyTable,
    data: &Path,
    env: &Environment,
) -> anyhow::Result<Arc<dyn Sandboxes>> {
    let key = wanted.key.as_deref().map(key_file::read_private);
    let limits = wanted.limits.run;
    let config = FlyConfig {
        api: table.api.clone(),
        app: table.app.clone(),
        token: token(table, env)?,
        region: table.region.clone(),
        pool: table.pool.clone().unwrap_or_else(own_name),
        image: table.image.clone(),
        guest: table.guest.clone(),
        port: table.port,
        workers: table.workers.clone(),
        protocol: table.protocol,
        key: key.transpose()?,
        size: wanted.pool.size,
        queue: wanted.pool.queue,
        lease: table.lease(limits.time.0),
        limits,
        languages: understood(wanted, table.protocol),
        reuse: table.reuse,
        on_close: table.on_close,
        roster: data.join(format!("fly-{}.json", table.app)),
        pace: Pace::default(),
        clock: Clock::default(),
    };
    let pool = FlyPool::open(config);
    Ok(Arc::new(pool.map_err(failure)?))
}

fn token(table: &FlyTable, env: &Environment) -> anyhow::Result<FlyToken> {
    if let Some(path) = &table.token_file {
        return Ok(FlyToken::from_file(path).map_err(failure)?);
    }
    let Some(text) = TOKENS.iter().find_map(|name| env.text(name)) else {
        let message = "there is no token of Fly: name its file in sandbox.fly.token_file, or set FLY_API_TOKEN; `fly tokens create deploy --app APP` makes one";
        return Err(Failure::failed(message).into());
    };
    Ok(FlyToken::new(text).map_err(failure)?)
}

/// The machine's name tells one server's pool from another's.
fn own_name() -> PoolName {
    let machine = rustix::system::uname();
    PoolName::from_host(&machine.nodename().to_string_lossy())
}

fn failure(error: FlyError) -> Failure {
    Failure::failed(format!("sandbox.fly: {error}"))
}
