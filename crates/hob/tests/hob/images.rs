//! Functions that are images: from registries that are closed, lie or are away, in cages and
//! networks of their own.

mod contract;
pub(crate) mod desk;
pub(crate) mod network;
mod private;
mod stack;
mod watchdog;
