//! The command line: one file a verb.

use clap::{Parser, Subcommand};

use crate::{environment::Environment, exit::EXIT_CODES, terminal::Terminal};

mod audit;
mod backup;
mod ban;
mod build;
mod ca;
mod certificate;
mod completion;
mod context;
mod deploy;
mod describe;
mod dev;
mod doctor;
mod export;
mod image;
mod install;
mod invoke;
mod keys;
mod list;
mod login;
mod logout;
mod logs;
mod namespace;
mod new;
mod passwd;
mod progress;
mod promote;
mod queue;
mod registry;
mod remove;
mod restore;
mod revisions;
mod rollback;
mod scale;
mod schedule;
mod secret;
mod session;
mod status;
mod token;
mod uninstall;
mod up;
mod worker;

const EXAMPLE: &str = "\
The first function:
  hob up                             start the server, in a terminal of its own
  hob new python hello && cd hello   write one
  hob deploy                         bring it up
  curl http://127.0.0.1:8080/function/hello -d Dracula";

/// Functions on a machine you own.
#[derive(Debug, Parser)]
#[command(name = "hob", version, max_term_width = 100)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{EXIT_CODES}"))]
#[command(disable_help_subcommand = false, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Up),
    Worker(worker::Worker),
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    New(new::New),
    Deploy(deploy::Deploy),
    Dev(dev::Dev),
    Build(build::Build),
    List(list::List),
    Describe(describe::Describe),
    Invoke(invoke::Invoke),
    #[command(subcommand)]
    Queue(queue::Queue),
    Logs(logs::Logs),
    Scale(scale::Scale),
    Revisions(revisions::Revisions),
    Rollback(rollback::Rollback),
    Promote(promote::Promote),
    Remove(remove::Remove),
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    #[command(subcommand)]
    Secret(secret::Secret),
    #[command(subcommand)]
    Namespace(namespace::Namespace),
    Export(export::Export),
    #[command(subcommand)]
    Image(image::Image),
    #[command(subcommand)]
    Registry(registry::Registry),
    Login(login::Login),
    Logout(logout::Logout),
    #[command(subcommand)]
    Context(context::Context),
    Passwd(passwd::Passwd),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Ca(ca::Ca),
    #[command(subcommand)]
    Certificate(certificate::Certificate),
    #[command(subcommand)]
    Keys(keys::Keys),
    Audit(audit::Audit),
    #[command(subcommand)]
    Ban(ban::Ban),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Completion(completion::Completion),
}

/// What every verb is given besides its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    /// The variables of the process.
    pub(crate) env: Environment,
    /// What the standard streams are.
    pub(crate) terminal: Terminal,
}

impl Context {
    /// Of this process.
    pub(crate) fn of_process() -> Self {
        let env = Environment::of_process();
        let terminal = Terminal::of_process(&env);
        Self { env, terminal }
    }

    /// Runs a client's work to its end.
    ///
    /// # Errors
    /// What the work fails with.
    fn wait<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(work);
        // A thread that still reads standard input must not keep the program from ending.
        runtime.shutdown_background();
        done
    }
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What the user has to read; [`crate::exit::code`] has the exit code for it.
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.verb {
            Verb::Up(verb) => verb.run(context),
            Verb::Worker(verb) => verb.run(context),
            Verb::Install(verb) => verb.run(context),
            Verb::Uninstall(verb) => verb.run(context),
            Verb::New(verb) => verb.run(context),
            Verb::Deploy(verb) => verb.run(context),
            Verb::Dev(verb) => verb.run(context),
            Verb::Build(verb) => verb.run(context),
            Verb::List(verb) => verb.run(context),
            Verb::Describe(verb) => verb.run(context),
            Verb::Invoke(verb) => verb.run(context),
            Verb::Queue(verb) => verb.run(context),
            Verb::Logs(verb) => verb.run(context),
            Verb::Scale(verb) => verb.run(context),
            Verb::Revisions(verb) => verb.run(context),
            Verb::Rollback(verb) => verb.run(context),
            Verb::Promote(verb) => verb.run(context),
            Verb::Remove(verb) => verb.run(context),
            Verb::Schedule(verb) => verb.run(context),
            Verb::Secret(verb) => verb.run(context),
            Verb::Namespace(verb) => verb.run(context),
            Verb::Export(verb) => verb.run(context),
            Verb::Image(verb) => verb.run(context),
            Verb::Registry(verb) => verb.run(context),
            Verb::Passwd(verb) => verb.run(context),
            Verb::Token(verb) => verb.run(context),
            Verb::Login(verb) => verb.run(context),
            Verb::Logout(verb) => verb.run(context),
            Verb::Context(verb) => verb.run(context),
            Verb::Ca(verb) => verb.run(context),
            Verb::Certificate(verb) => verb.run(context),
            Verb::Keys(verb) => verb.run(),
            Verb::Audit(verb) => verb.run(context),
            Verb::Ban(verb) => verb.run(context),
            Verb::Backup(verb) => verb.run(context),
            Verb::Restore(verb) => verb.run(context),
            Verb::Status(verb) => verb.run(context),
            Verb::Doctor(verb) => verb.run(context),
            Verb::Completion(verb) => verb.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_and_flag_has_a_help_text() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(
                    arg.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
