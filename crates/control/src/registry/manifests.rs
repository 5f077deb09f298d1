use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hob_image::{
    Digest, ImageError, ImageRef, ImageStore, MANIFEST_MAX, Manifest, Origin, Removal, Tagged,
    digest_of,
};
use http::{HeaderName, StatusCode, header};

use super::{
    Asking, CONTENT_DIGEST, OWN_REGISTRY, RegistryError, blobs,
    place::{Reference, Repository},
    receive,
};

/// Says that the registry knows what a manifest refers to.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// Indexes within indexes.
const DEPTH_MAX: usize = 4;
/// Manifests below one index.
const MANIFESTS_MAX: usize = 1024;

/// A manifest as it is sent.
struct Kept {
    digest: Digest,
    media_type: String,
    bytes: Vec<u8>,
}

/// What a request brings.
struct Pushed {
    repository: Repository,
    reference: Reference,
    /// As the request says it.
    media_type: Option<String>,
    bytes: bytes::Bytes,
}

/// `GET` and `HEAD`
pub(super) async fn get(
    asking: Asking,
    repository: Repository,
    reference: Reference,
) -> Result<Response, RegistryError> {
    let missing = unknown(&repository, &reference);
    let found = asking.stored(move |store| find(store, &repository, &reference));
    let kept = found.await?.ok_or(missing)?;
    let headers = [
        (header::CONTENT_TYPE, kept.media_type),
        (header::CONTENT_LENGTH, kept.bytes.len().to_string()),
        (CONTENT_DIGEST, kept.digest.to_string()),
    ];
    let body = if asking.is_head() {
        Body::empty()
    } else {
        Body::from(kept.bytes)
    };
    Ok((headers, body).into_response())
}

/// `PUT`: all that the manifest names must be here.
pub(super) async fn put(
    asking: Asking,
    body: Body,
    repository: Repository,
    reference: Reference,
) -> Result<Response, RegistryError> {
    let bytes = receive::small(body, MANIFEST_MAX).await?;
    let media_type = asking.parts.headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|it| it.to_str().ok()?.split(';').next());
    let pushed = Pushed {
        media_type: media_type.map(|it| it.trim().to_owned()),
        repository: repository.clone(),
        reference,
        bytes,
    };
    let store = Arc::clone(asking.store());
    // From here on the parts stay, until the name leads to them.
    let held = store.hold().await;
    let kept = super::on_disk(move || pushed.keep(&store)).await;
    drop(held);
    let (digest, subject) = kept?;
    learn(&asking).await;
    let headers = [
        (
            header::LOCATION,
            format!("/v2/{repository}/manifests/{digest}"),
        ),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let subject = subject.map(|subject| [(SUBJECT, subject)]);
    Ok((StatusCode::CREATED, headers, subject, ()).into_response())
}

/// `DELETE`: of a tag, only the tag; of a digest, the manifest and all tags of the repository
/// that point to it.
pub(super) async fn delete(
    asking: Asking,
    repository: Repository,
    reference: Reference,
) -> Result<Response, RegistryError> {
    let missing = unknown(&repository, &reference);
    let digest = match &reference {
        Reference::Wrong(_) => return Err(missing),
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(_) => {
            let untagged = asking.stored(move |store| match name(&repository, &reference) {
                Some(name) => store.untag(&name),
                None => Ok(false),
            });
            return match untagged.await? {
                true => Ok(StatusCode::ACCEPTED.into_response()),
                false => Err(missing),
            };
        }
    };
    let home = home(&repository);
    let found = asking.stored(move |store| find(store, &repository, &reference));
    if found.await?.is_none() {
        return Err(missing);
    }
    match blobs::remove(&asking, &digest, Some(home)).await? {
        Removal::Done => Ok(StatusCode::ACCEPTED.into_response()),
        Removal::Missing => Err(missing),
        needed => Err(blobs::refusal(&digest, &needed)),
    }
}

// === impl Pushed ===

impl Pushed {
    /// Checks it, and gives it its name. Returns its digest and that of its subject.
    fn keep(self, store: &ImageStore) -> Result<(Digest, Option<String>), RegistryError> {
        let digest = Digest::of(&self.bytes);
        match &self.reference {
            Reference::Digest(wanted) if *wanted != digest => {
                let (wanted, found) = (wanted.clone(), digest);
                let error = ImageError::Damaged { wanted, found };
                return Err(RegistryError::Digest(error.to_string()));
            }
            Reference::Wrong(text) if text.contains(':') => {
                text.parse::<Digest>()?;
            }
            Reference::Wrong(text) => {
                return Err(RegistryError::Manifest(format!(
                    "has the tag `{text}`, which is none"
                )));
            }
            _ => {}
        }
        let manifest = Manifest::parse(&self.bytes)?;
        let media_type = self.media_type(&manifest)?;
        check_parts(store, &manifest, 0, &mut BTreeSet::new())?;
        store.put_blob(&self.bytes)?;
        let subject = subject_of(&manifest);
        let tag = |reference: &Reference| {
            let name = name(&self.repository, reference);
            let name = name.ok_or_else(|| RegistryError::Name(self.repository.to_string()))?;
            Ok::<_, RegistryError>(store.tag(Tagged {
                name,
                digest: digest.clone(),
                media_type: media_type.clone(),
                size: self.bytes.len() as u64,
                origin: Origin::Local,
            })?)
        };
        let by_digest = Reference::Digest(digest.clone());
        // A signature has to stay when its tag moves on.
        if self.reference != by_digest && subject.is_some() {
            tag(&by_digest)?;
        }
        tag(&self.reference)?;
        self.forget_children(store, &manifest)?;
        Ok((digest, subject))
    }

    fn media_type(&self, manifest: &Manifest) -> Result<String, RegistryError> {
        let inside = match manifest {
            Manifest::Image(image) => image.media_type().as_ref().map(ToString::to_string),
            Manifest::Index(index) => index.media_type().as_ref().map(ToString::to_string),
        };
        match (&self.media_type, inside) {
            (Some(outside), Some(inside)) if *outside != inside => Err(RegistryError::Manifest(
                format!("says that it is `{inside}`, and Content-Type `{outside}`"),
            )),
            (Some(outside), None) if !outside.ends_with("+json") => Err(RegistryError::Manifest(
                format!("has the Content-Type `{outside}`, which is none"),
            )),
            (Some(outside), None) => Ok(outside.clone()),
            _ => Ok(manifest.media_type()),
        }
    }

    /// The manifests of an index were pushed by their digests; they are found through the index
    /// now, and go with it.
    fn forget_children(
        &self,
        store: &ImageStore,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        if let Manifest::Index(index) = manifest {
            for entry in index.manifests() {
                let digest = digest_of(entry)?;
                let child = store.manifest(&digest, self.repository.as_str())?;
                if subject_of(&child).is_none()
                    && let Some(name) = name(&self.repository, &Reference::Digest(digest))
                {
                    store.untag(&name)?;
                }
            }
        }
        Ok(())
    }
}

/// All that a manifest names must be here, and is wanted for another day. `seen` are manifests that
/// were looked at, each once however many lead to it.
fn check_parts(
    store: &ImageStore,
    manifest: &Manifest,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
) -> Result<(), RegistryError> {
    if depth > DEPTH_MAX {
        let problem = format!("has indexes within indexes, more than {DEPTH_MAX} deep");
        return Err(RegistryError::Manifest(problem));
    }
    for part in manifest.parts() {
        let digest = digest_of(part)?;
        match store.touch_blob(&digest) {
            None => return Err(RegistryError::NoPart(digest.to_string())),
            Some(length) if length != part.size() => {
                return Err(RegistryError::Manifest(format!(
                    "says that {digest} has {} bytes, which has {length}",
                    part.size()
                )));
            }
            Some(_) => {}
        }
        if matches!(manifest, Manifest::Index(_)) && seen.insert(digest.clone()) {
            if seen.len() > MANIFESTS_MAX {
                let problem = format!("leads to more than {MANIFESTS_MAX} manifests");
                return Err(RegistryError::Manifest(problem));
            }
            let below = store.read_blob(&digest, MANIFEST_MAX)?;
            check_parts(store, &Manifest::parse(&below)?, depth + 1, seen)?;
        }
    }
    Ok(())
}

/// The manifest that a reference of a repository leads to. By digest, everything is found that
/// is on this machine, such as what a tag pointed to before it moved on; unless only other
/// repositories lead to it.
fn find(
    store: &ImageStore,
    repository: &Repository,
    reference: &Reference,
) -> Result<Option<Kept>, ImageError> {
    let (digest, media_type) = match reference {
        Reference::Wrong(_) => return Ok(None),
        Reference::Digest(digest) => (digest.clone(), None),
        Reference::Tag(_) => {
            let tagged = name(repository, reference).and_then(|name| store.tagged(&name));
            let Some(tagged) = tagged else {
                return Ok(None);
            };
            (tagged.digest, Some(tagged.media_type))
        }
    };
    if store
        .blob_length(&digest)
        .is_none_or(|length| length > MANIFEST_MAX)
    {
        return Ok(None);
    }
    let bytes = store.read_blob(&digest, MANIFEST_MAX)?;
    let Ok(manifest) = Manifest::parse(&bytes) else {
        return Ok(None);
    };
    if media_type.is_none() && !is_visible(store, repository, &digest) {
        return Ok(None);
    }
    Ok(Some(Kept {
        digest,
        media_type: media_type.unwrap_or_else(|| manifest.media_type()),
        bytes,
    }))
}

fn is_visible(store: &ImageStore, repository: &Repository, digest: &Digest) -> bool {
    let home = home(repository);
    let (own, others): (Vec<_>, Vec<_>) = store
        .names()
        .into_iter()
        .partition(|tagged| tagged.name.home() == home);
    let leads = |tagged: &Tagged| store.leads(&tagged.digest, digest);
    own.iter().any(leads) || !others.iter().any(leads)
}

/// What a manifest is about.
pub(super) fn subject_of(manifest: &Manifest) -> Option<String> {
    let subject = match manifest {
        Manifest::Image(image) => image.subject(),
        Manifest::Index(index) => index.subject(),
    };
    subject.as_ref().map(|subject| subject.digest().to_string())
}

/// The name in the store.
fn name(repository: &Repository, reference: &Reference) -> Option<ImageRef> {
    let mark = match reference {
        Reference::Digest(_) => '@',
        _ => ':',
    };
    format!("{OWN_REGISTRY}/{repository}{mark}{reference}")
        .parse()
        .ok()
}

/// As [`ImageRef::home`] has it.
pub(super) fn home(repository: &Repository) -> String {
    format!("{OWN_REGISTRY}/{repository}")
}

fn unknown(repository: &Repository, reference: &Reference) -> RegistryError {
    RegistryError::NoManifest {
        repository: repository.to_string(),
        reference: reference.to_string(),
    }
}

/// Under which name this machine was found.
async fn learn(asking: &Asking) {
    let authority = asking.parts.uri.authority().map(ToString::to_string);
    let host = asking.parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok().map(ToOwned::to_owned));
    let Some(host) = authority.or(host) else {
        return;
    };
    let registry = Arc::clone(&asking.here.registry);
    let learned = super::on_disk(move || registry.own.learn(&host)).await;
    if let Err(error) = learned {
        tracing::warn!("cannot keep this machine's name: {error}");
    }
}
