//! `/hob/v1`: the whole table of contents of the API. Each file below holds one noun.

mod actor;
mod archive;
mod audit;
mod auth;
mod backup;
mod bans;
mod build;
mod builder;
mod calls;
mod certificates;
mod document;
mod error;
mod export;
mod functions;
mod guarded;
mod images;
mod later;
mod logs;
mod outgoing;
mod place;
mod refusals;
mod registries;
mod request;
mod revisions;
mod schedules;
mod secrets;
mod status;
mod stream;
mod system;
mod system_logs;
mod tokens;
mod upload;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use hob_model::sandbox::EXECUTE_ALIAS;
use utoipa_axum::routes;

use crate::{
    Control, metrics, registry,
    runs::{
        piston::{self, RUNTIMES_ALIAS},
        run,
    },
};
use guarded::{Guarded, Policy};

pub(crate) use actor::Actor;
pub use actor::LocalUser;

/// Who is on the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Somebody whom the unix socket's peer credentials let in: no login.
    Local,
    /// Anybody: each route asks for what its policy says.
    Remote,
}

pub(crate) fn router(control: &Arc<Control>, access: Access) -> Router {
    let routes = documented().and(beside(control)).serve(control, access);
    let runtime = control.config.runtime.clone();
    routes
        .layer(from_fn_with_state(Arc::clone(control), metrics::measure))
        .layer(from_fn(move |request, next| {
            place::on(runtime.clone(), request, next)
        }))
}

/// Every route that the OpenAPI document has, with who may use it: what each is stands at its
/// handler. After a change, `tests/plane/document.rs` says how to renew the golden copy.
fn documented() -> Guarded {
    use Policy::{Admin, Open, Owner, Read, Run, Secrets, Write};

    let routes = [
        (Open, routes!(status::healthz)),
        (Open, routes!(document::document)),
        (Read, routes!(status::show)),
        (Read, routes!(functions::list)),
        (Read, routes!(functions::show)),
        (Write, routes!(upload::deploy, functions::remove)),
        (Write, routes!(images::deploy)),
        (Write, routes!(functions::scale)),
        (Read, routes!(revisions::list)),
        (Write, routes!(revisions::rollback)),
        (Write, routes!(revisions::promote)),
        (Read, routes!(logs::show)),
        (Read, routes!(export::download)),
        (Write, routes!(build::export)),
        (Read, routes!(images::list)),
        (Write, routes!(images::remove)),
        (Write, routes!(images::prune)),
        (Read, routes!(archive::save)),
        (Write, routes!(archive::load)),
        (Admin, routes!(backup::download)),
        (Admin, routes!(audit::list)),
        (Write, routes!(build::build)),
        (Admin, routes!(registries::list)),
        (Admin, routes!(registries::forget)),
        (Admin, routes!(registries::log_in, registries::log_out)),
        (Admin, routes!(registries::trust)),
        (Admin, routes!(registries::plain_http)),
        (Secrets, routes!(secrets::list)),
        (Secrets, routes!(secrets::set, secrets::remove)),
        (Admin, routes!(tokens::list, tokens::create)),
        (Admin, routes!(tokens::revoke)),
        (Owner, routes!(tokens::change_password)),
        (Admin, routes!(bans::list, bans::add, bans::remove)),
        (Read, routes!(certificates::list)),
        (Admin, routes!(certificates::renew)),
        (Read, routes!(schedules::list)),
        (Write, routes!(schedules::run)),
        (Read, routes!(calls::list)),
        (Write, routes!(calls::drop_dead)),
        (Write, routes!(calls::retry_dead)),
        (Read, routes!(calls::show)),
        (Write, routes!(calls::remove)),
        (Write, routes!(calls::retry)),
        // Who may call a function is its own affair, and settled before the call comes here.
        (Open, routes!(later::take)),
        (Write, routes!(calls::forget)),
        (Read, routes!(system_logs::show)),
        (Run, routes!(run::run)),
        (Run, routes!(piston::execute)),
        (Run, routes!(piston::runtimes)),
    ];
    let all = Guarded::default().and(system::documented());
    routes
        .into_iter()
        .fold(all, |all, (policy, routes)| all.route(policy, routes))
}

/// Those that it does not have.
fn beside(control: &Arc<Control>) -> Guarded {
    // OpenFaaS's builder and, below, the registry are specified elsewhere.
    let builder = Guarded::default()
        .beside(Policy::Signed, builder::BUILD, post(builder::build))
        .beside(Policy::Open, builder::PUBLIC_KEY, get(builder::public_key));
    // Other spellings of routes that are documented.
    let all = builder
        .and(system::aliases())
        .and(later::aliases())
        .beside(Policy::Run, EXECUTE_ALIAS, post(piston::execute))
        .beside(Policy::Run, RUNTIMES_ALIAS, get(piston::runtimes));
    registry::routes(control)
        .into_iter()
        .fold(all, |all, (path, routes)| {
            all.beside(Policy::Images, path, routes)
        })
}
