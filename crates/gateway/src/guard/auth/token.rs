use hob_model::{Conduct, Scope, Tokens};

use super::{
    Verdict,
    credentials::{self, Credentials},
    identity, refuse,
};
use crate::{error::GatewayError, guard::Asked};

/// Lets in who has a token of this server that is for the function. The token may also come as a
/// password, since many clients send nothing else.
pub(super) fn look(tokens: &dyn Tokens, asked: &Asked<'_>) -> Result<Verdict, GatewayError> {
    let route = asked.route;
    let credentials = Credentials::of(asked.fields);
    let text = match &credentials {
        Credentials::Bearer(text) => Some(*text),
        Credentials::Basic(pair) => str::from_utf8(credentials::cut(pair).1).ok(),
        Credentials::None => return Err(refuse::ask_bearer(route, "send a token of this server")),
        Credentials::Odd => None,
    };
    let token = text.and_then(|text| tokens.find(text));
    let token = token.ok_or_else(|| {
        let problem = "its token is unknown or has ended";
        refuse::bad_bearer(route, problem, Some(Conduct::FailedLogin))
    })?;
    let scope = Scope::Invoke(Some(route.function.clone()));
    if !token.allows(&scope) {
        return Err(refuse::narrow(route, &scope.to_string()));
    }
    let scopes: Vec<_> = token.scopes.iter().map(Scope::to_string).collect();
    identity::of(asked, "token", token.name.as_bytes(), Some(&scopes))
}
