//! `/hob/v1`: the whole table of contents of the API. Each file below holds one noun.

mod archive;
mod auth;
mod backup;
mod build;
mod builder;
mod calls;
mod certificates;
mod document;
mod error;
mod export;
mod functions;
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
mod upload;

use std::sync::Arc;

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Control, metrics, registry};
use error::ApiError;

/// Who is on the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Somebody whom the unix socket's peer credentials let in: no password.
    Local,
    /// Anybody: everything asks for the admin password, but `/healthz`, `/openapi.json` and
    /// asynchronous calls for nothing, and the builder for a signature.
    Remote,
}

pub(crate) fn router(control: &Arc<Control>, access: Access) -> Router {
    let (routes, _) = documented().split_for_parts();
    let routes = routes
        // OpenFaaS's builder and, below, the registry are specified elsewhere.
        .route(builder::BUILD, post(builder::build))
        .route(builder::PUBLIC_KEY, get(builder::public_key))
        // Other spellings of routes that are documented.
        .merge(system::aliases())
        .merge(later::aliases())
        .fallback(async || ApiError::NothingHere)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(Extension(access))
        .with_state(Arc::clone(control))
        .merge(registry::router(control));
    guard(routes, control, access)
}

/// Every route that the OpenAPI document has: what each is stands at its handler. After a change,
/// `tests/plane/document.rs` says how to renew the golden copy.
fn documented() -> OpenApiRouter<Arc<Control>> {
    let routes = [
        routes!(status::healthz),
        routes!(document::document),
        routes!(status::show),
        routes!(functions::list),
        routes!(functions::show, upload::deploy, functions::remove),
        routes!(images::deploy),
        routes!(functions::scale),
        routes!(revisions::list),
        routes!(revisions::rollback),
        routes!(revisions::promote),
        routes!(logs::show),
        routes!(export::download, build::export),
        routes!(images::list, images::remove),
        routes!(images::prune),
        routes!(archive::save, archive::load),
        routes!(backup::download),
        routes!(build::build),
        routes!(registries::list),
        routes!(registries::forget),
        routes!(registries::log_in, registries::log_out),
        routes!(registries::trust),
        routes!(registries::plain_http),
        routes!(secrets::list),
        routes!(secrets::set, secrets::remove),
        routes!(schedules::list),
        routes!(schedules::run),
        routes!(calls::list, calls::drop_dead),
        routes!(calls::retry_dead),
        routes!(calls::show, calls::remove),
        routes!(calls::retry),
        routes!(later::take, calls::forget),
        routes!(system_logs::show),
        routes!(certificates::list),
        routes!(certificates::renew),
    ];
    let document = OpenApiRouter::with_openapi(document::head());
    let document = routes.into_iter().fold(document, OpenApiRouter::routes);
    document.merge(system::documented())
}

/// Around everything, the fallbacks too: a route cannot be added outside of it.
fn guard(routes: Router, control: &Arc<Control>, access: Access) -> Router {
    let guarded = match access {
        Access::Local => routes,
        Access::Remote => {
            routes.layer(from_fn_with_state(Arc::clone(control), auth::require_admin))
        }
    };
    let runtime = control.config.runtime.clone();
    guarded
        .layer(from_fn_with_state(Arc::clone(control), metrics::measure))
        .layer(from_fn(move |request, next| {
            place::on(runtime.clone(), request, next)
        }))
}
