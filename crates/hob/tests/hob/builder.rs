//! OpenFaaS's builder, as its clients use it, and as nobody should.

mod client;
mod contexts;
mod door;
mod faas_cli;
mod secrets;
