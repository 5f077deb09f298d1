//! Measures the warm path. Two modes, to be run as two processes:
//!
//! `warm handler TCP_ADDRESS SOCKET_PATH` answers every request with `hello`, over both sockets;
//! `warm gateway ADDRESS TARGET` forwards `/function/hello` to TARGET, a socket path or address.
//!
//! Then e.g. `wrk -t1 -c32 -d5 http://ADDRESS/function/hello` beside the same on TCP_ADDRESS.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    convert::Infallible, env, fs, net::TcpListener, path::PathBuf, sync::Arc, thread,
    time::Duration,
};

use bytes::Bytes;
use hob_gateway::{AnswerBody, Fallback, Gateway, GatewayConfig, GatewayPorts};
use hob_model::{
    Backend, EndReason, Endpoint, FleetName, FunctionName, ReplicaId, ReplicaSet, Route, Routes,
    SecretName, Target, Timespan, Token, Tokens, Track,
    port::{SecretBytes, SecretError, Secrets, Wake, WakeError},
};
use http::Response;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["handler", address, socket] => handler(address, socket),
        ["gateway", address, target] => gateway(address, target),
        _ => println!("usage: warm handler TCP_ADDRESS SOCKET_PATH | warm gateway ADDRESS TARGET"),
    }
}

fn handler(address: &str, socket: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpListener::bind(address).await.unwrap();
        let _ = fs::remove_file(socket);
        let unix = tokio::net::UnixListener::bind(socket).unwrap();
        loop {
            tokio::select! {
                stream = tcp.accept() => {
                    let stream = stream.unwrap().0;
                    stream.set_nodelay(true).unwrap();
                    tokio::spawn(hello(stream));
                }
                stream = unix.accept() => drop(tokio::spawn(hello(stream.unwrap().0))),
            }
        }
    });
}

async fn hello(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = service_fn(async |_| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

struct Awake;

#[async_trait::async_trait]
impl Wake for Awake {
    async fn wake(&self, _: &FleetName) -> Result<(), WakeError> {
        Ok(())
    }

    fn condemn(&self, _: &FunctionName, _: &ReplicaId, _: EndReason) {}
}

impl Tokens for Awake {
    fn find(&self, _: &str) -> Option<Arc<Token>> {
        None
    }
}

impl Secrets for Awake {
    fn reveal(&self, namespace: &str, name: &SecretName) -> Result<SecretBytes, SecretError> {
        Err(SecretError::NotFound {
            namespace: namespace.to_owned(),
            name: name.clone(),
        })
    }
}

fn gateway(address: &str, target: &str) {
    let endpoint = match target.parse() {
        Ok(address) => Endpoint::Tcp(address),
        Err(_) => Endpoint::Unix(PathBuf::from(target)),
    };
    let replicas = ReplicaSet::default();
    let backend = Backend::new(ReplicaId("hello-1".into()), endpoint);
    replicas.replace(vec![Arc::new(backend)]);
    let routes = Arc::new(Routes::default());
    routes.set(Route {
        function: "hello".parse().unwrap(),
        track: Track::Stable,
        revision: "1".into(),
        timeout: Timespan::from_secs(60),
        body_limit: 2 << 30,
        output_limit: 2 << 30,
        cors: None,
        guard: None,
        domains: Vec::new(),
        target: Target::Replicas(Arc::new(replicas)),
        counters: Arc::default(),
        canary: None,
    });
    let fallback: Fallback = Arc::new(|_, _| {
        Box::pin(async {
            Response::new(AnswerBody::new(
                Empty::new().map_err(|never| match never {}),
            ))
        })
    });
    let listener = TcpListener::bind(address).unwrap();
    let mut config = GatewayConfig::default();
    if let Some(threads) = env::var("THREADS").ok().and_then(|t| t.parse().ok()) {
        config.threads = threads;
    }
    let ports = GatewayPorts {
        routes,
        wake: Arc::new(Awake),
        fallback,
        tokens: Arc::new(Awake),
        secrets: Arc::new(Awake),
        bans: Arc::default(),
    };
    let handle = Gateway::start(config, listener, ports).unwrap();
    println!("gateway on {}", handle.local_addr());
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
