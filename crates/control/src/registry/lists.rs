//! What there is: repositories, and tags.

use std::collections::BTreeSet;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde_json::json;

use super::{Asked, Asking, OWN_REGISTRY, RegistryError, manifests::home, place::Repository};

/// Names in one answer.
const PAGE_MAX: usize = 1000;

/// `GET /v2/_catalog`
pub(super) async fn catalog(asking: Asking) -> Result<Response, RegistryError> {
    let names = asking.stored(|store| Ok(store.names())).await?;
    let own = names.iter().map(|tagged| &tagged.name);
    let own = own.filter(|name| name.registry() == OWN_REGISTRY);
    let all: BTreeSet<_> = own.map(|name| name.repository().to_owned()).collect();
    let (page, link) = page(all, &asking.asked, "/v2/_catalog")?;
    Ok((link, Json(json!({"repositories": page}))).into_response())
}

/// `GET /v2/NAME/tags/list`
pub(super) async fn tags(
    asking: Asking,
    repository: Repository,
) -> Result<Response, RegistryError> {
    let names = asking.stored(|store| Ok(store.names())).await?;
    let home = home(&repository);
    let own = names.iter().map(|tagged| &tagged.name);
    let mut own = own.filter(|name| name.home() == home).peekable();
    if own.peek().is_none() {
        return Err(RegistryError::NoRepository(repository.to_string()));
    }
    let all: BTreeSet<_> = own
        .filter_map(|name| name.tag().map(str::to_owned))
        .collect();
    let (page, link) = page(all, &asking.asked, &format!("/v2/{repository}/tags/list"))?;
    let body = json!({"name": repository.as_str(), "tags": page});
    Ok((link, Json(body)).into_response())
}

type Link = Option<[(header::HeaderName, HeaderValue); 1]>;

/// The names after `last`, at most `n`, and where the next ones are.
fn page(
    all: BTreeSet<String>,
    asked: &Asked,
    path: &str,
) -> Result<(Vec<String>, Link), RegistryError> {
    let wrong = |text: &String| RegistryError::Query(format!("`n={text}` is no number"));
    let most = match &asked.n {
        None => PAGE_MAX,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| wrong(text))?
            .min(PAGE_MAX),
    };
    let last = asked.last.as_deref();
    let mut left = all
        .into_iter()
        .filter(|name| last.is_none_or(|last| name.as_str() > last));
    let page: Vec<String> = left.by_ref().take(most).collect();
    let link = match page.last() {
        Some(last) if left.next().is_some() => Some(next(&format!("{path}?n={most}&last={last}"))),
        _ => None,
    };
    Ok((page, link.flatten()))
}

/// Where the next page is.
pub(super) fn next(address: &str) -> Link {
    let value = HeaderValue::from_str(&format!("<{address}>; rel=\"next\"")).ok()?;
    Some([(header::LINK, value)])
}
