use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use crate::config::ServerArgs;

/// Has a flag of its own in every unit, whether it was given or not.
const DATA: &str = "data";

/// The settings of `hob up`, and the flags that say the same to another one.
#[derive(Debug)]
pub(super) struct UpFlags {
    pub(super) server: ServerArgs,
    /// What was given here by a flag or a variable, but for the data directory: `--log=debug`.
    pub(super) flags: Vec<OsString>,
}

impl FromArgMatches for UpFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let known = ServerArgs::augment_args(Command::new("up"));
        let known = known.get_arguments().filter(|arg| arg.get_id() != DATA);
        let flags = known.flat_map(|arg| said_again(arg, matches)).collect();
        let server = ServerArgs::from_arg_matches(matches)?;
        Ok(Self { server, flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for UpFlags {
    fn augment_args(command: Command) -> Command {
        ServerArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServerArgs::augment_args_for_update(command)
    }
}

/// An argument as it has to be written to mean the same in any folder.
fn said_again(arg: &Arg, matches: &ArgMatches) -> Vec<OsString> {
    let id = arg.get_id().as_str();
    let given = matches.value_source(id);
    let given = matches!(
        given,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    );
    let (true, Some(long)) = (given, arg.get_long()) else {
        return Vec::new();
    };
    if !arg.get_action().takes_values() {
        return vec![format!("--{long}").into()];
    }
    let is_path = matches.try_get_one::<PathBuf>(id).is_ok();
    let values = matches.get_raw(id).into_iter().flatten();
    let flag = |value: &std::ffi::OsStr| {
        let mut flag = OsString::from(format!("--{long}="));
        match std::path::absolute(value) {
            Ok(path) if is_path => flag.push(path),
            _ => flag.push(value),
        }
        flag
    };
    values.map(flag).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpFlags,
    }

    #[test]
    fn flags_are_said_again_with_paths_that_hold_anywhere() {
        let line = ["install", "--registry", "--data", "x", "--config", "y.toml"];
        let line = Line::try_parse_from(line).expect("valid");
        let config = std::env::current_dir().expect("a folder").join("y.toml");
        let config = format!("--config={}", config.display());
        assert_eq!(line.up.flags, [config.as_str(), "--registry=true"]);
        let line = ["install", "--metrics=off", "--queue-calls", "5"];
        let line = Line::try_parse_from(line).expect("valid");
        assert_eq!(line.up.flags, ["--metrics=off", "--queue-calls=5"]);
    }
}
