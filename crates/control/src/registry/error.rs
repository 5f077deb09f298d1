use axum::{
    Json,
    response::{IntoResponse, Response},
};
use hob_image::{DigestError, ImageError, ManifestError};
use hob_model::{IoWords, is_disk_full, port::EngineError};
use hob_store::StoreError;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use thiserror::Error;

/// Why a registry's request was not done. The texts are for the owner of the machine.
#[derive(Debug, Error)]
pub(crate) enum RegistryError {
    /// The setting is off.
    #[error("the registry is off: start hob with `--registry`, or set `registry = true`")]
    Off,
    /// No such path.
    #[error("nothing here: images are at /v2/NAME/manifests/TAG")]
    Nothing,
    /// Such a path, but not for this method.
    #[error("this path does not take that method")]
    Method,
    /// No password, or not the right one.
    #[error(
        "the password or token is missing or wrong: log in as `admin`, or with a token as the password"
    )]
    Unauthorized,
    /// The login is refused for another reason.
    #[error("{0}")]
    Denied(String),
    /// Too many of something at once.
    #[error("{0}: try again in a moment")]
    Crowded(&'static str),
    /// Not a repository's name.
    #[error(
        "`{0}` is no name of a repository: use lower-case letters, digits and . _ - / between them"
    )]
    Name(String),
    /// No such repository.
    #[error("repository `{0}` is not here")]
    NoRepository(String),
    /// A query that makes no sense.
    #[error("query: {0}")]
    Query(String),
    /// Not a digest, or not the right one.
    #[error("{0}")]
    Digest(String),
    /// No such blob.
    #[error("blob {0} is not here")]
    NoBlob(String),
    /// No such upload.
    #[error(
        "upload `{0}` is not here: it ended, or was idle for an hour, or hob started anew; begin again"
    )]
    NoUpload(String),
    /// A chunk that does not go where the last one ended.
    #[error("the upload has {length} bytes: go on there")]
    Order {
        /// Bytes that are here.
        length: u64,
        /// Where the upload is.
        location: String,
    },
    /// A range beyond the end of a blob.
    #[error("the blob has {0} bytes: the range is beyond its end")]
    Range(u64),
    /// A body that breaks off or is not of the size that it says.
    #[error("{0}")]
    Size(String),
    /// A body that stopped coming, or broke off.
    #[error("{0}")]
    Upload(String),
    /// No such manifest.
    #[error("manifest `{reference}` of `{repository}` is not here")]
    NoManifest {
        /// Of which repository.
        repository: String,
        /// Tag or digest.
        reference: String,
    },
    /// Not a manifest.
    #[error("the manifest {0}")]
    Manifest(String),
    /// It is over its limit.
    #[error("the manifest has more than {0} bytes")]
    TooLarge(u64),
    /// A blob that a manifest names.
    #[error("the manifest names {0}, which is not here: push that first")]
    NoPart(String),
    /// Something else needs it.
    #[error("{0}")]
    Needed(String),
    /// The disk could not.
    #[error(transparent)]
    Store(ImageError),
    /// The engine could not say what runs.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The database could not say what functions need.
    #[error(transparent)]
    Functions(#[from] StoreError),
    /// A file that is about to be sent or written.
    #[error("cannot {action}: {}", IoWords(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's own words.
        source: std::io::Error,
    },
}

// === impl RegistryError ===

impl RegistryError {
    /// Status and code as the specification lists them.
    fn kind(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Off => (S::NOT_FOUND, "UNSUPPORTED"),
            Self::Nothing | Self::NoRepository(_) => (S::NOT_FOUND, "NAME_UNKNOWN"),
            Self::Method | Self::Needed(_) => (S::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::Unauthorized => (S::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Denied(_) => (S::FORBIDDEN, "DENIED"),
            Self::Crowded(_) => (S::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Name(_) => (S::BAD_REQUEST, "NAME_INVALID"),
            Self::Query(_) => (S::BAD_REQUEST, "UNSUPPORTED"),
            Self::Digest(_) => (S::BAD_REQUEST, "DIGEST_INVALID"),
            Self::NoBlob(_) => (S::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::NoUpload(_) => (S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::Order { .. } => (S::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Self::Range(_) => (S::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Self::Size(_) => (S::BAD_REQUEST, "SIZE_INVALID"),
            Self::Upload(_) => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::NoManifest { .. } => (S::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::Manifest(_) => (S::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID"),
            // The specification's own status for it is that of an unknown manifest.
            Self::NoPart(_) => (S::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            error if error.is_disk_full() => (S::INSUFFICIENT_STORAGE, "DENIED"),
            Self::Store(_) | Self::Engine(_) | Self::Functions(_) | Self::Io { .. } => {
                (S::INTERNAL_SERVER_ERROR, "UNKNOWN")
            }
        }
    }

    fn is_disk_full(&self) -> bool {
        match self {
            Self::Store(error) => error.is_disk_full(),
            Self::Io { source, .. } => is_disk_full(source),
            _ => false,
        }
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let headers = match self {
            Self::Unauthorized => vec![(header::WWW_AUTHENTICATE, text("Basic realm=\"hob\""))],
            Self::Crowded(_) => vec![(header::RETRY_AFTER, text("1"))],
            Self::Range(length) => {
                vec![(header::CONTENT_RANGE, text(&format!("bytes */{length}")))]
            }
            Self::Order { length, location } => vec![
                (header::LOCATION, text(location)),
                (header::RANGE, text(&range(*length))),
            ],
            _ => Vec::new(),
        };
        let there = headers.into_iter();
        there
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// How much of an upload is here, as the specification writes it: the last byte counts.
pub(super) fn range(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}

impl IntoResponse for RegistryError {
    /// The one place where an error becomes HTTP.
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        let message = self.to_string();
        let message = message.lines().next().unwrap_or_default();
        if status.is_server_error() {
            tracing::error!("a request of the registry failed: {message}");
        }
        let body = json!({"errors": [{"code": code, "message": message}]});
        let mut response = (status, Json(body)).into_response();
        response.headers_mut().extend(self.headers());
        response
    }
}

impl From<ImageError> for RegistryError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Busy => Self::Crowded("a pull, push or build is under way"),
            ImageError::NoBlob(digest) => Self::NoBlob(digest.to_string()),
            error => Self::Store(error),
        }
    }
}

impl From<DigestError> for RegistryError {
    fn from(error: DigestError) -> Self {
        Self::Digest(error.to_string())
    }
}

impl From<ManifestError> for RegistryError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error.to_string())
    }
}
