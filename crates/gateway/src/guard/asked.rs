use std::{net::IpAddr, sync::Arc};

use hob_model::Route;
use http::HeaderMap;

use crate::{error::GatewayError, room::Room, unread::Unread};

/// What the guards see of a call.
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Route,
    pub(crate) method: &'a str,
    /// The function's own path, without the query. Begins with `/`, or is empty.
    pub(crate) path: &'a str,
    pub(crate) fields: Fields<'a>,
    pub(crate) body: Body<'a>,
    /// Whose call it is.
    pub(crate) caller: IpAddr,
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// It is here.
    Here(&'a [u8]),
    /// It comes as it is read.
    Unread(&'a Unread),
}

impl<'a> Body<'a> {
    /// All of it, if it is here.
    pub(crate) fn whole(self) -> Option<&'a [u8]> {
        match self {
            Self::Here(bytes) => Some(bytes),
            Self::Unread(body) => body.whole(),
        }
    }
}

impl Asked<'_> {
    /// Has the whole body come, into what is left of `room` for such bodies.
    pub(crate) async fn read_body(&self, room: &Arc<Room>) -> Result<(), GatewayError> {
        match (self.body, self.fields) {
            (Body::Unread(body), Fields::Map(fields)) => {
                let held = room.begin(self.caller);
                body.read(self.route, fields, held).await
            }
            // It is here.
            _ => Ok(()),
        }
    }
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
