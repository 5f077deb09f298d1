//! From a folder to a bundle.

mod template;
mod templates;

pub use template::Template;
pub use templates::Templates;
