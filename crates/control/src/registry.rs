//! `/v2`: this machine as an image registry, by the OCI distribution specification 1.1.
//!
//! There is one owner, so there is one pool of blobs: a repository is a name, not a wall.

mod blobs;
mod error;
mod lists;
mod manifests;
mod own;
mod place;
mod receive;
mod referrers;
mod sessions;
mod uploads;

use std::{io, path::Path, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path as UrlPath, Query, Request, State},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use hob_image::{ImageError, ImageStore};
use http::{HeaderName, HeaderValue, Method, request::Parts};
use serde::Deserialize;

pub(crate) use error::RegistryError;
pub use own::{OWN_REGISTRY, own_name};

use crate::{Control, control::on_disk};
use own::OwnNames;
use place::Place;
use sessions::Sessions;

/// What all answers of a registry carry since Docker's first one.
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderValue::from_static("registry/2.0"),
);
/// Where it is.
const PATHS: [&str; 3] = ["/v2", "/v2/", "/v2/{*path}"];
/// The digest of what an answer is about.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The images of this machine, for programs that push and pull.
#[derive(Debug)]
pub struct Registry {
    store: Arc<ImageStore>,
    sessions: Arc<Sessions>,
    own: OwnNames,
}

/// What every request works with.
#[derive(Clone)]
struct Here {
    registry: Arc<Registry>,
    /// Knows which manifests functions run: those are not deleted.
    control: Arc<Control>,
}

/// What a query may say; other keys are passed by.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    digest: Option<String>,
    mount: Option<String>,
    n: Option<String>,
    last: Option<String>,
    artifact_type: Option<String>,
}

/// A request without its body.
struct Asking {
    here: Here,
    parts: Parts,
    asked: Asked,
}

// === impl Registry ===

impl Registry {
    /// Over the images in `store`. `listen` is an address that leads here, `127.0.0.1:8080`;
    /// other names of this machine are learned from those who push, and kept in `data`.
    ///
    /// # Errors
    /// When those names cannot be read.
    pub fn open(store: Arc<ImageStore>, data: &Path, listen: &str) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            store,
            sessions: Arc::default(),
            own: OwnNames::load(&data.join("images/own-names"), listen)?,
        }))
    }

    /// The name in the store of what is pushed to this machine under `reference`, when that
    /// leads here; see [`own_name`].
    pub fn own_name(&self, reference: &hob_image::ImageRef) -> Option<hob_image::ImageRef> {
        own_name(reference, &self.own.all())
    }
}

/// `/v2`, for the caller to put the login around. Without a registry it says how to get one.
pub(crate) fn routes(control: &Arc<Control>) -> [(&'static str, MethodRouter<Arc<Control>>); 3] {
    let Some(registry) = control.registry.clone() else {
        let off = any(async || RegistryError::Off);
        return PATHS.map(|path| (path, off.clone()));
    };
    let here = Here {
        registry,
        control: Arc::clone(control),
    };
    let [bare, root, below] = PATHS;
    [(bare, any(greet)), (root, any(greet)), (below, any(serve))].map(|(path, routes)| {
        let stamp = map_response(async |mut response: Response| {
            response.headers_mut().extend([VERSION]);
            response
        });
        (path, routes.layer(stamp).with_state(here.clone()))
    })
}

/// Whether answers to a path have the form that programs which push and pull understand.
pub(crate) fn owns(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

async fn greet(method: Method) -> Response {
    match method {
        Method::GET | Method::HEAD => axum::Json(serde_json::json!({})).into_response(),
        _ => RegistryError::Method.into_response(),
    }
}

/// The table of contents: what is asked of what.
async fn serve(State(here): State<Here>, request: Request) -> Result<Response, RegistryError> {
    let (mut parts, body) = request.into_parts();
    let UrlPath(path) = UrlPath::<String>::from_request_parts(&mut parts, &())
        .await
        .map_err(|rejection| RegistryError::Name(rejection.body_text()))?;
    let Query(asked) = Query::<Asked>::try_from_uri(&parts.uri)
        .map_err(|rejection| RegistryError::Query(rejection.body_text()))?;
    let place = Place::parse(&path)?;
    let method = parts.method.clone();
    let asking = Asking { here, parts, asked };
    match (place, method.as_str()) {
        (Place::Catalog, "GET") => lists::catalog(asking).await,
        (Place::Tags(name), "GET") => lists::tags(asking, name).await,
        (Place::Referrers(name, digest), "GET") => referrers::list(asking, name, &digest).await,
        (Place::Manifest(name, reference), "GET" | "HEAD") => {
            manifests::get(asking, name, reference).await
        }
        (Place::Manifest(name, reference), "PUT") => {
            manifests::put(asking, body, name, reference).await
        }
        (Place::Manifest(name, reference), "DELETE") => {
            manifests::delete(asking, name, reference).await
        }
        (Place::Blob(_, digest), "GET" | "HEAD") => blobs::get(asking, &digest).await,
        (Place::Blob(_, digest), "DELETE") => blobs::delete(asking, &digest).await,
        (Place::Uploads(name), "POST") => uploads::begin(asking, body, name).await,
        (Place::Upload(name, id), "GET" | "HEAD") => uploads::show(&asking, &name, &id),
        (Place::Upload(name, id), "PATCH") => uploads::append(asking, body, (name, id)).await,
        (Place::Upload(name, id), "PUT") => uploads::finish(asking, body, (name, id)).await,
        (Place::Upload(name, id), "DELETE") => uploads::cancel(&asking, &name, &id),
        _ => Err(RegistryError::Method),
    }
}

// === impl Asking ===

impl Asking {
    fn store(&self) -> &Arc<ImageStore> {
        &self.here.registry.store
    }

    fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// Works with the store on a thread that may wait for the disk.
    async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<ImageStore>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let store = Arc::clone(self.store());
        on_disk(move || work(&store)).await.map_err(Into::into)
    }
}
