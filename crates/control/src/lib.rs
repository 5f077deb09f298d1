//! hob control.
