use std::mem::MaybeUninit;

use bytes::BufMut;
use hob_model::Routes;
use httparse::{Header, Status};

use crate::{
    digits::put_digits,
    guard::Passed,
    headers::{Told, is_disguised, outer_prefix},
    listen::PeerKind,
    path::FunctionPath,
    receipt::Receipt,
};

/// Lines of a head, as hyper has it.
pub(super) const FIELDS_MAX: usize = 100;

const HOST: &str = "host";

/// Room for the lines of a head, none of it written yet.
pub(super) type Fields<'b> = [MaybeUninit<Header<'b>>; FIELDS_MAX];

/// A request with nothing about it that could be read in two ways.
pub(super) struct Plain<'h, 'b> {
    pub(super) method: &'b str,
    pub(super) path: FunctionPath<'b>,
    pub(super) call_id: Option<&'b [u8]>,
    /// Bytes of the head.
    pub(super) head: usize,
    /// Bytes of the body that follow it.
    pub(super) body: usize,
    fields: &'h [Header<'b>],
    host: &'b [u8],
    forwarded_for: bool,
    forwarded_host: bool,
    forwarded_proto: bool,
    forwarded_prefix: Option<&'b [u8]>,
}

/// What the first bytes of a request are.
pub(super) enum Look<'h, 'b> {
    Plain(Plain<'h, 'b>),
    /// The head is not all here.
    Partial,
    /// Anything else. hyper knows what to make of it.
    Other,
}

/// Reads a head. Whatever is unusual is [`Look::Other`], so nothing needs to be refused here.
pub(super) fn look<'h, 'b>(
    bytes: &'b [u8],
    room: &'h mut Fields<'b>,
    kind: PeerKind,
    routes: &Routes,
) -> Look<'h, 'b> {
    let mut request = httparse::Request::new(&mut []);
    let head = match request.parse_with_uninit_headers(bytes, room) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) => return Look::Partial,
        Err(_) => return Look::Other,
    };
    let httparse::Request {
        method: Some(method),
        path: Some(path),
        version: Some(1),
        headers: fields,
    } = request
    else {
        return Look::Other;
    };
    if !path.bytes().all(is_plain_in_path) || method == "CONNECT" {
        return Look::Other;
    }
    let host = fields.iter().find(|field| is_host(field.name));
    let plain = host.and_then(|host| {
        let path = FunctionPath::find(kind, host.value, path, routes)?;
        plain(method, path, head, fields, host.value)
    });
    plain.map_or(Look::Other, Look::Plain)
}

/// Bytes that mean the same to every reader of a path or query.
fn is_plain_in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

fn plain<'h, 'b>(
    method: &'b str,
    path: FunctionPath<'b>,
    head: usize,
    fields: &'h [Header<'b>],
    host: &'b [u8],
) -> Option<Plain<'h, 'b>> {
    let mut has_host = false;
    let mut length = None;
    let mut seen = Plain {
        method,
        path,
        call_id: None,
        head,
        body: 0,
        fields,
        host,
        forwarded_for: false,
        forwarded_host: false,
        forwarded_proto: false,
        forwarded_prefix: None,
    };
    for field in fields {
        match Kind::of(field.name) {
            Kind::Plain => {}
            Kind::Host if !has_host => has_host = true,
            Kind::Length if length.is_none() => length = Some(parse_length(field.value)?),
            Kind::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
            Kind::CallId if seen.call_id.is_none() => seen.call_id = Some(field.value),
            Kind::StartTime => {}
            Kind::ForwardedFor if !seen.forwarded_for => seen.forwarded_for = true,
            Kind::ForwardedHost => seen.forwarded_host = true,
            Kind::ForwardedProto => seen.forwarded_proto = true,
            Kind::ForwardedPrefix if seen.forwarded_prefix.is_none() => {
                seen.forwarded_prefix = Some(field.value);
            }
            // Twice, or about the connection rather than the call.
            _ => return None,
        }
    }
    seen.body = length.unwrap_or(0);
    Some(seen)
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case(HOST)
}

fn parse_length(value: &[u8]) -> Option<usize> {
    let digits = value.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(value).ok()?.parse().ok())?
}

impl<'h> Plain<'h, '_> {
    /// The lines of its head.
    pub(super) fn fields(&self) -> &'h [Header<'h>] {
        self.fields
    }

    /// Writes the head that the replica gets: the caller's, with the caller's address and the
    /// call's name in it. The same fields as `headers.rs` and `receipt.rs` make for hyper.
    pub(super) fn put(
        &self,
        receipt: &Receipt,
        passed: &Passed,
        told: &Told<'_>,
        out: &mut Vec<u8>,
    ) {
        out.put_slice(self.method.as_bytes());
        out.put_u8(b' ');
        self.path.put_forwarded(out);
        out.put_slice(b" HTTP/1.1\r\n");
        for field in self.fields {
            let name = field.name.as_bytes();
            match Kind::of(field.name) {
                Kind::Connection | Kind::CallId | Kind::StartTime | Kind::ForwardedPrefix => {}
                Kind::ForwardedHost | Kind::ForwardedProto if !told.is_believed => {}
                Kind::Plain if passed.hides(field.name) || is_disguised(field.name) => {}
                Kind::ForwardedFor => {
                    put_field(out, name, &[field.value, b", ", told.peer.as_bytes()]);
                }
                _ => put_field(out, name, &[field.value]),
            }
        }
        passed.put(out);
        put_field(out, b"X-Call-Id", &[receipt.id.as_bytes()]);
        put_number(out, b"X-Start-Time", receipt.start_time);
        self.put_forwarded(told, out);
        out.put_slice(b"\r\n");
    }

    /// Writes what is not there yet of the way that the call has come.
    fn put_forwarded(&self, told: &Told<'_>, out: &mut Vec<u8>) {
        if !self.forwarded_for {
            put_field(out, b"X-Forwarded-For", &[told.peer.as_bytes()]);
        }
        if !(self.forwarded_host && told.is_believed) {
            put_field(out, b"X-Forwarded-Host", &[self.host]);
        }
        if !(self.forwarded_proto && told.is_believed) {
            put_field(out, b"X-Forwarded-Proto", &[told.scheme.as_bytes()]);
        }
        let outer = self.forwarded_prefix.filter(|_| told.is_believed);
        match (outer, self.path.prefix()) {
            (None, None) => {}
            (Some(outer), None) => put_field(out, b"X-Forwarded-Prefix", &[outer]),
            (outer, Some(own)) => {
                let outer = outer.map_or(&b""[..], outer_prefix);
                put_field(out, b"X-Forwarded-Prefix", &[outer, own.as_bytes()]);
            }
        }
    }
}

/// Writes one line of a head.
pub(super) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    out.put_slice(name);
    out.put_slice(b": ");
    for part in value {
        out.put_slice(part);
    }
    out.put_slice(b"\r\n");
}

/// Writes one line of a head whose value is a number.
pub(super) fn put_number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.put_slice(name);
    out.put_slice(b": ");
    put_digits(out, value);
    out.put_slice(b"\r\n");
}

/// What a field of a request is to the gateway.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Host,
    Length,
    Connection,
    CallId,
    StartTime,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    ForwardedPrefix,
    /// Speaks of the connection, or of how the body is sent.
    Special,
}

impl Kind {
    /// By plain text, since every field of every call comes by here twice.
    fn of(name: &str) -> Self {
        const KNOWN: [(&str, Kind); 18] = [
            (HOST, Kind::Host),
            ("content-length", Kind::Length),
            ("connection", Kind::Connection),
            ("x-call-id", Kind::CallId),
            ("x-start-time", Kind::StartTime),
            ("x-forwarded-for", Kind::ForwardedFor),
            ("x-forwarded-host", Kind::ForwardedHost),
            ("x-forwarded-proto", Kind::ForwardedProto),
            ("x-forwarded-prefix", Kind::ForwardedPrefix),
            ("expect", Kind::Special),
            ("keep-alive", Kind::Special),
            ("proxy-authenticate", Kind::Special),
            ("proxy-authorization", Kind::Special),
            ("proxy-connection", Kind::Special),
            ("te", Kind::Special),
            ("trailer", Kind::Special),
            ("transfer-encoding", Kind::Special),
            ("upgrade", Kind::Special),
        ];
        known(name, &KNOWN).unwrap_or(Self::Plain)
    }
}

/// What a table has for the name of a field.
pub(super) fn known<K: Copy>(name: &str, table: &[(&str, K)]) -> Option<K> {
    let mut rows = table.iter();
    let row = rows.find(|(known, _)| name.eq_ignore_ascii_case(known));
    row.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HOP_BY_HOP;

    #[test]
    fn fields_of_one_hop_are_never_plain() {
        for name in &HOP_BY_HOP {
            assert!(matches!(
                Kind::of(name.as_str()),
                Kind::Special | Kind::Connection
            ));
        }
    }

    #[test]
    fn only_what_everybody_reads_alike_is_plain() {
        let is_plain = |head: &str| {
            let mut room = [MaybeUninit::uninit(); FIELDS_MAX];
            let routes = Routes::default();
            let look = look(head.as_bytes(), &mut room, PeerKind::Stranger, &routes);
            matches!(look, Look::Plain(_))
        };
        let get = "GET /function/a HTTP/1.1\r\nHost: a\r\n";
        assert!(is_plain(&format!("{get}\r\n")));
        assert!(is_plain(&format!(
            "{get}Connection: keep-alive\r\nContent-Length: 3\r\n\r\n"
        )));
        for odd in [
            "Host: a\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive, x-secret\r\n",
            "Upgrade: websocket\r\n",
            "Expect: 100-continue\r\n",
            "X-Call-Id: a\r\nX-Call-Id: b\r\n",
            "X-Forwarded-For: a\r\nX-Forwarded-For: b\r\n",
            "X-Forwarded-Prefix: a\r\nX-Forwarded-Prefix: b\r\n",
            "A : b\r\n",
            "A: b\r\n folded\r\n",
        ] {
            assert!(!is_plain(&format!("{get}{odd}\r\n")), "{odd}");
        }
        for line in [
            "GET /function/a HTTP/1.0",
            "CONNECT /function/a HTTP/1.1",
            "GET http://a/function/a HTTP/1.1",
            "GET /function/a\\b HTTP/1.1",
            "GET /function/\u{e9} HTTP/1.1",
            "GET /system/functions HTTP/1.1",
            "OPTIONS * HTTP/1.1",
        ] {
            assert!(!is_plain(&format!("{line}\r\nHost: a\r\n\r\n")), "{line}");
        }
        assert!(!is_plain("GET /function/a HTTP/1.1\r\n\r\n"));
    }
}
