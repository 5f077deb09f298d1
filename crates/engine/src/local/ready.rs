use std::{io::ErrorKind, os::unix::fs::FileTypeExt, path::Path, sync::Arc, time::Duration};

use hob_model::{Backend, End, EndReason, Endpoint, Timespan, port::EngineError};
use tokio::{
    net::{TcpStream, UnixStream},
    task::spawn_blocking,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::Fleet,
    listener, logs, per_call,
    plan::{Home, Program},
    probe::{self, Probe},
    record::Door,
    replica::Replica,
};
use crate::build::is_damaged;

/// First pause between two looks whether a program listens: the timer's own grain, since every
/// millisecond here is one that a caller waits.
const LOOK_FIRST: Duration = Duration::from_millis(1);
/// Longest pause; reached after some 100 ms, where interpreters with large imports are.
const LOOK_MAX: Duration = Duration::from_millis(10);
/// After so many looks at the first pace the pause doubles each time.
const LOOKS_AT_FIRST_PACE: u32 = 60;

/// A replica that listens and takes no calls yet.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) replica: Arc<Replica>,
    pub(super) backend: Arc<Backend>,
}

/// Starts one replica and waits until it listens. On failure nothing of it is left but its log.
pub(super) async fn start(
    fleet: &Arc<Fleet>,
    program: &Arc<Program>,
    cancel: &CancellationToken,
) -> Result<Started, EngineError> {
    let replica = fleet.give_birth(program).await?;
    let limit = program.timeout().min(fleet.host.start_timeout);
    let outcome = tokio::select! {
        door = listening(&replica) => Ok(door),
        end = replica.ended() => Err(ended(&replica, end)),
        () = sleep(limit) => Err(unready(&replica, limit)),
        () = cancel.cancelled() => Err(cancelled(program)),
    };
    match outcome {
        Ok(door) => {
            let endpoint = replica.endpoint(door);
            let backend = match program.is_used_once() {
                true => Backend::once(replica.id.clone(), endpoint),
                false => Backend::new(replica.id.clone(), endpoint),
            };
            let backend = Arc::new(backend);
            let noted = Arc::clone(&replica);
            // A panic in there is shown by the runtime.
            let _ = spawn_blocking(move || noted.note(Some(door))).await;
            if program.is_used_once() {
                let (fleet, one) = (Arc::clone(fleet), Arc::clone(&replica));
                tokio::spawn(per_call::attend(fleet, one, Arc::clone(&backend)));
            }
            Ok(Started { replica, backend })
        }
        Err(failure) => {
            replica.kill().await;
            replica.gone().await;
            let failure = with_last_words(failure, &replica).await;
            Err(with_damage(failure, program).await)
        }
    }
}

/// The first of the two places where the program accepts a connection.
async fn listening(replica: &Replica) -> Door {
    tokio::select! {
        () = until(|| unix_accepts(&replica.socket)) => Door::Socket,
        () = until(|| tcp_accepts(replica)) => Door::Port,
    }
}

/// Whether somebody still listens there, where a program did. One that is busy with others does.
pub(super) async fn accepts(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(socket) => {
            let connected = UnixStream::connect(socket).await;
            connected.map_or_else(|problem| problem.kind() == ErrorKind::WouldBlock, |_| true)
        }
        Endpoint::Tcp(address) => TcpStream::connect(address).await.is_ok(),
        Endpoint::Namespace { namespace, address } => {
            let (namespace, address) = (namespace.clone(), *address);
            let look = move || probe::accepts(&namespace, &address);
            spawn_blocking(look).await.unwrap_or(false)
        }
    }
}

async fn until<F: Future<Output = bool>>(look: impl Fn() -> F) {
    let mut pause = LOOK_FIRST;
    for looks in 0.. {
        if look().await {
            return;
        }
        sleep(pause).await;
        if looks > LOOKS_AT_FIRST_PACE {
            pause = (pause * 2).min(LOOK_MAX);
        }
    }
}

async fn unix_accepts(socket: &Path) -> bool {
    // Not through a link, which the program could have made to any socket of this machine.
    let found = std::fs::symlink_metadata(socket);
    if !found.is_ok_and(|data| data.file_type().is_socket()) {
        return false;
    }
    UnixStream::connect(socket).await.is_ok()
}

async fn tcp_accepts(replica: &Replica) -> bool {
    let address = match &replica.tcp {
        Endpoint::Tcp(address) => *address,
        Endpoint::Namespace { namespace, address } => {
            let probe = Probe::new(&replica.program, namespace.clone(), *address);
            return spawn_blocking(move || probe.is_ready())
                .await
                .unwrap_or(false);
        }
        // Looked at by its own name.
        Endpoint::Unix(_) => return false,
    };
    let Ok(stream) = TcpStream::connect(address).await else {
        return false;
    };
    // Where nobody listens on a port of the ephemeral range, a connection can meet itself.
    stream.local_addr().is_ok_and(|own| own != address) && is_its_own(replica, address.port()).await
}

/// Whether the program itself listens there, as far as its user tells: calls must not go to
/// somebody else who got the port.
async fn is_its_own(replica: &Replica, port: u16) -> bool {
    let Some((uid, _)) = replica.program.user_on_host() else {
        return true;
    };
    let look = move || listener::is_somebody_elses(port, uid);
    !spawn_blocking(look).await.unwrap_or(false)
}

fn ended(replica: &Replica, end: End) -> EngineError {
    let name = &replica.program.function;
    let reason = match end.reason {
        EndReason::Ok => EndReason::Exit,
        other => other,
    };
    EngineError::Start {
        reason,
        message: format!(
            "function `{name}` ended before it listened: {}",
            end.message
        ),
        log_tail: Vec::new(),
    }
}

fn unready(replica: &Replica, limit: Duration) -> EngineError {
    let name = &replica.program.function;
    let limit = Timespan(limit);
    let cure = match &replica.tcp {
        Endpoint::Namespace { address, .. } => format!(
            "it must serve HTTP on port {}, and say on its health path, if it has one, that it is well",
            address.port()
        ),
        _ => "it must accept connections on the unix socket $HOB_SOCKET or on 127.0.0.1:$PORT"
            .to_owned(),
    };
    EngineError::Start {
        reason: EndReason::Unready,
        message: format!("function `{name}` runs but did not listen within {limit}: {cure}"),
        log_tail: Vec::new(),
    }
}

pub(super) fn cancelled(program: &Program) -> EngineError {
    let name = &program.function;
    EngineError::Start {
        reason: EndReason::Cancelled,
        message: format!("function `{name}` was changed or stopped while it was starting"),
        log_tail: Vec::new(),
    }
}

/// The program is not at fault where its files are not what was deployed.
async fn with_damage(mut failure: EngineError, program: &Arc<Program>) -> EngineError {
    if let (
        EngineError::Start {
            reason: EndReason::Exit | EndReason::Unready,
            message,
            ..
        },
        Home::Bundle(bundle),
    ) = (&mut failure, &program.home)
    {
        let own = bundle.clone();
        let is_damaged = spawn_blocking(move || is_damaged(&own)).await;
        if is_damaged.unwrap_or(false) {
            let bundle = bundle.display();
            message.push_str(&format!(
                "; its bundle {bundle} is damaged: deploy the folder again"
            ));
        }
    }
    failure
}

async fn with_last_words(mut failure: EngineError, replica: &Replica) -> EngineError {
    if let EngineError::Start { log_tail, .. } = &mut failure {
        let log = replica.log.clone();
        let words = spawn_blocking(move || logs::last_words(&log)).await;
        *log_tail = words.unwrap_or_default();
    }
    failure
}
