//! Functions that are images: from registries that are closed, lie or are away, in cages and
//! networks of their own.

mod contract;
mod desk;
mod network;
mod openfaas;
mod private;
mod stack;
mod watchdog;
