use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use hob_image::{Digest, ImageError, ImageStore, MANIFEST_MAX, Manifest, OCI_INDEX};
use http::{HeaderName, header};
use serde_json::{Value, json};

use super::{
    Asking, RegistryError,
    lists::next,
    manifests::{home, subject_of},
    place::Repository,
};

/// Says which of the filters that were asked for were applied.
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Bytes of one answer: it is a manifest, and clients bound those.
const ANSWER_MAX: u64 = MANIFEST_MAX - (64 << 10);

/// `GET /v2/NAME/referrers/DIGEST`: signatures and other manifests that are about it.
pub(super) async fn list(
    asking: Asking,
    repository: Repository,
    digest: &str,
) -> Result<Response, RegistryError> {
    let subject = digest.parse::<Digest>()?;
    let (home, wanted) = (home(&repository), subject.clone());
    let found = asking.stored(move |store| find(store, &home, &wanted));
    let mut found = found.await?;
    let filter = asking.asked.artifact_type.as_ref();
    if let Some(filter) = filter {
        found.retain(|_, entry| entry["artifactType"] == filter.as_str());
    }
    let last = asking.asked.last.as_deref().unwrap_or_default();
    let (mut page, mut length, mut more) = (Vec::new(), 0, None);
    let mut latest = String::new();
    for (digest, entry) in found
        .into_iter()
        .filter(|(digest, _)| digest.as_str() > last)
    {
        length += entry.to_string().len() as u64;
        if length > ANSWER_MAX && !page.is_empty() {
            let address = format!("/v2/{repository}/referrers/{subject}?last={latest}");
            more = next(&address);
            break;
        }
        latest = digest;
        page.push(entry);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page});
    let kind = [(header::CONTENT_TYPE, OCI_INDEX)];
    let filters = filter.map(|_| [(FILTERS, "artifactType")]);
    Ok((kind, filters, more, index.to_string()).into_response())
}

/// By their digests. All of them have names: a manifest with a subject gets one by its digest.
fn find(
    store: &ImageStore,
    home: &str,
    subject: &Digest,
) -> Result<BTreeMap<String, Value>, ImageError> {
    let mut found = BTreeMap::new();
    for tagged in store.names() {
        let digest = tagged.digest.to_string();
        if tagged.name.home() != home || found.contains_key(&digest) {
            continue;
        }
        let manifest = store.manifest(&tagged.digest, home)?;
        if subject_of(&manifest).as_deref() != Some(subject.as_str()) {
            continue;
        }
        let (artifact_type, annotations) = match &manifest {
            Manifest::Image(image) => {
                let config = image.config().media_type();
                let said = image.artifact_type().as_ref().unwrap_or(config);
                (Some(said.to_string()), image.annotations())
            }
            Manifest::Index(index) => {
                let said = index.artifact_type().as_ref();
                (said.map(ToString::to_string), index.annotations())
            }
        };
        let mut entry = json!({
            "mediaType": tagged.media_type, "digest": digest, "size": tagged.size,
        });
        if let Some(artifact_type) = artifact_type {
            entry["artifactType"] = json!(artifact_type);
        }
        if let Some(annotations) = annotations {
            entry["annotations"] = json!(annotations);
        }
        found.insert(digest, entry);
    }
    Ok(found)
}
