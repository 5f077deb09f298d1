use hob_model::Rule;

/// What a request needs to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Nothing: anybody may.
    Nothing,
    /// That it is known who calls.
    Caller,
    /// That, and this scope.
    Scope(&'a str),
}

/// Why no rule lets a request in, whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRule {
    /// There are rules, and none fits.
    None,
    /// The function might read its path as another one.
    Unclear,
}

impl NoRule {
    pub(super) fn problem(self) -> &'static str {
        match self {
            Self::None => "no rule of its `auth` fits the method and path",
            Self::Unclear => {
                "the path can be read in more than one way, so no rule of its `auth` is sure to fit"
            }
        }
    }
}

/// What the first rule that fits asks for. `path` is the function's own, as it gets it, and begins
/// with `/` unless it is empty.
pub(super) fn need<'a>(rules: &'a [Rule], method: &str, path: &str) -> Result<Need<'a>, NoRule> {
    if rules.is_empty() {
        return Ok(Need::Caller);
    }
    let path = if path.is_empty() { "/" } else { path };
    if rules.iter().any(|rule| rule.path.is_some()) && !is_normal(path) {
        return Err(NoRule::Unclear);
    }
    let rule = rules.iter().find(|rule| fits(rule, method, path));
    let rule = rule.ok_or(NoRule::None)?;
    Ok(match &rule.scope {
        _ if rule.open => Need::Nothing,
        Some(scope) => Need::Scope(scope),
        None => Need::Caller,
    })
}

fn fits(rule: &Rule, method: &str, path: &str) -> bool {
    let fits_method = |own: &String| own == method || own == "GET" && method == "HEAD";
    (rule.methods.is_empty() || rule.methods.iter().any(fits_method))
        && rule.path.as_deref().is_none_or(|own| match rule.open {
            true => fits_path(own, path),
            // Many frameworks take `/Admin/` for `/admin`. What keeps callers out fits both, what
            // lets everybody in only what it says.
            false => fits_path(&loose(own), &loose(path)),
        })
}

fn fits_path(own: &str, path: &str) -> bool {
    match own.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => path == own,
    }
}

fn loose(path: &str) -> String {
    let short = path.strip_suffix('/').filter(|short| !short.is_empty());
    short.unwrap_or(path).to_ascii_lowercase()
}

/// Whether every reader takes a path for the same one: nothing is written in another way than RFC
/// 3986 writes it (sections 6.2.2 and 6.2.3), and nothing is in it that some servers cut off or
/// take for a `/`.
fn is_normal(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let mut parts = rest.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        if matches!(part, "." | "..") || part.is_empty() && !is_last || !is_normal_part(part) {
            return false;
        }
    }
    true
}

fn is_normal_part(part: &str) -> bool {
    let mut rest = part.as_bytes();
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, tail @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) if is_hidden_well(high << 4 | low) => tail,
                _ => return false,
            },
            [b'%' | b';' | b'\\' | b'?' | b'#', ..] => return false,
            [byte, tail @ ..] if byte.is_ascii_graphic() => tail,
            _ => return false,
        };
    }
}

/// Bytes that have to be written with a `%`, and mean nothing in a path.
fn is_hidden_well(byte: u8) -> bool {
    byte >= 0x80 || b" \"<>[]^`{|}".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], path: Option<&str>, scope: Option<&str>, open: bool) -> Rule {
        Rule {
            methods: methods.iter().map(|method| (*method).into()).collect(),
            path: path.map(Into::into),
            scope: scope.map(Into::into),
            open,
        }
    }

    #[test]
    fn the_first_rule_that_fits_holds() {
        let rules = [
            rule(&["GET"], Some("/public/*"), None, true),
            rule(&[], Some("/admin"), Some("admin"), false),
            rule(&["GET"], None, Some("read"), false),
            rule(&["POST", "PUT"], None, Some("write"), false),
            rule(&["PATCH"], None, None, false),
        ];
        for (method, path, expected) in [
            ("GET", "/public/a", Ok(Need::Nothing)),
            ("HEAD", "/public/", Ok(Need::Nothing)),
            ("POST", "/public/a", Ok(Need::Scope("write"))),
            ("GET", "/public", Ok(Need::Scope("read"))),
            // What only looks like an open path is none.
            ("GET", "/Public/a", Ok(Need::Scope("read"))),
            ("GET", "/admin", Ok(Need::Scope("admin"))),
            ("GET", "/ADMIN/", Ok(Need::Scope("admin"))),
            ("GET", "/admin/x", Ok(Need::Scope("read"))),
            ("GET", "", Ok(Need::Scope("read"))),
            ("HEAD", "/x", Ok(Need::Scope("read"))),
            ("PUT", "/x", Ok(Need::Scope("write"))),
            ("PATCH", "/x", Ok(Need::Caller)),
            ("DELETE", "/x", Err(NoRule::None)),
            ("get", "/x", Err(NoRule::None)),
            ("GET", "/public/../admin", Err(NoRule::Unclear)),
            ("GET", "/public/%2e%2e/admin", Err(NoRule::Unclear)),
        ] {
            assert_eq!(need(&rules, method, path), expected, "{method} {path}");
        }
        assert_eq!(need(&[], "DELETE", "/../x"), Ok(Need::Caller));
        // Where paths do not matter, odd ones do not either.
        let rules = [rule(&["GET"], None, None, true)];
        assert_eq!(need(&rules, "GET", "//a/../%2f"), Ok(Need::Nothing));
    }

    #[test]
    fn only_what_everybody_reads_alike_is_normal() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a.b/...",
            "/a%20b",
            "/%C3%A9/~x",
            "/a:b@c,d",
        ] {
            assert!(is_normal(path), "{path}");
        }
        for path in [
            "", "*", "a", "//", "//a", "/a//b", "/.", "/..", "/a/./b", "/a/..", "/%2e", "/%2E%2e",
            "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/%61", "/%00", "/%0a", "/%25", "/%", "/%2",
            "/%zz", "/a;b", "/a%3bb", "/a%3fb", "/a%23b", "/é",
        ] {
            assert!(!is_normal(path), "{path}");
        }
    }
}
