//! hob gateway.
