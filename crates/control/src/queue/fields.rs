use hob_store::Fields;
use http::{HeaderMap, HeaderName, header};

/// Speak of the connection that a message came by, or of how its body was sent.
const OF_THE_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Of a message's fields those that are kept.
pub(crate) fn fields(headers: &HeaderMap) -> Fields {
    let kept = headers
        .iter()
        .filter(|(name, _)| !OF_THE_HOP.contains(name));
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}
