//! hob sandbox.
