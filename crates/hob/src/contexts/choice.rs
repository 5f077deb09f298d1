use std::path::PathBuf;

use super::{Contexts, LOCAL};
use crate::{
    client::{Address, Login, read_certificates},
    environment::Environment,
    exit::Failure,
};

/// What flags, variables and the configuration file say of the server.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// By `--server` or `HOB_SERVER`.
    pub(crate) server: Option<String>,
    /// By `--context` or `HOB_CONTEXT`.
    pub(crate) context: Option<String>,
    /// By `server` in the configuration file.
    pub(crate) default: Option<String>,
}

/// A server that is reached over TCP.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remote {
    /// As somebody wrote it, but for a login in it.
    pub(crate) url: String,
    /// The context that it was found in.
    pub(crate) context: Option<String>,
    /// Who asks.
    pub(crate) login: Option<Login>,
    /// Whether the login is that of `HOB_PASSWORD`.
    pub(crate) by_variable: bool,
    /// Authorities that are trusted besides those of the system, PEM.
    pub(crate) authorities: Vec<String>,
}

/// Settles which server is meant; `None` is that of this machine, by its socket.
///
/// # Errors
/// A failure when it is not clear, or the context is not there.
pub(crate) fn choose(
    asked: Asked,
    contexts: &Contexts,
    env: &Environment,
) -> anyhow::Result<Option<Remote>> {
    let (server, context) = weigh(asked.server, asked.context, env)?;
    if let Some(url) = server {
        return Ok(Some(at(url, contexts, env)?));
    }
    match (context.or_else(|| contexts.current.clone()), asked.default) {
        (Some(name), _) if name == LOCAL => Ok(None),
        (Some(name), _) => Ok(Some(named(name, contexts, env)?)),
        (None, Some(url)) => Ok(Some(at(url, contexts, env)?)),
        (None, None) => Ok(None),
    }
}

/// A server goes before a context, but what was typed goes before what a variable says.
fn weigh(
    server: Option<String>,
    context: Option<String>,
    env: &Environment,
) -> anyhow::Result<(Option<String>, Option<String>)> {
    let typed = |value: &Option<String>, variable: &str| {
        value.is_some() && value.as_deref() != env.text(variable)
    };
    match (typed(&server, "HOB_SERVER"), typed(&context, "HOB_CONTEXT")) {
        (true, true) => Err(Failure::usage(
            "--server and --context name a server each: leave one of them out",
        )
        .into()),
        (false, true) => Ok((None, context)),
        _ => Ok((server, context)),
    }
}

/// The server of a URL, with what a context knows of it. A login in the URL goes before all others.
fn at(url: String, contexts: &Contexts, env: &Environment) -> anyhow::Result<Remote> {
    let (url, own) = Login::cut_from(&url)?;
    let address = Address::parse(&url)?;
    let known = contexts.of(&address);
    let ca = known.and_then(|(_, entry)| entry.ca.clone());
    let known = known.filter(|_| own.is_none());
    let variable = env.text("HOB_PASSWORD").filter(|_| own.is_none());
    let by_variable = variable.is_some();
    let login = own
        .or_else(|| variable.map(|secret| Login::of(None, secret.to_owned())))
        .or_else(|| known.and_then(|(_, entry)| entry.login.clone()));
    Ok(Remote {
        url,
        context: known.map(|(name, _)| name.clone()),
        login,
        by_variable,
        authorities: authorities(ca, env)?,
    })
}

/// The server of a context: what `HOB_PASSWORD` holds may be another's, and is not sent there.
fn named(name: String, contexts: &Contexts, env: &Environment) -> anyhow::Result<Remote> {
    let entry = contexts.get(&name)?;
    Ok(Remote {
        url: entry.server.clone(),
        context: Some(name),
        login: entry.login.clone(),
        by_variable: false,
        authorities: authorities(entry.ca.clone(), env)?,
    })
}

/// Those of the context, and those of `HOB_CA`.
///
/// # Errors
/// A usage failure when these cannot be read.
pub(crate) fn authorities(own: Option<String>, env: &Environment) -> anyhow::Result<Vec<String>> {
    let named: Option<PathBuf> = env.path("HOB_CA");
    let named = named.map(|path| read_certificates(&path)).transpose()?;
    Ok(own.into_iter().chain(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::Entry;

    fn contexts() -> Contexts {
        let entry = |host: &str| Entry {
            server: format!("https://{host}.lan"),
            ca: None,
            login: Some(Login::of(None, format!("secret of {host}"))),
        };
        Contexts {
            current: Some("home".into()),
            contexts: ["home", "work"]
                .map(|name| (name.to_owned(), entry(name)))
                .into(),
        }
    }

    fn chosen(server: Option<&str>, context: Option<&str>, env: &Environment) -> String {
        let asked = Asked {
            server: server.map(Into::into),
            context: context.map(Into::into),
            default: None,
        };
        match choose(asked, &contexts(), env) {
            Ok(Some(remote)) => remote.url,
            Ok(None) => LOCAL.into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_server_goes_before_a_context_and_a_flag_before_a_variable() {
        let none = Environment::default();
        assert_eq!(chosen(None, None, &none), "https://home.lan");
        assert_eq!(chosen(None, Some("work"), &none), "https://work.lan");
        assert_eq!(chosen(None, Some(LOCAL), &none), LOCAL);
        assert_eq!(chosen(Some("http://a"), None, &none), "http://a");
        assert!(chosen(Some("http://a"), Some("work"), &none).contains("leave one"));
        assert!(chosen(None, Some("gone"), &none).contains("`gone` does not exist"));
        let server = Environment::from([("HOB_SERVER", "http://v")]);
        assert_eq!(
            chosen(Some("http://v"), Some("work"), &server),
            "https://work.lan"
        );
        let both = Environment::from([("HOB_SERVER", "http://v"), ("HOB_CONTEXT", "work")]);
        assert_eq!(chosen(Some("http://v"), Some("work"), &both), "http://v");
    }

    #[test]
    fn a_password_goes_to_the_server_that_it_is_for() {
        let env = Environment::from([("HOB_PASSWORD", "variable")]);
        let login = |server: Option<&str>, env: &Environment| {
            let asked = Asked {
                server: server.map(Into::into),
                ..Asked::default()
            };
            let remote = choose(asked, &contexts(), env).expect("clear");
            remote.expect("remote").login
        };
        let of = |secret: &str| Some(Login::of(None, secret.into()));
        assert_eq!(login(None, &env), of("secret of home"));
        assert_eq!(login(Some("https://work.lan:443/"), &env), of("variable"));
        let none = Environment::default();
        assert_eq!(
            login(Some("https://work.lan:443/"), &none),
            of("secret of work")
        );
        assert_eq!(login(Some("http://work.lan:443"), &none), None);
        assert_eq!(login(Some("https://other.lan"), &none), None);
        let own = Login::of(Some("x"), "own".into());
        assert_eq!(login(Some("https://x:own@work.lan"), &env), Some(own));
    }
}
