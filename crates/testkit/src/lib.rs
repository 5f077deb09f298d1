//! hob testkit.
