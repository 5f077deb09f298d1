use hob_model::Rule;

/// What a request needs to be let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Nothing: anybody may.
    Nothing,
    /// That it is known who calls, with all of these scopes; mostly one or none.
    Caller(Vec<&'a str>),
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
///
/// Many frameworks take `/Admin/` for `/admin`. So what a rule before that one keeps closed is asked
/// for as well where the path is only written in another way: that can keep callers out, and never
/// lets one in.
pub(super) fn need<'a>(rules: &'a [Rule], method: &str, path: &str) -> Result<Need<'a>, NoRule> {
    if rules.is_empty() {
        return Ok(Need::Caller(Vec::new()));
    }
    let path = if path.is_empty() { "/" } else { path };
    if rules.iter().any(|rule| rule.path.is_some()) && !is_normal(path) {
        return Err(NoRule::Unclear);
    }
    let (mut is_closed, mut scopes) = (false, Vec::new());
    for rule in rules.iter().filter(|rule| fits_method(rule, method)) {
        let own = rule.path.as_deref();
        let fits = own.is_none_or(|own| fits_path(own, path));
        if !rule.open && (fits || own.is_some_and(|own| fits_loosely(own, path))) {
            is_closed = true;
            scopes.extend(rule.scope.as_deref());
        }
        if fits {
            return Ok(match is_closed {
                true => Need::Caller(scopes),
                false => Need::Nothing,
            });
        }
    }
    Err(NoRule::None)
}

fn fits_method(rule: &Rule, method: &str) -> bool {
    let fits = |own: &String| own == method || own == "GET" && method == "HEAD";
    rule.methods.is_empty() || rule.methods.iter().any(fits)
}

fn fits_path(own: &str, path: &str) -> bool {
    match own.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => path == own,
    }
}

/// The same for a reader who minds neither case nor one `/` at the end.
fn fits_loosely(own: &str, path: &str) -> bool {
    let bare = |path: &str| path.strip_suffix('/').unwrap_or(path).to_ascii_lowercase();
    match own.strip_suffix('*') {
        Some(beginning) => {
            let (beginning, path) = (beginning.to_ascii_lowercase(), path.to_ascii_lowercase());
            path.starts_with(&beginning) || beginning.strip_suffix('/') == Some(&*path)
        }
        None => bare(own) == bare(path),
    }
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

    fn scopes<'a>(scopes: &[&'a str]) -> Result<Need<'a>, NoRule> {
        Ok(Need::Caller(scopes.to_vec()))
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
            ("POST", "/public/a", scopes(&["write"])),
            ("GET", "/public", scopes(&["read"])),
            // What only looks like an open path is none.
            ("GET", "/Public/a", scopes(&["read"])),
            ("GET", "/admin", scopes(&["admin"])),
            // Whichever of the two rules the function's own reader would think of.
            ("GET", "/ADMIN/", scopes(&["admin", "read"])),
            ("DELETE", "/admin/", Err(NoRule::None)),
            ("GET", "/admin/x", scopes(&["read"])),
            ("GET", "", scopes(&["read"])),
            ("HEAD", "/x", scopes(&["read"])),
            ("PUT", "/x", scopes(&["write"])),
            ("PATCH", "/x", scopes(&[])),
            ("DELETE", "/x", Err(NoRule::None)),
            ("get", "/x", Err(NoRule::None)),
            ("GET", "/public/../admin", Err(NoRule::Unclear)),
            ("GET", "/public/%2e%2e/admin", Err(NoRule::Unclear)),
        ] {
            assert_eq!(need(&rules, method, path), expected, "{method} {path}");
        }
        assert_eq!(need(&[], "DELETE", "/../x"), scopes(&[]));
        // Where paths do not matter, odd ones do not either.
        let rules = [rule(&["GET"], None, None, true)];
        assert_eq!(need(&rules, "GET", "//a/../%2f"), Ok(Need::Nothing));
    }

    #[test]
    fn no_way_of_writing_a_path_gets_around_a_closed_rule() {
        let all = || rule(&[], Some("/*"), None, true);
        let rules = [rule(&[], Some("/admin/*"), None, false), all()];
        for path in [
            "/admin/",
            "/Admin/",
            "/admin",
            "/ADMIN",
            "/admin/x",
            "/aDmin/X/",
        ] {
            assert_eq!(need(&rules, "GET", path), scopes(&[]), "{path}");
        }
        for path in ["/", "/admins", "/x/admin/"] {
            assert_eq!(need(&rules, "GET", path), Ok(Need::Nothing), "{path}");
        }
        let rules = [rule(&[], Some("/Admin/"), Some("a"), false), all()];
        for path in ["/admin/", "/Admin/", "/admin", "/Admin"] {
            assert_eq!(need(&rules, "GET", path), scopes(&["a"]), "{path}");
        }
        // Nor does one that asks for less stand in for the one that asks for more.
        let rules = [
            rule(&[], Some("/status"), None, false),
            rule(&[], None, Some("admin"), false),
        ];
        for (path, expected) in [
            ("/status", scopes(&[])),
            ("/Status", scopes(&["admin"])),
            ("/status/", scopes(&["admin"])),
        ] {
            assert_eq!(need(&rules, "GET", path), expected, "{path}");
        }
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
