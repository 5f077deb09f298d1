use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::PathBuf,
};

use clap::Args;
use hob_model::{FunctionName, wire::FunctionDetail};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio_util::io::ReaderStream;

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{
    client::{Body, ClientError, empty},
    config::ClientArgs,
    exit::Failure,
    output,
};

/// Call a function and print its answer
///
/// The body comes from -d, from a file, or from standard input when that is no terminal. An
/// answer other than 2xx ends with exit code 1; its body is printed all the same.
#[derive(Debug, Args)]
pub(super) struct Invoke {
    /// The function
    name: String,
    /// Body to send; @FILE sends a file, @- standard input
    #[arg(short = 'd', long, value_name = "DATA", conflicts_with = "file")]
    body: Option<String>,
    /// File to send
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Have it called later, and print the call's id
    #[arg(long = "async")]
    later: bool,
    /// Method of the request [default: POST with a body, else GET]
    #[arg(long, short = 'X', conflicts_with = "later")]
    method: Option<Method>,
    /// Rest of the path, with a query if need be: /orders?page=2
    #[arg(long, default_value = "", hide_default_value = true)]
    path: String,
    /// Header to send, as in "Content-Type: application/json"; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Print the status and the headers of the answer before its body
    #[arg(short, long)]
    include: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Where functions are called at once.
const NOW: &str = "/function/";
/// Where calls are taken and made later.
const LATER: &str = "/async-function/";

/// Where the body of a request comes from.
enum Source {
    None,
    Text(String),
    File(PathBuf),
    Stdin,
}

impl Invoke {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client.clone(), context)?;
        let name = session.function(&self.name)?;
        let (include, later) = (self.include, self.later);
        let request = self.request(&name, context.terminal.stdin)?;
        context.wait(async {
            let gateway = session.gateway().await?;
            // A call needs no password, and the function must not get it.
            let answer = session.client.stranger_at(gateway)?.send(request).await?;
            let status = answer.status();
            if status == StatusCode::NOT_FOUND && is_missing(&session, &name).await {
                return Err(session.not_found(&name).await.into());
            }
            let note = note(&answer);
            let id = field(&answer, "x-call-id").map(str::to_owned);
            print(answer, include).await?;
            if status.is_success() {
                return if later {
                    taken(&id.unwrap_or_default())
                } else {
                    Ok(())
                };
            }
            Err(Failure::failed(format!("{name} answered {status}{note}")).into())
        })
    }

    fn request(self, name: &FunctionName, terminal: bool) -> anyhow::Result<Request<Body>> {
        let door = if self.later { LATER } else { NOW };
        let uri = uri(door, name, &self.path)?;
        let source = match (self.body, self.file) {
            (Some(text), _) => match text.strip_prefix('@') {
                Some("-") => Source::Stdin,
                Some(path) => Source::File(path.into()),
                None => Source::Text(text),
            },
            (None, Some(path)) => Source::File(path),
            // A method that has no body must not wait for a standard input that never ends.
            (None, None) if terminal || matches!(self.method, Some(Method::GET | Method::HEAD)) => {
                Source::None
            }
            (None, None) => Source::Stdin,
        };
        let default = match source {
            Source::None if !self.later => Method::GET,
            _ => Method::POST,
        };
        let mut request = Request::new(body(source)?);
        *request.method_mut() = self.method.unwrap_or(default);
        *request.uri_mut() = uri;
        for (name, value) in self.headers {
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

/// What else to say of an answer that is no success.
fn note(answer: &Response<Incoming>) -> String {
    if answer.status() == StatusCode::UNAUTHORIZED
        && let Some(challenge) = field(answer, "www-authenticate")
    {
        let scheme = challenge.split(' ').next().unwrap_or_default();
        let credentials = match scheme {
            "Basic" => "BASE64-OF-USER:PASSWORD",
            _ => "TOKEN",
        };
        return format!(": say who calls with -H 'Authorization: {scheme} {credentials}'");
    }
    match (field(answer, "location"), field(answer, "x-hob-end")) {
        (Some(place), _) => format!(": go on at {place}"),
        (None, Some(end)) => format!(" (end: {end})"),
        (None, None) => String::new(),
    }
}

fn field<'a>(answer: &'a Response<Incoming>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Names a call that will be made.
fn taken(id: &str) -> anyhow::Result<()> {
    output::line(id)?;
    eprintln!("`hob queue show {id}` tells what became of it");
    Ok(())
}

/// Whether the 404 came from hob and not from the function.
async fn is_missing(session: &Session, name: &FunctionName) -> bool {
    let path = function_path(name, "");
    let detail = session.client.get::<FunctionDetail>(&path).await;
    matches!(detail, Err(ClientError::NotFound(_)))
}

fn uri(door: &str, name: &FunctionName, path: &str) -> anyhow::Result<Uri> {
    let slash = if path.is_empty() || path.starts_with(['/', '?']) {
        ""
    } else {
        "/"
    };
    format!("{door}{name}{slash}{path}")
        .parse()
        .map_err(|error| {
            Failure::usage(format!(
                "path `{path}`: {error}: write special characters as %20"
            ))
            .into()
        })
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let example = "write NAME: VALUE, as in \"Accept: text/plain\"";
    let (name, value) = text.split_once(':').ok_or(example)?;
    Ok((
        name.trim().parse().map_err(|_| example)?,
        value.trim().parse().map_err(|_| example)?,
    ))
}

fn body(source: Source) -> anyhow::Result<Body> {
    Ok(match source {
        Source::None => empty(),
        Source::Text(text) => Full::from(text)
            .map_err(|never| match never {})
            .boxed_unsync(),
        Source::File(path) => {
            let file = File::open(&path)
                .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
            stream(file)
        }
        Source::Stdin => {
            let stdin = io::stdin().as_fd().try_clone_to_owned()?;
            stream(File::from(stdin))
        }
    })
}

fn stream(file: File) -> Body {
    use futures_util::TryStreamExt;

    let chunks = ReaderStream::new(tokio::fs::File::from_std(file)).map_ok(Frame::data);
    StreamBody::new(chunks).boxed_unsync()
}

async fn print(answer: Response<Incoming>, include: bool) -> anyhow::Result<()> {
    if include {
        output::line(&format!("{:?} {}", answer.version(), answer.status()))?;
        for (name, value) in answer.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            output::line(&format!("{name}: {value}"))?;
        }
        output::line("")?;
    }
    let mut out = io::stdout();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ClientError::Broken {
            place: "the function".into(),
            problem: error.to_string(),
        })?;
        if let Ok(data) = frame.into_data() {
            out.write_all(&data)?;
            // An event stream is read as it comes.
            out.flush()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_follows_the_name() {
        let name = "hello.staging".parse().expect("valid");
        for (path, expected) in [
            ("", "/function/hello.staging"),
            ("/a?b=1", "/function/hello.staging/a?b=1"),
            ("a", "/function/hello.staging/a"),
            ("?b=1", "/function/hello.staging?b=1"),
        ] {
            assert_eq!(uri(NOW, &name, path).expect(path).to_string(), expected);
        }
        assert!(uri(NOW, &name, "/a b").is_err());
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let (name, value) = parse_header("X-One:  two ").expect("valid");
        assert_eq!((name.as_str(), value.as_bytes()), ("x-one", &b"two"[..]));
        assert!(parse_header("no colon").is_err());
        assert!(parse_header("a: b\r\nX: y").is_err());
    }
}
