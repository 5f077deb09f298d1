//! `hob`: functions on a machine you own.
#![forbid(unsafe_code)]

mod app;
mod cli;
mod client;
mod config;
mod contexts;
mod environment;
mod exit;
mod key_file;
mod output;
mod pack;
mod restore;
mod stack;
mod systemd;
mod terminal;
mod unpack;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Context},
    exit::{Exit, report},
};

fn main() -> ExitCode {
    // First of all: the process may be the small helper that becomes a cage, and every
    // millisecond spent before is spent by each replica that starts.
    hob_sandbox::run_helper_if_asked();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            // Nothing is left to tell it to when this fails too.
            let _ = error.print();
            return exit.into();
        }
    };
    match cli.run(&Context::of_process()) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => report(&error).into(),
    }
}
