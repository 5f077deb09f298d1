//! Requests to the control API, by route: a template such as `/hob/v1/functions/{name}`, never
//! the path itself, which a stranger chooses.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;
use prometheus::{Error, HistogramOpts, HistogramVec, core::Collector};

use super::family::{Family, Text, float};
use crate::Control;

/// Stands for every path that no route has.
const NO_ROUTE: &str = "none";
/// Stands for every method that no route has.
const NO_METHOD: &str = "other";

/// The requests that were answered.
pub(crate) struct Requests(HistogramVec);

impl Default for Requests {
    fn default() -> Self {
        let help = "Time from a request of the control API to the head of its answer.";
        let options = HistogramOpts::new("http_request_duration_seconds", help);
        let requests = HistogramVec::new(options, &["method", "path", "status"]);
        // Fails only for names that are not valid, and these are written here.
        Self(requests.expect("a valid name"))
    }
}

impl Requests {
    /// The count is that of the histogram: one truth, two names.
    pub(super) fn write(&self, text: &mut Text) -> Result<(), Error> {
        let took = self.0.collect();
        let mut total = Family::counters(
            "http_requests_total",
            "Requests of the control API that were answered.",
        );
        for metric in took.iter().flat_map(|family| family.get_metric()) {
            let labels = metric.get_label().iter();
            let labels: Vec<_> = labels.map(|label| (label.name(), label.value())).collect();
            let count = metric.get_histogram().get_sample_count();
            total.count(&labels, float(count));
        }
        text.add(total)?;
        text.add_collected(&took)
    }
}

/// Measures a request, whoever answers it: a refused login is one too.
pub(crate) async fn measure(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let method = known(request.method());
    let response = next.run(request).await;
    let path = path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let status = response.status();
    let labels = [method, path, status.as_str()];
    let histogram = control.metrics.requests.0.with_label_values(&labels);
    histogram.observe(begun.elapsed().as_secs_f64());
    response
}

/// A method of HTTP's own, or the word for all others.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => NO_METHOD,
    }
}
