//! The data plane, and what it asks of the control plane.

use std::sync::Arc;

use anyhow::Context;
use hob_control::{Access, Control};
use hob_gateway::{
    AnswerBody, CallLimits, Fallback, Gateway, GatewayConfig, GatewayHandle, GatewayPorts,
    Listeners, RunFields, TlsConfig,
};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tower::ServiceExt;

use super::parts::Shared;
use crate::config::Config;

/// Accepts calls from here on.
///
/// # Errors
/// When it cannot.
pub(super) fn start(
    config: &Config,
    control: &Arc<Control>,
    listeners: Listeners,
    shared: Shared,
) -> anyhow::Result<GatewayHandle> {
    let tls = config.tls.as_ref().map(|tls| TlsConfig {
        certificates: shared.keyring,
        hsts: tls.hsts,
    });
    let limits = config.limits.gateway();
    let runs = config.sandbox.runs();
    let config = GatewayConfig {
        calls: CallLimits {
            runs: config.sandbox.rate.clone(),
            ..limits.calls.clone()
        },
        runs: RunFields {
            coord: runs.coord,
            cors: runs.cors,
        },
        proxies: config.proxies.clone(),
        access_log: config.access_log.clone(),
        tls,
        ..limits
    };
    let wake = Arc::clone(control) as _;
    let ports = GatewayPorts {
        routes: shared.routes,
        wake,
        fallback: remote_api(control),
        tokens: control.tokens(),
        secrets: shared.secrets,
        bans: shared.bans,
    };
    Gateway::start(config, listeners, ports).context("cannot start the gateway")
}

/// The control API behind the password, for all paths that are no calls.
fn remote_api(control: &Arc<Control>) -> Fallback {
    let router = control.router(Access::Remote);
    Arc::new(move |request, _peer| {
        let router = router.clone();
        let request = request.map(axum::body::Body::new);
        Box::pin(async move {
            // A router never fails; it has no error to show.
            let answer = router
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {});
            answer.map(|body| -> AnswerBody { UnsyncBoxBody::new(body.map_err(Into::into)) })
        })
    })
}
