//! hob store.
