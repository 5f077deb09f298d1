use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use oci_client::{RegistryOperation, client::BlobResponse};
use oci_spec::image::Descriptor;
use tokio::time::timeout;

use super::{Progress, RegistryClient, RegistryError, Session, TRANSFERS, too_slow, transfer_time};
use crate::{
    Digest, Image, ImageError, ImageRef, ImageStore, Manifest, Origin, PartialBlob, Platform,
    Tagged,
    disk::on_disk,
    manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, choose, digest_of},
};

const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
/// How often a download that broke off is taken up again where it stopped.
const RESUMES: u32 = 5;
/// Pause before the first of these; each further one waits twice as long.
const RESUME_PAUSE: Duration = Duration::from_millis(500);
/// How much is put into the file at once, in bytes.
const WRITE_SIZE: usize = 1 << 20;

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image for the platform that was asked for.
    pub image: Image,
    /// Digest of what the name points to: an index, or the image itself.
    pub digest: Digest,
    /// Bytes that came over the network.
    pub fetched: u64,
}

impl RegistryClient {
    /// Fetches an image for one platform: its manifest, and of its blobs those that are not here.
    /// The caller holds the store.
    ///
    /// # Errors
    /// Nothing is tagged then; what came of large blobs stays for the next try.
    pub async fn pull(
        &self,
        store: &Arc<ImageStore>,
        name: &ImageRef,
        platform: &Platform,
        progress: &Progress,
    ) -> Result<Pulled, ImageError> {
        let session = self.open(name, RegistryOperation::Pull).await?;
        let (bytes, manifest) = session.manifest(name).await?;
        let top = store.put_blob(&bytes)?;
        let chosen = match &manifest {
            Manifest::Image(_) => name.at(&top),
            Manifest::Index(index) => {
                let entry = choose(index, platform).map_err(ImageError::manifest(name))?;
                name.at(&digest_of(entry).map_err(ImageError::manifest(name))?)
            }
        };
        let manifest_of_platform = match manifest.clone() {
            Manifest::Image(image) => image,
            Manifest::Index(_) => session.platform_manifest(store, &chosen).await?,
        };
        let parts = Manifest::Image(manifest_of_platform);
        let fetched = session.blobs(store, &chosen, &parts, progress).await?;
        // Checks configuration and platform, with everything on the disk.
        let image = store.image(&top, platform, &name.to_string())?;
        store.tag(Tagged {
            name: name.clone(),
            digest: top.clone(),
            media_type: manifest.media_type(),
            size: bytes.len() as u64,
            origin: Origin::Pulled,
        })?;
        Ok(Pulled {
            image,
            digest: top,
            fetched,
        })
    }

    /// What the registry has under a name now.
    ///
    /// # Errors
    /// When it has nothing, or cannot be asked.
    pub async fn look_up(&self, name: &ImageRef) -> Result<Digest, ImageError> {
        let session = self.open(name, RegistryOperation::Pull).await?;
        let (bytes, _) = session.manifest(name).await?;
        Ok(Digest::of(&bytes))
    }
}

impl Session {
    async fn manifest(&self, name: &ImageRef) -> Result<(bytes::Bytes, Manifest), ImageError> {
        let asked = self
            .client
            .pull_manifest_raw(name.inner(), &self.auth, &ACCEPTED);
        let (bytes, _) = self.within(name, asked).await?;
        if let Some(wanted) = name.digest() {
            let found = Digest::of(&bytes);
            if found != wanted {
                return Err(ImageError::Damaged { wanted, found });
            }
        }
        let manifest = Manifest::parse(&bytes).map_err(ImageError::manifest(name))?;
        Ok((bytes, manifest))
    }

    async fn platform_manifest(
        &self,
        store: &ImageStore,
        name: &ImageRef,
    ) -> Result<Box<oci_spec::image::ImageManifest>, ImageError> {
        let (bytes, manifest) = self.manifest(name).await?;
        store.put_blob(&bytes)?;
        match manifest {
            Manifest::Image(image) => Ok(image),
            Manifest::Index(_) => Err(ImageError::manifest(name)(crate::ManifestError::MediaType(
                "an index within an index".into(),
            ))),
        }
    }

    /// Fetches what is missing of configuration and layers. Returns how many bytes that were.
    async fn blobs(
        &self,
        store: &Arc<ImageStore>,
        name: &ImageRef,
        manifest: &Manifest,
        progress: &Progress,
    ) -> Result<u64, ImageError> {
        let mut missing = Vec::new();
        for part in manifest.parts() {
            let digest = digest_of(part).map_err(ImageError::manifest(name))?;
            if store.touch_blob(&digest).is_none() {
                missing.push((part.clone(), digest));
            }
        }
        missing.sort_by(|a, b| a.1.cmp(&b.1));
        missing.dedup_by(|a, b| a.1 == b.1);
        let sizes = missing.iter().map(|(part, _)| part.size());
        let needed = sizes.fold(0, u64::saturating_add);
        store.check_room(&format!("image `{name}`"), needed)?;
        let fetches = missing.into_iter().map(|(part, digest)| async move {
            self.blob(store, name, &part, &digest, progress).await
        });
        let fetched: Vec<u64> = stream::iter(fetches)
            .buffer_unordered(TRANSFERS)
            .try_collect()
            .await?;
        Ok(fetched.iter().sum())
    }

    async fn blob(
        &self,
        store: &Arc<ImageStore>,
        name: &ImageRef,
        part: &Descriptor,
        digest: &Digest,
        progress: &Progress,
    ) -> Result<u64, ImageError> {
        let turn = Arc::new(store.turn(digest).await);
        // Another pull may have brought it meanwhile.
        if store.touch_blob(digest).is_some() {
            return Ok(0);
        }
        // Never closed, so this always gives one.
        let _permit = self.transfers.acquire().await;
        let mut pause = RESUME_PAUSE;
        let mut fetched = 0;
        for attempt in 0.. {
            let opened = {
                let (store, digest) = (Arc::clone(store), digest.clone());
                let turn = Arc::clone(&turn);
                on_disk(move || store.partial_blob(&digest, turn)).await?
            };
            let left = part.size().saturating_sub(opened.length());
            let streaming = self.stream(name, part, opened, &mut fetched, progress);
            let streamed = timeout(transfer_time(left), streaming).await;
            match streamed.unwrap_or_else(|_| Err(too_slow(name).into())) {
                Ok(()) => break,
                Err(ImageError::Registry(error)) if error.is_absence() && attempt < RESUMES => {
                    progress(format!(
                        "{}: {error}: going on where it stopped",
                        short(digest)
                    ));
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(fetched)
    }

    /// One request for what is missing of a blob.
    async fn stream(
        &self,
        name: &ImageRef,
        part: &Descriptor,
        mut blob: PartialBlob,
        fetched: &mut u64,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let (digest, size) = (part.digest().to_string(), part.size());
        if blob.length() > size {
            blob.restart()?;
        }
        let start = blob.length();
        if start == size && size > 0 {
            return on_disk(move || blob.commit()).await;
        }
        let asked =
            self.client
                .pull_blob_stream_partial(name.inner(), digest.as_str(), start, None);
        let mut answer = match self.within(name, asked).await? {
            BlobResponse::Partial(answer) => answer,
            BlobResponse::Full(answer) => {
                blob.restart()?;
                answer
            }
        };
        let what = short_text(&digest);
        progress(match blob.length() {
            0 => format!("{what}: fetching {}", amount(size)),
            start => format!(
                "{what}: fetching the last {} of {}",
                amount(size - start),
                amount(size)
            ),
        });
        let mut waiting = Vec::with_capacity(WRITE_SIZE);
        let mut told = blob.length();
        loop {
            let chunk = match answer.try_next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // All is here and is the wrong thing, which `commit` says as well.
                Err(error) if is_digest(&error) => break,
                Err(error) => return Err(broken(name, &error).into()),
            };
            *fetched += chunk.len() as u64;
            if blob.length() + (waiting.len() + chunk.len()) as u64 > size {
                return Err(too_long(name, &what, size));
            }
            waiting.extend_from_slice(&chunk);
            if waiting.len() >= WRITE_SIZE {
                (blob, waiting) = write(blob, waiting).await?;
                if blob.length() - told >= size / 4 && size > 4 * WRITE_SIZE as u64 {
                    told = blob.length();
                    progress(format!("{what}: {} of {}", amount(told), amount(size)));
                }
            }
        }
        let (blob, _) = write(blob, waiting).await?;
        if blob.length() < size {
            return Err(broken(name, &"the connection ended early").into());
        }
        on_disk(move || blob.commit()).await
    }
}

async fn write(
    mut blob: PartialBlob,
    mut bytes: Vec<u8>,
) -> Result<(PartialBlob, Vec<u8>), ImageError> {
    on_disk(move || {
        let written = std::io::Write::write_all(&mut blob, &bytes);
        written.map_err(ImageError::io("cannot write", blob.path()))?;
        bytes.clear();
        Ok((blob, bytes))
    })
    .await
}

pub(super) fn broken(name: &ImageRef, problem: &impl ToString) -> RegistryError {
    RegistryError::Unreachable {
        registry: name.registry().to_owned(),
        problem: problem.to_string(),
    }
}

/// Whether the client has found that a blob has another digest.
fn is_digest(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<oci_client::errors::DigestError>())
}

fn too_long(name: &ImageRef, what: &str, size: u64) -> ImageError {
    RegistryError::Answer {
        registry: name.registry().to_owned(),
        problem: format!("blob {what} is longer than the {size} bytes that the manifest says"),
    }
    .into()
}

/// `3f9a1c2b7d4e`: for people.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

fn short_text(digest: &str) -> String {
    digest
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}

/// Bytes for people.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
