use std::path::PathBuf;

use axum::response::{IntoResponse, Response};
use hob_image::{ImageError, ImageFault};
use hob_model::{
    AddressRange, BanError, FunctionName, IoWords, Label, Scope, is_disk_full,
    port::{BuildError, EngineError, SecretError},
};
use hob_store::StoreError;
use http::{HeaderValue, StatusCode, header};
use thiserror::Error;

use crate::{
    RegistriesError,
    backup::BackupError,
    gate::GateError,
    queue::{self, EnqueueError},
    tokens::TokenError,
    translate::AskedError,
};

/// Why a request was not done. The texts are for the owner of the machine: nobody else gets
/// this far.
#[derive(Debug, Error)]
pub(super) enum ApiError {
    /// The request makes no sense as it is.
    #[error("{0}")]
    Bad(String),
    /// The keys of a query of OpenFaaS's make no sense.
    #[error("could not parse the log request: {0}")]
    Unreadable(String),
    /// No password, or not the right one.
    #[error("invalid credentials: log in as `admin` or with a token, or set HOB_PASSWORD")]
    Unauthorized,
    /// A token that does not go so far.
    #[error("token `{token}` may not do this: it takes one with the scope `{needed}`")]
    Narrow {
        /// Its name.
        token: Box<str>,
        /// What it lacks.
        needed: Scope,
    },
    /// No token goes so far.
    #[error("this takes the admin password: no token may do it")]
    PasswordOnly,
    /// No such token.
    #[error("token `{0}` does not exist")]
    NoToken(String),
    /// There is no new token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A web page sent it, with a password that the browser remembered.
    #[error("requests from web pages are refused: use `hob`, or a program of your own")]
    CrossSite,
    /// Whoever has it can read every secret.
    #[error(
        "the key to the secrets never leaves over TCP: ask with `identity=false` (`hob backup --no-identity`), or on the machine itself"
    )]
    IdentityStays,
    /// There is no backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// No such function.
    #[error("function `{0}` does not exist")]
    NoFunction(FunctionName),
    /// No function can have that name.
    #[error("function `{0}` does not exist")]
    NoSuchName(String),
    /// There is one of that name.
    #[error("function `{0}` already exists")]
    Exists(FunctionName),
    /// A deploy asks for what another function has.
    #[error("{0}")]
    Taken(String),
    /// A deploy failed by no fault of who asked for it.
    #[error("{0}")]
    Deploy(String),
    /// There is a secret of that name.
    #[error("secret `{0}` already exists")]
    SecretExists(String),
    /// No such namespace.
    #[error("namespace `{0}` does not exist")]
    NoNamespace(Label),
    /// There is one of that name.
    #[error("namespace `{0}` already exists")]
    NamespaceExists(Label),
    /// Clients of Kubernetes are told so there.
    #[error("unable to manage the kube-system namespace")]
    KubeSystem,
    /// No such secret.
    #[error("secret `{0}` does not exist")]
    NoSecret(String),
    /// Nobody is asked for a certificate for it.
    #[error(
        "no certificate for `{0}` is asked for by ACME: `hob certificate list` shows those that are"
    )]
    NoCertificate(String),
    /// No such path.
    #[error(
        "nothing here: call functions at /function/NAME or /async-function/NAME, control hob at /hob/v1 or /system; /openapi.json has all paths"
    )]
    NothingHere,
    /// Such a path, but not for this method.
    #[error("this path does not take that method")]
    Method,
    /// The body is over its limit.
    #[error("{0}")]
    TooLarge(String),
    /// The body stopped coming.
    #[error("{0}")]
    TooSlow(String),
    /// The builder has no payload secret that it could use; told to the owner only.
    #[error("the builder is off: {0}")]
    BuilderOff(String),
    /// Not signed with the payload secret, or there is none and a stranger asks.
    #[error(
        "X-Build-Signature is missing or wrong: sign the body with the server's payload secret"
    )]
    Unsigned,
    /// The builder has enough to do.
    #[error("too many builds are under way: try again in a minute")]
    ManyBuilds,
    /// No such asynchronous call.
    #[error(
        "there is no call `{0}`: it may have ended some time ago, `hob queue list` shows what is kept"
    )]
    NoCall(String),
    /// Only dead letters are retried by hand.
    #[error("call `{id}` is {state}: only dead letters are retried by hand")]
    NotDead {
        /// Its id.
        id: String,
        /// Where it stands.
        state: &'static str,
    },
    /// No asynchronous call more can be taken.
    #[error(transparent)]
    QueueFull(#[from] queue::Full),
    /// The same, for strangers.
    #[error("the queue is full: try again later")]
    NoRoom,
    /// The disk refused an asynchronous call; the log says why.
    #[error("the call could not be stored: try again later")]
    NotStored {
        /// Whether that may pass by itself.
        soon: bool,
    },
    /// There is no room for an asynchronous call; the log says where.
    #[error("the call was not taken, the server's disk is full: try again later")]
    CallDiskFull,
    /// Too many bodies of asynchronous calls are on their way in.
    #[error("too many calls come in at once: try again in a second")]
    ManyCalls,
    /// A secret of hob's own is there and cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Too many passwords to check.
    #[error("too many logins at once: try again in a second")]
    Crowded,
    /// The engine could not.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The builder could not.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The image store or a registry could not.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What is known of registries could not be changed.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// No such registry.
    #[error("nothing is known of registry `{0}`: `hob registry list` shows what is")]
    NoRegistry(String),
    /// Somebody must not be banned.
    #[error(transparent)]
    Ban(BanError),
    /// Nobody there is.
    #[error("{0} is not banned: `hob ban list` shows who is")]
    NoBan(AddressRange),
    /// The disk or the database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secret is safe, but not all see it.
    #[error(
        "secret `{name}` is stored, but functions that run may still see the former value: {source}"
    )]
    Refresh {
        /// Its name.
        name: String,
        /// What kept the engine from it.
        source: EngineError,
    },
    /// A file that is about to be sent.
    #[error("cannot {action} {}: {}", path.display(), IoWords(source))]
    Io {
        /// What was tried: "keep the upload in".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A fault of our own.
    #[error("this request hit a fault in hob: see the server's log")]
    Panic,
    /// The server is on its way out.
    #[error("hob is stopping")]
    Stopping,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            error if error.is_disk_full() => StatusCode::INSUFFICIENT_STORAGE,
            Self::Bad(_) | Self::Engine(EngineError::NoInstance { .. }) => StatusCode::BAD_REQUEST,
            Self::Unreadable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Store(error) if error.is_callers_fault() => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::Unsigned | Self::KubeSystem => StatusCode::UNAUTHORIZED,
            Self::CrossSite | Self::IdentityStays | Self::Narrow { .. } | Self::PasswordOnly => {
                StatusCode::FORBIDDEN
            }
            Self::Token(TokenError::NoScope(_) | TokenError::Expiry) => StatusCode::BAD_REQUEST,
            Self::Token(TokenError::Exists(_) | TokenError::Full) => StatusCode::CONFLICT,
            Self::Image(ImageError::NotHere(_))
            | Self::NoRegistry(_)
            | Self::NoBan(_)
            | Self::BuilderOff(_)
            | Self::NoFunction(_)
            | Self::NoSuchName(_)
            | Self::NoSecret(_)
            | Self::NoToken(_)
            | Self::NoNamespace(_)
            | Self::NoCall(_)
            | Self::NoCertificate(_)
            | Self::NothingHere
            | Self::Engine(EngineError::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::Image(ImageError::Busy)
            | Self::Backup(BackupError::UnderWay)
            | Self::Ban(_)
            | Self::Exists(_)
            | Self::Taken(_)
            | Self::SecretExists(_)
            | Self::NamespaceExists(_)
            | Self::NotDead { .. } => StatusCode::CONFLICT,
            Self::Image(error) if error.fault() == ImageFault::Caller => StatusCode::CONFLICT,
            Self::Registries(RegistriesError::File { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Registries(RegistriesError::Store(error)) if !error.is_callers_fault() => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Registries(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Engine(EngineError::Start { .. } | EngineError::Unsupported(_))
            | Self::Build(BuildError::Refused(_) | BuildError::Failed(_)) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Crowded | Self::ManyBuilds => StatusCode::TOO_MANY_REQUESTS,
            Self::Stopping
            | Self::QueueFull(_)
            | Self::ManyCalls
            | Self::NoRoom
            | Self::NotStored { soon: true }
            | Self::Store(StoreError::Crowded { .. } | StoreError::Busy { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Engine(EngineError::Host(_))
            | Self::Build(BuildError::Missing(_) | BuildError::Host(_))
            | Self::Image(_)
            | Self::Deploy(_)
            | Self::Token(_)
            | Self::Backup(_)
            | Self::Secret(_)
            | Self::Store(_)
            | Self::NotStored { soon: false }
            | Self::CallDiskFull
            | Self::Refresh { .. }
            | Self::Io { .. }
            | Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn is_disk_full(&self) -> bool {
        match self {
            Self::CallDiskFull
            | Self::Store(StoreError::DiskFull { .. })
            | Self::Backup(BackupError::Store(StoreError::DiskFull { .. }))
            | Self::Token(TokenError::Store(StoreError::DiskFull { .. }))
            | Self::Registries(RegistriesError::Store(StoreError::DiskFull { .. })) => true,
            Self::Image(error) | Self::Backup(BackupError::Image(error)) => error.is_disk_full(),
            Self::Io { source, .. } | Self::Backup(BackupError::Io { source, .. }) => {
                is_disk_full(source)
            }
            _ => false,
        }
    }

    fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"hob\", charset=\"UTF-8\""),
            )),
            Self::Unsigned => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("X-Build-Signature"),
            )),
            Self::Crowded | Self::ManyCalls | Self::Store(StoreError::Crowded { .. }) => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("1")))
            }
            Self::NotStored { soon: true } | Self::Store(StoreError::Busy { .. }) => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("5")))
            }
            Self::ManyBuilds | Self::QueueFull(_) | Self::NoRoom | Self::CallDiskFull => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("60")))
            }
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    /// The one place where an error becomes HTTP: one line of text.
    fn into_response(self) -> Response {
        let message = self.to_string();
        let line = message.lines().next().unwrap_or_default();
        let fields = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let mut response = (self.status(), fields, format!("{line}\n")).into_response();
        response.headers_mut().extend(self.header());
        response
    }
}

impl From<AskedError> for ApiError {
    fn from(error: AskedError) -> Self {
        Self::Bad(error.to_string())
    }
}

impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Wrong => Self::Unauthorized,
            GateError::Busy => Self::Crowded,
            GateError::Store(error) => Self::Store(error),
        }
    }
}

impl From<EnqueueError> for ApiError {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Full(full) => Self::QueueFull(full),
            EnqueueError::Store(error) => Self::Store(error),
            EnqueueError::Stopping => Self::Stopping,
        }
    }
}
