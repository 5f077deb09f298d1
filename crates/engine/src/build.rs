//! From a folder to a bundle.
//!
//! [`FolderBuilder`] goes through these steps, each in a file of its own: `unpack` → `detect` →
//! `toolchain` → `dependencies` → `bench` (the tools, each in a cage) → `bundle`.
//! [`ImageMaker`] goes through the same steps for other platforms, and makes an image of each
//! (`target`, `image`). [`Templates`] holds what hob knows of each language.

mod bench;
mod builder;
mod bundle;
mod collect;
mod dependencies;
mod detect;
mod foreign;
mod image;
mod record;
mod room;
mod secret_files;
mod sound;
mod target;
mod template;
mod templates;
mod toolchain;
mod tree;
mod unpack;
mod workplace;

pub use builder::{BuilderConfig, FolderBuilder};
pub use image::ImageMaker;
pub use template::Template;
pub use templates::Templates;
pub use unpack::MAX_ENTRIES;

pub(crate) use detect::has_any;
pub(crate) use sound::is_damaged;
pub(crate) use toolchain::SYSTEM_PATH;
pub(crate) use tree::{Sharing, copy_tree};
