use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Auth, HmacAuth, HmacStyle, IntrospectionAuth, JwtAuth, Rule};
use crate::Timespan;

/// Most rules of one function.
const RULES_MAX: usize = 100;
/// Most claims that one function asks for.
const CLAIMS_MAX: usize = 32;
/// Shortest and longest of what `window` and `cache` may be.
const SHORTEST: Timespan = Timespan::from_secs(1);
const LONGEST: Timespan = Timespan::from_secs(3600);

impl Auth {
    /// What is wrong with it and what would be right; `None` where it can be heeded.
    pub(crate) fn problem(&self) -> Option<String> {
        let own = match self {
            Self::None | Self::Basic(_) | Self::Token(_) => None,
            Self::Hmac(auth) => of_hmac(auth),
            Self::Jwt(auth) => of_jwt(auth),
            Self::Introspection(auth) => of_introspection(auth),
        };
        let scoped = matches!(self, Self::Jwt(_) | Self::Introspection(_));
        own.or_else(|| of_rules(self.rules(), scoped))
    }
}

fn of_hmac(auth: &HmacAuth) -> Option<String> {
    if let Some(header) = &auth.header
        && !is_free_header(header)
    {
        return Some(format!(
            "`header` is {header:?}: write the name of a header such as \"X-Signature\", and none that hob or HTTP itself uses"
        ));
    }
    match auth.window {
        Some(_) if auth.style == HmacStyle::Github => Some(
            "has a `window`, and signatures of GitHub's style have no time: leave it out, or write style = \"stripe\"".into(),
        ),
        window => of_time("window", window),
    }
}

fn of_jwt(auth: &JwtAuth) -> Option<String> {
    if auth.issuer.is_empty() || auth.audience.is_empty() {
        return Some("has an empty `issuer` or `audience`".into());
    }
    if auth.claims.len() > CLAIMS_MAX {
        return Some(format!("has more than {CLAIMS_MAX} `claims`"));
    }
    match &auth.jwks {
        Some(url) => of_url("jwks", url),
        // Its keys are found by it.
        None => of_url("issuer", &auth.issuer),
    }
}

fn of_introspection(auth: &IntrospectionAuth) -> Option<String> {
    if auth.client.is_empty() {
        return Some("has an empty `client`".into());
    }
    of_url("url", &auth.url).or_else(|| of_time("cache", auth.cache))
}

fn of_time(key: &str, time: Option<Timespan>) -> Option<String> {
    let fits = time.is_none_or(|time| (SHORTEST..=LONGEST).contains(&time));
    (!fits).then(|| format!("has a `{key}` that is not 1s to 1h"))
}

fn of_url(key: &str, url: &str) -> Option<String> {
    if is_trusted_url(url) {
        return None;
    }
    Some(format!(
        "has `{key}` = {url:?}: write https://HOST/PATH; http:// is only for this machine and addresses of private networks, since what is read there decides who may call"
    ))
}

/// Whether what is read from `url` can decide who may call: by TLS, or from an address that no
/// stranger stands before. A name may lead anywhere, so it needs TLS.
pub fn is_trusted_url(url: &str) -> bool {
    let visible = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['#', '\\']);
    let Some((scheme, rest)) = url.split_once("://").filter(|_| visible) else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or(("", "")),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    if host.is_empty() || !port || host.contains('@') {
        return false;
    }
    match scheme {
        "https" => true,
        "http" => is_near(host),
        _ => false,
    }
}

fn is_near(host: &str) -> bool {
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return ip.is_loopback() || ip.is_private();
    }
    if let Ok(ip) = host.parse::<Ipv6Addr>() {
        return ip.is_loopback() || ip.is_unique_local();
    }
    host.eq_ignore_ascii_case("localhost")
}

/// A header's name that is free for senders.
fn is_free_header(name: &str) -> bool {
    const TAKEN: [&str; 10] = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "x-call-id",
    ];
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    !name.is_empty()
        && name.bytes().all(token)
        && !TAKEN.contains(&lower.as_str())
        && !lower.replace('_', "-").starts_with("x-hob-")
}

fn of_rules(rules: &[Rule], scoped: bool) -> Option<String> {
    if rules.len() > RULES_MAX {
        return Some(format!("has more than {RULES_MAX} rules"));
    }
    let mut numbered = rules.iter().zip(1..);
    numbered.find_map(|(rule, number): (_, usize)| {
        of_rule(rule, scoped).map(|problem| format!("has a rule, number {number}, {problem}"))
    })
}

fn of_rule(rule: &Rule, scoped: bool) -> Option<String> {
    let upper = |method: &String| {
        !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
    };
    if let Some(method) = rule.methods.iter().find(|method| !upper(method)) {
        return Some(format!(
            "with method {method:?}: write it in capitals, as in \"GET\""
        ));
    }
    if let Some(path) = &rule.path
        && !is_rule_path(path)
    {
        return Some(format!(
            "with path {path:?}: write a path that begins with `/`, with a `*` at most at its end, and none of `//`, `/./`, `/../`, `%`, `;` or `?` in it"
        ));
    }
    match &rule.scope {
        None => None,
        Some(_) if rule.open => Some("that is open and asks for a scope: choose one".into()),
        Some(_) if !scoped => {
            Some("with a scope: only tokens of `jwt` and `introspection` have some".into())
        }
        Some(scope) if scope.is_empty() || !scope.bytes().all(|b| b.is_ascii_graphic()) => {
            Some(format!("with scope {scope:?}: write one word"))
        }
        Some(_) => None,
    }
}

/// Paths are compared byte by byte, so a rule's must be in the one form that requests have.
fn is_rule_path(path: &str) -> bool {
    let fixed = path.strip_suffix('*').unwrap_or(path);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@/".contains(&byte);
    fixed.starts_with('/')
        && fixed.bytes().all(plain)
        && !fixed.contains("//")
        && !fixed.split('/').any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;

    #[test]
    fn answers_that_decide_come_by_tls_or_from_near_by() {
        for url in [
            "https://issuer.example",
            "https://issuer.example:8443/a/b?c",
            "http://127.0.0.1:4444/keys",
            "http://10.1.2.3/keys",
            "http://192.168.0.2",
            "http://[::1]:4444",
            "http://localhost:4445/x",
        ] {
            assert!(is_trusted_url(url), "{url}");
        }
        for url in [
            "",
            "issuer.example",
            "http://issuer.example",
            "http://1.2.3.4",
            "http://localhost.example",
            "http://127.0.0.1@issuer.example/",
            "http://127.0.0.1.issuer.example",
            "https://user:password@issuer.example",
            "https://",
            "https:///x",
            "https://issuer.example:0x",
            "https://issuer.example/#x",
            "https://issuer.example/a b",
            "http://127.0.0.1\\@issuer.example",
            "ftp://issuer.example",
            "file:///etc/passwd",
        ] {
            assert!(!is_trusted_url(url), "{url}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        const JWT: &str = "auth = { type = \"jwt\", issuer = \"https://i\", audience = \"a\"";
        for (text, expected) in [
            (
                "auth = \"tokens\"",
                "auth `tokens` is unknown: there is `none`, `basic`",
            ),
            ("auth = \"jwt\"", "write auth = { type = \"jwt\", issuer ="),
            (
                "auth = \"basic\"",
                "write auth = { type = \"basic\", secret =",
            ),
            (
                "auth = true",
                "\"none\", \"token\", or a table with a `type`",
            ),
            ("auth = {}", "auth has no `type`"),
            ("auth = { type = 1 }", "`auth.type` has to be a text"),
            ("auth = { type = \"none\", x = 1 }", "nothing but its type"),
            (
                "auth = { type = \"oauth\" }",
                "auth.type `oauth` is unknown",
            ),
            (
                "auth = { type = \"basic\" }",
                "auth of type `basic`: missing field `secret`",
            ),
            (
                "auth = { type = \"basic\", secret = \"../x\" }",
                "secret name `../x`",
            ),
            (
                "[auth]\ntype = \"token\"\nsecret = \"x\"",
                "unknown field `secret`",
            ),
            (
                "auth = { type = \"hmac\", secret = \"s\", style = \"gitlab\" }",
                "`github`",
            ),
            (
                "auth = { type = \"hmac\", secret = \"s\", window = \"1m\" }",
                "GitHub's style",
            ),
            (
                "auth = { type = \"hmac\", secret = \"s\", style = \"stripe\", window = \"2h\" }",
                "`window` that is not 1s to 1h",
            ),
            (
                "auth = { type = \"hmac\", secret = \"s\", header = \"X-Hob-A\" }",
                "`header` is",
            ),
            (
                "auth = { type = \"hmac\", secret = \"s\", header = \"a b\" }",
                "`header` is",
            ),
            (
                "auth = { type = \"jwt\", issuer = \"http://i.example\", audience = \"a\" }",
                "`issuer` = \"http://i.example\"",
            ),
            (&format!("{JWT}, jwks = \"keys\" }}"), "`jwks` = \"keys\""),
            (
                &format!("{JWT}, claims = {{ n = 1 }} }}"),
                "expected a string",
            ),
            (
                "auth = { type = \"introspection\", url = \"https://i\", client = \"c\", secret = \"s\", cache = \"2h\" }",
                "`cache` that is not 1s to 1h",
            ),
            (
                &format!("{JWT}, rules = [{{ methods = [\"get\"] }}] }}"),
                "number 1, with method",
            ),
            (
                &format!("{JWT}, rules = [{{}}, {{ path = \"a\" }}] }}"),
                "number 2, with path",
            ),
            (
                &format!("{JWT}, rules = [{{ path = \"/a*b\" }}] }}"),
                "with path",
            ),
            (
                &format!("{JWT}, rules = [{{ path = \"/a/../b\" }}] }}"),
                "with path",
            ),
            (
                &format!("{JWT}, rules = [{{ scope = \"a b\" }}] }}"),
                "write one word",
            ),
            (
                &format!("{JWT}, rules = [{{ scope = \"a\", open = true }}] }}"),
                "open and asks for a scope",
            ),
            (
                &format!("{JWT}, rules = [{{ pth = \"/\" }}] }}"),
                "unknown field `pth`",
            ),
            (
                "auth = { type = \"token\", rules = [{ scope = \"a\" }] }",
                "only tokens of `jwt` and `introspection`",
            ),
        ] {
            let message = Manifest::parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_written_reads_again() {
        for text in [
            "auth = \"none\"",
            "auth = \"token\"",
            "auth = { type = \"token\", rules = [{ path = \"/public/*\", open = true }, {}] }",
            "auth = { type = \"hmac\", secret = \"s\", style = \"stripe\", window = \"1m\" }",
            "auth = { type = \"jwt\", issuer = \"https://i\", audience = \"a\", claims = { n = \"1\" }, rules = [{ methods = [\"GET\"], scope = \"read\" }] }",
        ] {
            let manifest = Manifest::parse(text).expect(text);
            let json = serde_json::to_string(&manifest).expect(text);
            let again: Manifest = serde_json::from_str(&json).expect(text);
            assert_eq!(again.auth, manifest.auth, "{json}");
        }
    }
}
