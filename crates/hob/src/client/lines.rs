use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use super::ClientError;

/// Longest line that a server may send, in bytes.
const LINE_MAX: usize = 4 << 20;

/// The lines of a streamed answer, as they come.
pub(crate) struct Lines {
    body: Incoming,
    place: String,
    held: BytesMut,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Incoming, place: String) -> Self {
        Self {
            body,
            place,
            held: BytesMut::new(),
            ended: false,
        }
    }

    /// The next line without its end; `None` when the answer is complete. May be dropped while
    /// it waits, and called again.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the connection breaks or the line is too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(line) = split_line(&mut self.held) {
                return Ok(Some(line));
            }
            if self.ended {
                let rest = self.held.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            if self.held.len() > LINE_MAX {
                return Err(self.broken("a line without end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.broken(error)),
                None => self.ended = true,
            }
        }
    }

    /// The error of a stream that is not as it should be.
    pub(crate) fn broken(&self, problem: impl std::fmt::Display) -> ClientError {
        ClientError::Broken {
            place: self.place.clone(),
            problem: problem.to_string(),
        }
    }
}

fn split_line(held: &mut BytesMut) -> Option<Bytes> {
    let end = held.iter().position(|byte| *byte == b'\n')?;
    let line = held.split_to(end).freeze();
    held.advance(1);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_only() {
        let mut held = BytesMut::from("one\n\ntwo");
        assert_eq!(split_line(&mut held).as_deref(), Some(&b"one"[..]));
        assert_eq!(split_line(&mut held).as_deref(), Some(&b""[..]));
        assert_eq!(split_line(&mut held), None);
        assert_eq!(&held[..], b"two");
    }
}
