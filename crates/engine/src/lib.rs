//! hob engine.
