use std::borrow::Cow;

use hob_model::sandbox::{EXECUTE_ALIAS, EXECUTE_PATH, RUN_PATH};
use http::Method;

/// What a request with this method on this route does, in a word; `None` when it changes nothing.
/// `path` is the route as the router has it, `asked` as the request has it.
///
/// A route that is not named here is recorded all the same, under its method and path: a test says
/// that it has no word.
pub(super) fn action(method: &Method, path: &str, asked: &str) -> Option<Cow<'static, str>> {
    let word = match (method.as_str(), path) {
        // It takes everything out.
        ("GET", "/hob/v1/backup") => "backup.read",
        ("GET" | "HEAD" | "OPTIONS", _) => return None,
        // Calls of functions change nothing here.
        // Runs leave nothing behind either.
        ("POST", RUN_PATH | EXECUTE_PATH | EXECUTE_ALIAS) => return None,
        ("POST", "/async-function/{name}")
        | ("POST", "/async-function/{name}/" | "/async-function/{name}/{*rest}") => return None,
        ("DELETE", "/async-function/{name}" | "/hob/v1/calls/{id}" | "/hob/v1/queue") => {
            "call.drop"
        }
        ("POST", "/hob/v1/calls/{id}/retry" | "/hob/v1/queue/retry") => "call.retry",
        ("PUT", "/hob/v1/functions/{name}" | "/hob/v1/functions/{name}/image")
        | ("POST" | "PUT", "/system/functions") => "function.deploy",
        ("DELETE", "/hob/v1/functions/{name}" | "/system/functions") => "function.remove",
        ("POST", "/hob/v1/functions/{name}/scale")
        | ("POST", "/system/scale-function/{name}" | "/system/alert") => "function.scale",
        ("POST", "/hob/v1/functions/{name}/rollback") => "function.rollback",
        ("POST", "/hob/v1/functions/{name}/promote") => "function.promote",
        ("POST", "/hob/v1/schedules/run") => "schedule.run",
        ("POST", "/build" | "/hob/v1/images/build" | "/hob/v1/functions/{name}/export") => {
            "image.build"
        }
        ("POST", "/hob/v1/certificates/{host}/renew") => "certificate.renew",
        ("POST", "/hob/v1/images/archive") => "image.load",
        ("POST", "/hob/v1/images/prune") => "image.prune",
        ("DELETE", "/hob/v1/images") => "image.remove",
        ("PUT", "/hob/v1/registries/{name}/login") => "registry.login",
        ("DELETE", "/hob/v1/registries/{name}/login") => "registry.logout",
        ("PUT", "/hob/v1/registries/{name}/trust") => "registry.trust",
        ("PUT", "/hob/v1/registries/{name}/plain-http") => "registry.plain-http",
        ("DELETE", "/hob/v1/registries/{name}") => "registry.forget",
        ("PUT", "/hob/v1/secrets/{name}") | ("POST" | "PUT", "/system/secrets") => "secret.set",
        ("DELETE", "/hob/v1/secrets/{name}" | "/system/secrets") => "secret.remove",
        ("POST", "/hob/v1/bans") => "ban.add",
        ("DELETE", "/hob/v1/bans") => "ban.remove",
        ("POST", "/hob/v1/tokens") => "token.create",
        ("DELETE", "/hob/v1/tokens/{name}") => "token.revoke",
        ("PUT", "/hob/v1/password") => "password.set",
        ("POST", "/system/namespaces" | "/system/namespaces/")
        | ("POST", "/system/namespace" | "/system/namespace/") => "namespace.create",
        ("PUT", "/system/namespace/{name}" | "/system/namespaces/{name}") => "namespace.update",
        ("DELETE", "/system/namespace/{name}" | "/system/namespaces/{name}") => "namespace.remove",
        (method, "/v2" | "/v2/" | "/v2/{*path}") => return pushed(method, asked).map(Into::into),
        (method, path) => return Some(format!("{method} {path}").into()),
    };
    Some(word.into())
}

/// What a program that pushes does. Blobs come in many steps and are nothing until a manifest
/// names them, with which a push ends.
fn pushed(method: &str, asked: &str) -> Option<&'static str> {
    let mut parts = asked.rsplit('/').skip(1);
    match (method, parts.next()) {
        ("PUT", Some("manifests")) => Some("image.push"),
        ("DELETE", Some("manifests")) => Some("image.remove"),
        ("DELETE", Some("blobs")) => Some("image.remove-blob"),
        _ => None,
    }
}

/// What was changed, as far as the path says so: `hello` of `/hob/v1/functions/{name}/scale`, and
/// `team/app:1.0` of a push. Empty where it does not.
pub(super) fn target(path: &str, asked: &str) -> String {
    if let Some(image) = asked.strip_prefix("/v2/") {
        return match image.rsplit_once('/') {
            Some((name, reference)) => {
                let name = name
                    .trim_end_matches("/manifests")
                    .trim_end_matches("/blobs");
                let mark = if reference.contains(':') { '@' } else { ':' };
                format!("{name}{mark}{reference}")
            }
            None => image.to_owned(),
        };
    }
    let mut both = path.split('/').zip(asked.split('/'));
    both.find(|(part, _)| part.starts_with('{'))
        .map_or_else(String::new, |(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_push_the_manifest_is_what_counts() {
        let action = |method, asked: &str| action(&method, "/v2/{*path}", asked);
        let put = |asked| action(Method::PUT, asked);
        assert_eq!(
            put("/v2/team/app/manifests/1.0").as_deref(),
            Some("image.push")
        );
        assert_eq!(put("/v2/manifests/blobs/uploads/7"), None);
        assert_eq!(action(Method::PATCH, "/v2/a/blobs/uploads/7"), None);
        assert_eq!(action(Method::POST, "/v2/a/blobs/uploads/"), None);
        let delete = |asked| action(Method::DELETE, asked);
        assert_eq!(
            delete("/v2/a/blobs/sha256:0").as_deref(),
            Some("image.remove-blob")
        );
        assert_eq!(delete("/v2/a/blobs/uploads/7"), None);
        assert_eq!(
            target("/v2/{*path}", "/v2/team/app/manifests/1.0"),
            "team/app:1.0"
        );
        let digest = target("/v2/{*path}", "/v2/team/app/manifests/sha256:0");
        assert_eq!(digest, "team/app@sha256:0");
    }

    #[test]
    fn a_path_says_what_is_meant_and_a_new_route_is_recorded_too() {
        let route = "/hob/v1/functions/{name}/scale";
        assert_eq!(target(route, "/hob/v1/functions/hello/scale"), "hello");
        assert_eq!(target("/hob/v1/queue", "/hob/v1/queue"), "");
        let new = action(&Method::PATCH, "/hob/v2/new", "/hob/v2/new");
        assert_eq!(new.as_deref(), Some("PATCH /hob/v2/new"));
    }
}
