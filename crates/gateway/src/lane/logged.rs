//! A call of the lane in the access log.

use std::{net::IpAddr, rc::Rc, time::Duration};

use super::request::Plain;
use crate::{
    access::{End, Record, Seen},
    call::Call,
    client::Client,
    guard::Fields,
    receipt::Receipt,
};

/// What there is to say of it before it goes its way, if there is a log.
pub(super) fn begin(
    client: &Rc<Client>,
    plain: &Plain<'_, '_>,
    address: IpAddr,
    receipt: &Receipt,
) -> Option<Record> {
    let access = client.worker().access.as_ref()?;
    let fields = Fields::Lines(plain.fields());
    Some(access.begin(&Seen {
        address,
        arrived: receipt.arrived,
        since_epoch: Duration::from_nanos(receipt.start_time),
        method: plain.method,
        path: [plain.path.base(), plain.path.own()],
        query: plain.path.query(),
        protocol: "HTTP/1.1",
        fields,
    }))
}

/// Its line, now that it is over.
pub(super) fn end(record: Option<Record>, call: &Call) {
    if let (Some(record), Some(access)) = (record, &call.client.worker().access) {
        let user = call.passed.identity.as_ref();
        let end = End {
            status: call.route.told(),
            bytes: call.sent.get(),
            function: Some(&call.route.function),
            id: Some(call.receipt.id.as_bytes()),
            user: user.map(|identity| identity.caller.as_bytes()),
        };
        access.end(&record, &end);
    }
}
