use hob_model::{
    DEFAULT_NAMESPACE, FunctionName, Label, NameError,
    wire::{FunctionSummary, Status},
};

use super::Context;
use crate::{
    client::{Address, Client, ClientError},
    config::ClientArgs,
    exit::{Failure, report},
    output,
};

/// Names further apart than this are no misspellings of each other.
const TYPO_DISTANCE: usize = 3;

/// Does `work` for each of `all`, whatever became of those before, and prints the line that it
/// gives. Failures are reported as they come; the last one where the program ends.
pub(super) async fn each<T>(
    all: &[T],
    mut work: impl AsyncFnMut(&T) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let mut failed = None;
    for one in all {
        match work(one).await {
            Ok(done) => output::line(&done)?,
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    report(&earlier);
                }
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// A server and how names are read for it.
pub(super) struct Session {
    /// Talks to the server.
    pub(super) client: Client,
    context: Option<String>,
    namespace: Option<Label>,
}

impl Session {
    /// Settles which server is meant; asks it nothing.
    pub(super) fn open(args: ClientArgs, context: &Context) -> anyhow::Result<Self> {
        let config = args.resolve(&context.env)?;
        Ok(Self {
            client: Client::new(&config)?,
            context: config.used().map(str::to_owned),
            namespace: config.namespace,
        })
    }

    /// A session with a server of this process.
    pub(super) fn with(client: Client) -> Self {
        Self {
            client,
            context: None,
            namespace: None,
        }
    }

    /// The name of the context that the server was found in, if it was.
    pub(super) fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The namespace of names that do not say one.
    pub(super) fn namespace(&self) -> &str {
        let asked = self.namespace.as_ref();
        asked.map_or(DEFAULT_NAMESPACE, Label::as_str)
    }

    /// The namespace that somebody named, if one did.
    pub(super) fn asked_namespace(&self) -> Option<&str> {
        self.namespace.as_ref().map(Label::as_str)
    }

    /// Whether `name` belongs to what was asked for: everything, unless a namespace was named.
    pub(super) fn shows(&self, name: &FunctionName) -> bool {
        let asked = self.namespace.as_ref();
        asked.is_none_or(|namespace| namespace.as_str() == name.namespace())
    }

    /// Reads `name` or `name.namespace`.
    pub(super) fn function(&self, text: &str) -> anyhow::Result<FunctionName> {
        let parsed = match &self.namespace {
            Some(namespace) if !text.contains('.') => text
                .parse()
                .map(|name| FunctionName::new(name, namespace.clone())),
            _ => text.parse(),
        };
        parsed.map_err(|error: NameError| Failure::usage(error.to_string()).into())
    }

    /// Where calls go: the server that was named, or the gateway of the one on this machine.
    pub(super) async fn gateway(&self) -> anyhow::Result<Address> {
        if let tcp @ Address::Tcp { .. } = self.client.address() {
            return Ok(tcp.clone());
        }
        let status: Status = self.client.get("/hob/v1/status").await?;
        Ok(Address::parse(&status.gateway)?.reachable())
    }

    /// Puts the cure into the error of a request about `name`.
    pub(super) async fn explain(&self, name: &FunctionName, error: ClientError) -> anyhow::Error {
        match error {
            ClientError::NotFound(_) => self.not_found(name).await.into(),
            other => other.into(),
        }
    }

    /// The error about a function that is not there.
    pub(super) async fn not_found(&self, name: &FunctionName) -> ClientError {
        let known: Vec<FunctionSummary> = self
            .client
            .get("/hob/v1/functions")
            .await
            .unwrap_or_default();
        let wanted = name.to_string();
        let names = known.iter().map(|function| function.name.to_string());
        let cure = match nearest(&wanted, names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`hob list` shows those that do".to_owned(),
        };
        ClientError::NotFound(format!("function `{wanted}` does not exist: {cure}"))
    }
}

/// The path of a function in the API.
pub(super) fn function_path(name: &FunctionName, rest: &str) -> String {
    format!("/hob/v1/functions/{name}{rest}")
}

/// The candidate that `wanted` most likely misspells.
pub(super) fn nearest(wanted: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|name| (strsim::osa_distance(wanted, &name), name))
        .filter(|(distance, name)| {
            *distance <= TYPO_DISTANCE && *distance < name.chars().count().max(2)
        })
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(namespace: Option<&str>) -> Session {
        let config = crate::config::ClientConfig {
            data: "/nonexistent".into(),
            server: None,
            namespace: namespace.map(|text| text.parse().expect("valid")),
        };
        Session {
            client: Client::new(&config).expect("valid"),
            context: None,
            namespace: config.namespace,
        }
    }

    #[test]
    fn a_namespace_fills_in_names_that_say_none() {
        let session = session(Some("staging"));
        let name = |text| session.function(text).expect("valid").to_string();
        assert_eq!(name("hello"), "hello.staging");
        assert_eq!(name("hello.prod"), "hello.prod");
        assert_eq!(name("hello.openfaas-fn"), "hello");
        assert!(!session.shows(&"hello".parse().expect("valid")));
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = || ["hello", "covers", "a"].map(str::to_owned).into_iter();
        assert_eq!(nearest("helo", known()), Some("hello".into()));
        assert_eq!(nearest("cvoers", known()), Some("covers".into()));
        assert_eq!(nearest("uptime", known()), None);
        assert_eq!(nearest("xyz", known()), None);
    }
}
