//! How callers are refused, in the words of RFC 9110 and RFC 6750.

use hob_model::{Conduct, Route};

use super::rules::NoRule;
use crate::error::GatewayError;

/// HTTP's basic authentication is asked for.
pub(super) fn ask_basic(route: &Route, problem: &'static str) -> GatewayError {
    let challenge = format!("Basic realm=\"{}\"", route.function);
    unknown(route, problem, Some(challenge), Some(Conduct::FailedLogin))
}

/// A token is asked for.
pub(super) fn ask_bearer(route: &Route, problem: &'static str) -> GatewayError {
    let challenge = format!("Bearer realm=\"{}\"", route.function);
    unknown(route, problem, Some(challenge), Some(Conduct::Miss))
}

/// A token is there and does not hold. `conduct`: what that says of its caller. Where tokens can be
/// guessed it was a guess; where they are signed, one that has ended was a good one.
pub(super) fn bad_bearer(
    route: &Route,
    problem: &'static str,
    conduct: Option<Conduct>,
) -> GatewayError {
    let challenge = format!(
        "Bearer realm=\"{}\", error=\"invalid_token\"",
        route.function
    );
    unknown(route, problem, Some(challenge), conduct)
}

/// A signature is not there, or wrong.
pub(super) fn unsigned(route: &Route, problem: &'static str) -> GatewayError {
    unknown(route, problem, None, Some(Conduct::Miss))
}

/// A token is good, and not for this.
pub(super) fn narrow(route: &Route, scope: &str) -> GatewayError {
    let function = route.function.to_string();
    GatewayError::Forbidden {
        problem: format!("its token has no scope `{scope}`"),
        challenge: Some(format!(
            "Bearer realm=\"{function}\", error=\"insufficient_scope\", scope=\"{scope}\""
        )),
        function,
    }
}

/// It is known who calls, and he may not.
pub(super) fn forbidden(route: &Route, problem: String) -> GatewayError {
    GatewayError::Forbidden {
        function: route.function.to_string(),
        problem,
        challenge: None,
    }
}

pub(super) fn no_rule(route: &Route, why: NoRule) -> GatewayError {
    forbidden(route, why.problem().to_owned())
}

/// Nobody is let in on a guess.
pub(super) fn no_verdict(route: &Route, problem: &'static str) -> GatewayError {
    GatewayError::NoVerdict {
        function: route.function.to_string(),
        problem,
    }
}

fn unknown(
    route: &Route,
    problem: &'static str,
    challenge: Option<String>,
    conduct: Option<Conduct>,
) -> GatewayError {
    GatewayError::Unauthorized {
        function: route.function.to_string(),
        problem,
        challenge,
        conduct,
    }
}
