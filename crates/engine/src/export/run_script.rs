//! `run.sh`: the one place that knows the command and the environment.

use std::fmt::Write;

use hob_model::Run;

use super::Exported;
use crate::build::SYSTEM_PATH;

pub(super) fn text(exported: &Exported<'_>) -> String {
    let mut text = format!(
        "#!/bin/sh\n# Serves {} on http://$HOST:$PORT/, or on the unix socket $HOB_SOCKET where the program knows it.\n\
         set -eu\n\
         here=$(cd \"$(dirname \"$0\")\" && pwd)\n\
         cd \"$here/function\"\n\
         export HOST=\"${{HOST:-127.0.0.1}}\" PORT=\"${{PORT:-8080}}\"\n",
        exported.name()
    );
    if exported.secrets().next().is_some() {
        text.push_str("export HOB_SECRETS=\"${HOB_SECRETS:-$here/secrets}\"\n");
    }
    match &exported.function.revision.run {
        Run::Static { root } => {
            let root = quoted(root);
            let _ = writeln!(
                text,
                "exec python3 -m http.server \"$PORT\" --bind \"$HOST\" --directory {root}"
            );
        }
        Run::Process { argv, env } => {
            let settings = &exported.function.revision.settings;
            let memory = settings.limits.memory.0;
            let _ = writeln!(text, "export HOB_MEMORY=\"${{HOB_MEMORY:-{memory}}}\"");
            let mut all = env.clone();
            all.extend(settings.env.clone());
            if let Some(own) = all.remove("PATH") {
                let path = own.trim_end_matches(SYSTEM_PATH);
                let _ = writeln!(text, "export PATH={}\"$PATH\"", quoted(path));
            }
            text.push_str("exec");
            if !all.is_empty() {
                text.push_str(" env");
            }
            for (name, value) in &all {
                let _ = write!(text, " \\\n    {}", quoted(&format!("{name}={value}")));
            }
            for (at, word) in argv.iter().enumerate() {
                let gap = if at == 0 && !all.is_empty() {
                    " \\\n    "
                } else {
                    " "
                };
                let _ = write!(text, "{gap}{}", quoted(word));
            }
            text.push('\n');
        }
        // Refused before anything is written.
        Run::Image(_) => {}
    }
    text
}

/// The command as a person would type it in `function/`.
pub(super) fn command(run: &Run) -> String {
    match run {
        Run::Process { argv, .. } => words(argv),
        Run::Image(run) => words(&run.argv),
        Run::Static { root } => format!("python3 -m http.server 8080 --directory {}", quoted(root)),
    }
}

fn words(argv: &[String]) -> String {
    let words: Vec<_> = argv.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// One word for the shell, quoted where it must be.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        for (word, expected) in [
            ("a.py", "a.py"),
            ("", "''"),
            ("it's $HOME", r"'it'\''s $HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
