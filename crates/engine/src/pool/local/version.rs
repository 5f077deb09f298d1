use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::languages::{PATH, which};

/// How long an interpreter may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes that it may say.
const WORDS_MOST: u64 = 4096;

/// Asks an interpreter of the host for its version. `None` where it does not tell.
pub(super) async fn ask(command: &[String]) -> Option<String> {
    let (program, args) = command.split_first()?;
    let asked = Command::new(which(program)?)
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = asked.ok()?;
    let stdout = child.stdout.take()?;
    let answer = async {
        let mut words = Vec::new();
        stdout.take(WORDS_MOST).read_to_end(&mut words).await.ok()?;
        Some(words)
    };
    let words = timeout(PATIENCE, answer).await.ok()??;
    // Else it would be a zombie until the runtime looks.
    let _ = timeout(PATIENCE, child.wait()).await;
    number_in(&String::from_utf8_lossy(&words))
}

/// The first word that looks like a version: `5.2.15` of "GNU bash, version 5.2.15(1)-release".
fn number_in(words: &str) -> Option<String> {
    let candidates = words.split_whitespace().map(|word| {
        let word = word.trim_start_matches(['v', 'V', '(']);
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.');
        word[..end.unwrap_or(word.len())].trim_matches('.')
    });
    let mut versions = candidates.filter(|word| word.contains('.'));
    versions.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_among_words() {
        let bash = "GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)";
        assert_eq!(number_in(bash).as_deref(), Some("5.2.15"));
        assert_eq!(number_in("Python 3.11.7\n").as_deref(), Some("3.11.7"));
        assert_eq!(number_in("v20.9.0").as_deref(), Some("20.9.0"));
        assert_eq!(number_in("no number. here"), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_has_none() {
        assert_eq!(ask(&["no-such-program".into()]).await, None);
        assert_eq!(
            ask(&["echo".into(), "v1.2".into()]).await.as_deref(),
            Some("1.2")
        );
    }
}
