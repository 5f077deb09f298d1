use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{runtime, sync::watch};

use super::World;

/// Pieces of an answer, and how it ends.
pub(super) struct Pieces {
    pub(super) pieces: std::collections::VecDeque<Bytes>,
    pub(super) end: Ending,
    /// Runs when the body is dropped.
    pub(super) dropped: Option<Box<dyn FnOnce(bool) + Send>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Clean,
    /// It just goes on.
    Never,
    /// The connection breaks.
    Broken,
    /// It breaks once the pieces are written.
    Breaking,
}

/// An answer; an error closes the connection.
pub(super) type Answer = io::Result<Response<Pieces>>;

/// Serves on a free port, on a thread of its own, until `stopped`.
pub(super) fn start<F, A>(
    world: Arc<World>,
    mut stopped: watch::Receiver<()>,
    answer: F,
) -> SocketAddr
where
    F: Fn(Arc<World>, Request<Bytes>) -> A + Copy + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a listener");
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.expect("a connection").0,
                    _ = stopped.changed() => return,
                };
                let world = world.clone();
                let serve = service_fn(move |request: Request<Incoming>| {
                    let world = world.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.map_err(io::Error::other)?;
                        answer(world, Request::from_parts(head, body.to_bytes())).await
                    }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(async move {
                    // It breaks where a fault has it break.
                    let _ = serving.await;
                });
            }
        });
    });
    address
}

impl Pieces {
    pub(super) fn whole(text: String) -> Self {
        Self {
            pieces: [Bytes::from(text)].into(),
            end: Ending::Clean,
            dropped: None,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.end {
            Ending::Clean => Poll::Ready(None),
            Ending::Never => Poll::Pending,
            Ending::Broken => Poll::Ready(Some(Err(io::Error::other("broken on purpose")))),
            Ending::Breaking => {
                self.end = Ending::Broken;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.take() {
            dropped(self.pieces.is_empty() && self.end == Ending::Clean);
        }
    }
}
