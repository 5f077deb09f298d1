//! How the gateway accepts calls by TLS.

use std::{net::SocketAddr, sync::Arc};

use hob_gateway::{Certificates, GatewayConfig, TlsConfig};

use crate::config::Config;

/// What the gateway has to know of the configuration.
pub(super) fn gateway_config(config: &Config, certificates: Arc<Certificates>) -> GatewayConfig {
    let tls = config.tls.as_ref().map(|tls| TlsConfig {
        certificates,
        hsts: tls.hsts,
    });
    GatewayConfig {
        proxies: config.proxies.clone(),
        access_log: config.access_log.clone(),
        tls,
        ..config.limits.gateway()
    }
}

/// How calls are made by TLS at an address: `https://0.0.0.0:443`.
pub(super) fn url(address: SocketAddr) -> String {
    format!("https://{address}")
}
