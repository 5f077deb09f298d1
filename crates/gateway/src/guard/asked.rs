use std::net::IpAddr;

use hob_model::Route;
use http::HeaderMap;

/// What the guards see of a call.
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Route,
    pub(crate) method: &'a str,
    /// The function's own path, without the query. Begins with `/`, or is empty.
    pub(crate) path: &'a str,
    pub(crate) fields: Fields<'a>,
    /// Whose call it is.
    pub(crate) caller: IpAddr,
}

/// The fields of a request, however they were read.
#[derive(Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// By hyper.
    Map(&'a HeaderMap),
    /// In the express lane.
    Lines(&'a [httparse::Header<'a>]),
}

impl<'a> Fields<'a> {
    /// The value of the first field of this name, which is in lower case.
    pub(crate) fn get(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all fields of this name, which is in lower case.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let (map, lines) = match self {
            Self::Map(map) => (Some(map.get_all(name).iter()), None),
            Self::Lines(lines) => (None, Some(lines.iter())),
        };
        let map = map.into_iter().flatten().map(http::HeaderValue::as_bytes);
        let lines = lines.into_iter().flatten();
        let lines = lines.filter(move |line| line.name.eq_ignore_ascii_case(name));
        map.chain(lines.map(|line| line.value))
    }
}
