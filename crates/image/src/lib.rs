//! OCI images: names, registries, a layout on disk that all functions share, and safe unpacking.
//!
//! Formats are those of the OCI image specification 1.1 and of Docker's image manifest 2.2.
#![forbid(unsafe_code)]

mod digest;

pub use digest::{Digest, DigestError, Hasher};
