//! OCI images: names, registries, a layout on disk that all functions share, and safe unpacking.
//!
//! Formats are those of the OCI image specification 1.1 and of Docker's image manifest 2.2.
#![forbid(unsafe_code)]

mod assemble;
mod blob;
mod builder;
mod digest;
mod error;
mod index;
mod layer;
mod layers;
mod layout;
mod manifest;
mod platform;
mod prune;
mod reference;
mod registry;
mod space;
mod store;

pub use assemble::{Assembled, Assembly, RunSettings};
pub use blob::{BlobWriter, PartialBlob};
pub use builder::{ImageBuilder, ImageOrder, MadeImage, MadePlatform};
pub use digest::{Digest, DigestError, Hasher};
pub use error::{ImageError, ImageFault};
pub use index::{Origin, Tagged};
pub use layer::{FILE_TIME, Layer, LayerFiles};
pub use manifest::{
    CONFIG_MAX, DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_MAX, Manifest, ManifestError, OCI_INDEX,
    OCI_MANIFEST, choose, digest_of, parse_config,
};
pub use platform::Platform;
pub use prune::{Pruned, Pruning};
pub use reference::{ImageRef, ReferenceError};
pub use registry::{
    Credential, Progress, Pulled, Registries, RegistryAccess, RegistryClient, RegistryError,
    from_docker_config,
};
pub use store::{Image, ImageStore, InUse};
