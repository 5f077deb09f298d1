use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use percent_encoding::percent_decode_str;

use crate::{environment::Environment, exit::Failure};

/// The only user that has a password; with a token any name will do.
const ADMIN: &str = "admin";

/// What a client shows to be let in. It is never part of an error or of a line of the log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    user: String,
    /// The admin password, or a token.
    password: String,
    source: Source,
}

/// Where somebody wrote it down, for the error that says that it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Environment,
    Url,
}

impl Login {
    /// The one in `HOB_PASSWORD`, if any.
    pub(crate) fn of_environment(env: &Environment) -> Option<Self> {
        env.text("HOB_PASSWORD").map(|password| Self {
            user: ADMIN.to_owned(),
            password: password.to_owned(),
            source: Source::Environment,
        })
    }

    /// Cuts `USER:PASSWORD@` out of `url`, so that nothing that is told of the rest tells of it.
    ///
    /// # Errors
    /// A usage failure when one of the two is missing.
    pub(crate) fn cut_from(url: &str) -> Result<(String, Option<Self>), Failure> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), url),
        };
        // A password may have an `@` of its own.
        let Some((login, place)) = rest.rsplit_once('@') else {
            return Ok((url.to_owned(), None));
        };
        let place = format!("{scheme}{place}");
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match login.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                let login = Self {
                    user: decode(user),
                    password: decode(password),
                    source: Source::Url,
                };
                Ok((place, Some(login)))
            }
            _ => Err(Failure::usage(format!(
                "server `{place}`: before the `@` write USER:PASSWORD, or leave it out and set HOB_PASSWORD"
            ))),
        }
    }

    /// As it stands in `Authorization`.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let encoded = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whose fault it is that the server does not take it, and the cure.
    pub(crate) fn refused(&self) -> &'static str {
        match self.source {
            Source::Environment => {
                "the password or token in HOB_PASSWORD: the password was shown when that server started for the first time, and `hob passwd` on that machine sets a new one"
            }
            Source::Url => {
                "the login in its URL: write http://admin:PASSWORD@HOST, or a token in place of the password"
            }
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login(…, {:?})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_cut_out_of_the_url() {
        let admin = Some("Basic YWRtaW46cEB3OngvIA==");
        for (url, place, header) in [
            ("http://box.lan:1", "http://box.lan:1", None),
            (
                "http://admin:p@w:x%2F%20@box.lan:1",
                "http://box.lan:1",
                admin,
            ),
            ("admin:p%40w%3Ax%2f%20@[::1]:1", "[::1]:1", admin),
        ] {
            let (rest, login) = Login::cut_from(url).expect(url);
            assert_eq!(rest, place);
            let found = login.as_ref().and_then(Login::header);
            assert_eq!(found.as_ref().and_then(|it| it.to_str().ok()), header);
            assert!(!format!("{login:?}").contains("p@w"));
        }
        for url in [
            "http://secret@box.lan",
            "http://:secret@box.lan",
            "http://secret:@box.lan",
        ] {
            let error = Login::cut_from(url).expect_err(url).to_string();
            assert!(
                error.contains("box.lan") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
