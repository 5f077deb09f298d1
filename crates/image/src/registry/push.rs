use std::{collections::BTreeSet, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use http::HeaderValue;
use oci_client::{RegistryOperation, errors::OciDistributionError};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::{
    Progress, RegistryClient, RegistryError, Session, TRANSFERS,
    pull::{amount, short},
    too_slow, transfer_time,
};
use crate::{
    Digest, ImageError, ImageRef, ImageStore, Manifest,
    disk::on_disk,
    manifest::{MANIFEST_MAX, digest_of},
};

impl RegistryClient {
    /// Sends the manifest or index `digest` with all that belongs to it to where `name` says.
    /// What the registry has already is not sent again. The caller holds the store. Returns how
    /// many bytes of blobs were sent.
    ///
    /// # Errors
    /// The name does not point to it then.
    pub async fn push(
        &self,
        store: &Arc<ImageStore>,
        digest: &Digest,
        name: &ImageRef,
        progress: &Progress,
    ) -> Result<u64, ImageError> {
        let session = self.open(name, RegistryOperation::Push).await?;
        let top = store.manifest(digest, &name.to_string())?;
        let mut sent = 0;
        if let Manifest::Index(index) = &top {
            for entry in index.manifests() {
                let digest = digest_of(entry).map_err(ImageError::manifest(name))?;
                let below = store.manifest(&digest, &name.to_string())?;
                sent += session.blobs_up(store, name, &below, progress).await?;
                session
                    .manifest_up(store, &digest, &below, &name.at(&digest))
                    .await?;
            }
        } else {
            sent += session.blobs_up(store, name, &top, progress).await?;
        }
        session.manifest_up(store, digest, &top, name).await?;
        progress(format!("{name}: {digest}"));
        Ok(sent)
    }
}

impl Session {
    async fn blobs_up(
        &self,
        store: &Arc<ImageStore>,
        name: &ImageRef,
        manifest: &Manifest,
        progress: &Progress,
    ) -> Result<u64, ImageError> {
        let mut digests = BTreeSet::new();
        for part in manifest.parts() {
            digests.insert(digest_of(part).map_err(ImageError::manifest(name))?);
        }
        let uploads = digests
            .into_iter()
            .map(|digest| self.blob_up(store, name, digest, progress));
        let sent: Vec<u64> = stream::iter(uploads)
            .buffer_unordered(TRANSFERS)
            .try_collect()
            .await?;
        Ok(sent.iter().sum())
    }

    async fn blob_up(
        &self,
        store: &Arc<ImageStore>,
        name: &ImageRef,
        digest: Digest,
        progress: &Progress,
    ) -> Result<u64, ImageError> {
        let _permit = self.transfers.acquire().await;
        let there = self.client.blob_exists(name.inner(), digest.as_str());
        if self.within(name, there).await? {
            progress(format!("{}: is there already", short(&digest)));
            return Ok(0);
        }
        let (path, store) = (store.blob_path(&digest), Arc::clone(store));
        let wanted = digest.clone();
        let size = on_disk(move || {
            store.verify_blob(&wanted)?;
            store.blob_length(&wanted).ok_or(ImageError::NoBlob(wanted))
        })
        .await?;
        progress(format!("{}: sending {}", short(&digest), amount(size)));
        let file = tokio::fs::File::open(&path)
            .await
            .map_err(ImageError::io("cannot read", &path))?;
        let bytes = ReaderStream::with_capacity(file, 64 << 10);
        let bytes = bytes.map_err(OciDistributionError::IoError);
        let sending =
            self.client
                .push_blob_stream(name.inner(), bytes, digest.as_str(), Some(size));
        match timeout(transfer_time(size), sending).await {
            Ok(sent) => sent.map_err(|error| RegistryError::explain(name, &self.access, error))?,
            Err(_) => return Err(too_slow(name).into()),
        };
        Ok(size)
    }

    async fn manifest_up(
        &self,
        store: &ImageStore,
        digest: &Digest,
        manifest: &Manifest,
        name: &ImageRef,
    ) -> Result<(), ImageError> {
        let bytes = store.read_blob(digest, MANIFEST_MAX)?;
        let media_type = manifest.media_type();
        let media_type = HeaderValue::from_str(&media_type)
            .map_err(|_| ImageError::manifest(name)(crate::ManifestError::MediaType(media_type)))?;
        let sent = self
            .client
            .push_manifest_raw(name.inner(), bytes, media_type);
        self.within(name, sent).await?;
        Ok(())
    }
}
