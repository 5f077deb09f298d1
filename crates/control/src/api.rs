//! `/hob/v1`: the whole table of contents of the API. Each file below holds one noun.

mod archive;
mod auth;
mod build;
mod builder;
mod calls;
mod error;
mod export;
mod functions;
mod images;
mod later;
mod logs;
mod place;
mod registries;
mod request;
mod secrets;
mod status;
mod stream;
mod system;
mod upload;

use std::sync::Arc;

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post, put},
};

use crate::{Control, registry};
use error::ApiError;

/// Who is on the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Somebody whom the unix socket's peer credentials let in: no password.
    Local,
    /// Anybody: everything asks for the admin password, but `/healthz` and asynchronous calls for
    /// nothing and the builder for a signature.
    Remote,
}

pub(crate) fn router(control: &Arc<Control>, access: Access) -> Router {
    let one = get(functions::show)
        .put(upload::deploy)
        .delete(functions::remove);
    let routes = Router::new()
        .route("/healthz", get(status::healthz))
        .route(builder::BUILD, post(builder::build))
        .route(builder::PUBLIC_KEY, get(builder::public_key))
        .route(
            "/system/functions",
            get(system::list)
                .post(system::create)
                .put(system::update)
                .delete(system::remove),
        )
        .route("/system/function/{name}", get(system::show))
        .route("/hob/v1/status", get(status::show))
        .route("/hob/v1/functions", get(functions::list))
        .route("/hob/v1/functions/{name}", one)
        .route("/hob/v1/functions/{name}/image", put(images::deploy))
        .route("/hob/v1/functions/{name}/scale", post(functions::scale))
        .route("/hob/v1/functions/{name}/logs", get(logs::show))
        .route(
            "/hob/v1/functions/{name}/export",
            get(export::download).post(build::export),
        )
        .route("/hob/v1/images", get(images::list).delete(images::remove))
        .route("/hob/v1/images/prune", post(images::prune))
        .route(
            "/hob/v1/images/archive",
            get(archive::save).post(archive::load),
        )
        .route("/hob/v1/registries", get(registries::list))
        .route("/hob/v1/registries/{name}", delete(registries::forget))
        .route(
            "/hob/v1/registries/{name}/login",
            put(registries::log_in).delete(registries::log_out),
        )
        .route("/hob/v1/registries/{name}/trust", put(registries::trust))
        .route(
            "/hob/v1/registries/{name}/plain-http",
            put(registries::plain_http),
        )
        .route("/hob/v1/images/build", post(build::start))
        .route("/hob/v1/secrets", get(secrets::list))
        .route(
            "/hob/v1/secrets/{name}",
            put(secrets::set).delete(secrets::remove),
        )
        .route(
            "/async-function/{name}",
            post(later::take).delete(calls::cancel),
        )
        .route("/async-function/{name}/", post(later::take))
        .route("/async-function/{name}/{*rest}", post(later::take))
        .route("/hob/v1/queue", get(calls::list).delete(calls::drop_dead))
        .route("/hob/v1/queue/retry", post(calls::retry_dead))
        .route("/hob/v1/calls/{id}", get(calls::show).delete(calls::remove))
        .route("/hob/v1/calls/{id}/retry", post(calls::retry))
        .fallback(async || ApiError::NothingHere)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(Extension(access))
        .with_state(Arc::clone(control))
        .merge(registry::router(control));
    guard(routes, control, access)
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
    guarded.layer(from_fn(move |request, next| {
        place::on(runtime.clone(), request, next)
    }))
}
