//! From a folder to a bundle.
