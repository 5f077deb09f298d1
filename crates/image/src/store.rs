use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{
    BlobWriter, Digest, Image, ImageError, ImageRef, Manifest, PartialBlob, Platform,
    assemble::Assembled,
    blob::digest_of_file,
    index::{Index, Tagged},
    manifest::{
        self, CONFIG_MAX, DOCKER_MANIFEST, MANIFEST_MAX, OCI_MANIFEST, choose, digest_of,
        parse_config,
    },
};

pub(crate) const LAYOUT_VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// All images of this machine: an OCI image layout in the folder `images` of the data directory,
/// and the layers unpacked beside it in `layers`. Its methods block on the disk.
#[derive(Debug)]
pub struct ImageStore {
    blobs: PathBuf,
    scratch: PathBuf,
    partial: PathBuf,
    pub(crate) layers: PathBuf,
    index: Mutex<Index>,
    /// Held for reading while blobs are there that no name points to yet; for writing by prune.
    uses: Arc<RwLock<()>>,
    /// One download or unpacking of a digest at a time.
    turns: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// While this lives, nothing is pruned.
#[must_use]
pub struct InUse(#[expect(dead_code)] OwnedRwLockReadGuard<()>);

/// What a name leads to, as far as it is on this machine.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Manifests of images.
    pub manifests: Vec<Digest>,
    /// Platforms of which everything is here.
    pub platforms: Vec<Platform>,
    /// Bytes of all blobs, each once.
    pub size: u64,
}

// === impl ImageStore ===

impl ImageStore {
    /// Opens the store in the data directory and makes what is missing.
    ///
    /// # Errors
    /// When a folder cannot be made or `index.json` cannot be read.
    pub fn open(data: &Path) -> Result<Arc<Self>, ImageError> {
        let images = data.join("images");
        let store = Self {
            blobs: images.join("blobs/sha256"),
            scratch: images.join("tmp"),
            partial: images.join("partial"),
            layers: data.join("layers"),
            index: Mutex::new(Index::new(images.join("index.json"))),
            uses: Arc::default(),
            turns: Mutex::default(),
        };
        // What an earlier run did not finish writing.
        match fs::remove_dir_all(&store.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ImageError::io("cannot empty", &store.scratch)(error));
            }
            _ => {}
        }
        for folder in [&store.blobs, &store.scratch, &store.partial, &store.layers] {
            fs::create_dir_all(folder).map_err(ImageError::io("cannot make", folder))?;
        }
        // Private images, and setuid programs in layers, are nobody else's business.
        for folder in [&images, &store.layers] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
                .map_err(ImageError::io("cannot protect", folder))?;
        }
        let layout = images.join("oci-layout");
        if !layout.exists() {
            fs::write(&layout, LAYOUT_VERSION).map_err(ImageError::io("cannot write", &layout))?;
        }
        store.index().load()?;
        store.clear_unfinished_layers()?;
        Ok(Arc::new(store))
    }

    /// Keeps everything from being pruned.
    pub async fn hold(&self) -> InUse {
        InUse(Arc::clone(&self.uses).read_owned().await)
    }

    /// Keeps everybody else from holding anything, if nobody does.
    pub(crate) fn alone(&self) -> Result<OwnedRwLockWriteGuard<()>, ImageError> {
        let alone = Arc::clone(&self.uses).try_write_owned();
        alone.map_err(|_| ImageError::Busy)
    }

    /// Waits for the turn to fetch or unpack `digest`.
    pub(crate) async fn turn(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(digest.clone()).or_default())
        };
        turn.lock_owned().await
    }

    // === blobs ===

    /// Where the blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    /// Length of the blob in bytes, if it is there.
    pub fn blob_length(&self, digest: &Digest) -> Option<u64> {
        let found = fs::metadata(self.blob_path(digest)).ok()?;
        found.is_file().then_some(found.len())
    }

    /// Says that the blob is wanted, so that it is not pruned for another hour. Returns its
    /// length, if it is there.
    pub fn touch_blob(&self, digest: &Digest) -> Option<u64> {
        let length = self.blob_length(digest)?;
        let file = File::open(self.blob_path(digest)).ok()?;
        // Pruning looks at the clock only to spare what came a moment ago.
        let _ = file.set_modified(SystemTime::now());
        Some(length)
    }

    /// Reads a small blob whole and checks it.
    ///
    /// # Errors
    /// When it is missing, longer than `most` bytes, or damaged.
    pub fn read_blob(&self, digest: &Digest, most: u64) -> Result<Vec<u8>, ImageError> {
        let path = self.blob_path(digest);
        let read = || {
            let mut bytes = Vec::new();
            File::open(&path)?.take(most).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = match read() {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => {
                return Err(ImageError::NoBlob(digest.clone()));
            }
            read => read.map_err(ImageError::io("cannot read", &path))?,
        };
        let found = Digest::of(&bytes);
        if found != *digest {
            let wanted = digest.clone();
            return Err(ImageError::Damaged { wanted, found });
        }
        Ok(bytes)
    }

    /// Hashes a blob on the disk.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when it is not what its name says.
    pub fn verify_blob(&self, digest: &Digest) -> Result<(), ImageError> {
        let path = self.blob_path(digest);
        let (found, _) = digest_of_file(&path).map_err(ImageError::io("cannot read", &path))?;
        if found == *digest {
            return Ok(());
        }
        let wanted = digest.clone();
        Err(ImageError::Damaged { wanted, found })
    }

    /// Begins a blob whose digest is known at its end.
    ///
    /// # Errors
    /// The disk's.
    pub fn new_blob(&self) -> Result<BlobWriter, ImageError> {
        BlobWriter::new(&self.scratch, &self.blobs)
    }

    /// Keeps some bytes as a blob.
    ///
    /// # Errors
    /// The disk's.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        if self.touch_blob(&digest).is_some() {
            return Ok(digest);
        }
        let mut blob = self.new_blob()?;
        let written = io::Write::write_all(&mut blob, bytes);
        written.map_err(ImageError::io("cannot write", self.blob_path(&digest)))?;
        blob.commit(Some(&digest)).map(|(digest, _)| digest)
    }

    /// Begins a download, or goes on with one. `turn` is that of [`ImageStore::turn`].
    pub(crate) fn partial_blob(
        &self,
        digest: &Digest,
        turn: Arc<OwnedMutexGuard<()>>,
    ) -> Result<PartialBlob, ImageError> {
        PartialBlob::open(&self.partial, &self.blobs, digest, turn)
    }

    pub(crate) fn folders(&self) -> [&Path; 3] {
        [&self.blobs, &self.partial, &self.layers]
    }

    // === names ===

    /// Every name that points to an image, sorted.
    pub fn names(&self) -> Vec<Tagged> {
        self.index().all()
    }

    /// What a name points to.
    pub fn tagged(&self, name: &ImageRef) -> Option<Tagged> {
        self.index().get(name)
    }

    /// Lets a name point to a manifest or index that is here, on the disk for good.
    ///
    /// # Errors
    /// The disk's.
    pub fn tag(&self, tagged: Tagged) -> Result<(), ImageError> {
        self.index().put(tagged)
    }

    /// Takes a name away; its blobs go with the next prune. Returns whether there was one.
    ///
    /// # Errors
    /// The disk's.
    pub fn untag(&self, name: &ImageRef) -> Result<bool, ImageError> {
        self.index().remove(name)
    }

    pub(crate) fn foreign(&self) -> Vec<Digest> {
        self.index().foreign().collect()
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === images ===

    /// Reads a manifest or index.
    ///
    /// # Errors
    /// When it is missing or refused; `image` is named then.
    pub fn manifest(&self, digest: &Digest, image: &str) -> Result<Manifest, ImageError> {
        let bytes = self.read_blob(digest, MANIFEST_MAX + 1)?;
        Manifest::parse(&bytes).map_err(ImageError::manifest(image))
    }

    /// The image for `platform` below a manifest or index, with its configuration.
    ///
    /// # Errors
    /// When a blob is missing or refused, or there is nothing for the platform.
    pub fn image(
        &self,
        digest: &Digest,
        platform: &Platform,
        name: &str,
    ) -> Result<Image, ImageError> {
        let refuse = || ImageError::manifest(name);
        match self.manifest(digest, name)? {
            Manifest::Index(index) => {
                let entry = choose(&index, platform).map_err(refuse())?;
                let digest = digest_of(entry).map_err(refuse())?;
                match self.manifest(&digest, name)? {
                    Manifest::Image(manifest) => self.complete(digest, manifest, name),
                    Manifest::Index(_) => Err(refuse()(manifest::ManifestError::MediaType(
                        "an index within an index".into(),
                    ))),
                }
            }
            Manifest::Image(manifest) => {
                let image = self.complete(digest.clone(), manifest, name)?;
                if platform.runs(&image.platform) {
                    return Ok(image);
                }
                Err(refuse()(manifest::ManifestError::Platform {
                    wanted: platform.clone(),
                    offered: vec![image.platform.to_string()],
                }))
            }
        }
    }

    /// What a manifest or index leads to. What is missing or damaged is left out.
    pub fn contents(&self, digest: &Digest) -> Contents {
        let below = match self.manifest(digest, "") {
            Ok(Manifest::Index(index)) => {
                let entries = index.manifests().iter();
                entries.filter_map(|entry| digest_of(entry).ok()).collect()
            }
            _ => vec![digest.clone()],
        };
        let mut contents = Contents::default();
        let mut blobs = BTreeSet::new();
        for digest in below {
            let Ok(image) = self.any_image(&digest) else {
                continue;
            };
            if image.missing(self).is_none() {
                contents.platforms.push(image.platform.clone());
            }
            blobs.extend(image.blobs());
            contents.manifests.push(digest);
        }
        contents.size = blobs.iter().filter_map(|blob| self.blob_length(blob)).sum();
        contents
    }

    /// What a name for this manifest of an image has to say of it.
    ///
    /// # Errors
    /// When a blob of it is missing or refused.
    pub fn assembled(&self, digest: &Digest, name: &str) -> Result<Assembled, ImageError> {
        let image = self.any_image(digest)?;
        if let Some(blob) = image.missing(self) {
            return Err(ImageError::NoBlob(blob));
        }
        let manifest = self.manifest(digest, name)?;
        Ok(Assembled {
            digest: digest.clone(),
            length: self.blob_length(digest).unwrap_or(0),
            size: image.size(),
            media_type: match manifest.media_type().as_str() {
                DOCKER_MANIFEST => DOCKER_MANIFEST,
                _ => OCI_MANIFEST,
            },
        })
    }

    /// The image of a manifest, whatever its platform.
    pub(crate) fn any_image(&self, digest: &Digest) -> Result<Image, ImageError> {
        let name = digest.to_string();
        match self.manifest(digest, &name)? {
            Manifest::Image(manifest) => self.complete(digest.clone(), manifest, &name),
            Manifest::Index(_) => Err(ImageError::manifest(name)(
                manifest::ManifestError::MediaType("an index".into()),
            )),
        }
    }

    fn complete(
        &self,
        digest: Digest,
        manifest: Box<oci_spec::image::ImageManifest>,
        name: &str,
    ) -> Result<Image, ImageError> {
        let config = digest_of(manifest.config()).map_err(ImageError::manifest(name))?;
        let bytes = self.read_blob(&config, CONFIG_MAX)?;
        let config = parse_config(&bytes, &manifest).map_err(ImageError::manifest(name))?;
        let platform = Platform {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone(),
        };
        Ok(Image {
            digest,
            manifest,
            config,
            platform,
        })
    }
}
