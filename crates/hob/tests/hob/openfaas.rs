//! OpenFaaS's clients: a strict one of our own that goes through the whole of `/system`, and the
//! real ones where this machine has them.

pub(crate) mod client;
mod faas_cli;
mod folders;
mod namespaces;
mod sdks;
mod strict;
