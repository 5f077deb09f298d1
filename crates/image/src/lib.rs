//! OCI images: names, registries, a layout on disk that all functions share, and safe unpacking.
//!
//! Formats are those of the OCI image specification 1.1 and of Docker's image manifest 2.2.
#![forbid(unsafe_code)]

mod archive;
mod assemble;
mod blob;
mod builder;
mod digest;
mod disk;
mod error;
mod image;
mod index;
mod irreplaceable;
mod layer;
mod layers;
mod layout;
mod manifest;
mod platform;
mod prune;
mod reference;
mod registry;
mod remove;
mod run;
mod space;
mod store;
mod unpack;
mod user;

pub use archive::{Allowance, ArchiveError, Metered};
pub use assemble::{Assembled, Assembly, RunSettings};
pub use blob::{BlobWriter, PartialBlob, replace_file};
pub use builder::{
    DockerfileOrder, Dockerfiles, ImageBuilder, ImageOrder, MadeImage, MadePlatform,
};
pub use digest::{Digest, DigestError, Hasher};
pub use error::{ImageError, ImageFault};
pub use image::Image;
pub use index::{Origin, Tagged};
pub use irreplaceable::Irreplaceable;
pub use layer::{FILE_TIME, Layer, LayerFiles};
pub use manifest::{
    CONFIG_MAX, DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_MAX, Manifest, ManifestError, OCI_INDEX,
    OCI_MANIFEST, choose, digest_of, parse_config,
};
pub use platform::Platform;
pub use prune::{Needed, Pruned, Pruning};
pub use reference::{ImageRef, ReferenceError};
pub use registry::{
    Credential, Progress, Pulled, Registries, RegistryAccess, RegistryClient, RegistryError,
    check_certificate, from_docker_config,
};
pub use remove::Removal;
pub use run::{RunConfig, RunError};
pub use store::{Contents, ImageStore, InUse};
pub use unpack::{Compression, Rule, UnpackError, UnpackLimits, Unpacked, unpack_layer};
pub use user::{UserError, UserIds, find_user};
