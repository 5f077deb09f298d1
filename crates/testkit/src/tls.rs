use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncWriteExt, copy, split},
    net::TcpStream,
    runtime::Builder,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

/// Speaks TLS in front of a server that does not; ends when it is dropped.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsProxy {
    /// In front of `backend`, with a certificate and its key, PEM files.
    ///
    /// # Panics
    /// When these cannot be read, or it cannot listen.
    pub fn start(backend: SocketAddr, certificate: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate");
        let chain = chain.collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .expect("a certificate with its key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    () = serve(listener, acceptor, backend) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `https://HOST:PORT`.
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, backend: SocketAddr) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Who does not trust it has left; that is his test's business.
            let _ = pass(stream, acceptor, backend).await;
        });
    }
}

async fn pass(stream: TcpStream, acceptor: TlsAcceptor, backend: SocketAddr) -> io::Result<()> {
    let (mut heard, mut said) = split(acceptor.accept(stream).await?);
    let (mut answers, mut requests) = TcpStream::connect(backend).await?.into_split();
    // Who refuses what he is sent may have said why: either way ends by itself.
    let there = async {
        let _ = copy(&mut heard, &mut requests).await;
        requests.shutdown().await
    };
    let back = async {
        let _ = copy(&mut answers, &mut said).await;
        said.shutdown().await
    };
    let (there, back) = tokio::join!(there, back);
    there.and(back)
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
