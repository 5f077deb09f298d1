use std::{
    cell::{Cell, RefCell},
    io::{self, Read},
};

use crate::{Digest, Hasher};

use super::{
    Compression, UnpackError, UnpackLimits,
    error::{Fault, shown},
};

/// Bytes read at once behind the end mark.
const BUFFER: usize = 64 << 10;
/// Bytes of a block, of which a tar is made.
pub(super) const BLOCK: usize = 512;

/// The uncompressed tar below the reader of entries: hashes it, bounds it, and keeps what stands
/// between the content of two files. Shared with the reader of entries, hence the cells.
pub(super) struct Stream<R> {
    tar: RefCell<Hasher<R>>,
    compression: Compression,
    limits: UnpackLimits,
    /// What was read since the content of the last file; nothing is kept inside of content.
    head: RefCell<Option<Vec<u8>>>,
    /// Why the last read failed.
    fault: Cell<Option<StreamFault>>,
}

/// What was read to find the next entry.
pub(super) struct Between {
    /// Position of its first byte in the tar; always that of a block.
    pub(super) start: u64,
    /// Whole blocks.
    pub(super) blocks: Vec<u8>,
}

enum StreamFault {
    Head,
    Tar,
    Tail,
    Source(io::Error),
}

// === impl Stream ===

impl<R: Read> Stream<R> {
    pub(super) fn new(tar: R, compression: Compression, limits: &UnpackLimits) -> Self {
        Self {
            tar: RefCell::new(Hasher::new(tar)),
            compression,
            limits: limits.clone(),
            head: RefCell::new(None),
            fault: Cell::new(None),
        }
    }

    /// Runs `read`, which reads headers only, and gives what it read beside its answer.
    pub(super) fn between<T>(&self, read: impl FnOnce() -> T) -> (T, Between) {
        let position = self.position();
        self.head.replace(Some(Vec::new()));
        let answer = read();
        let mut blocks = self.head.take().unwrap_or_default();
        let padding = position.next_multiple_of(BLOCK as u64) - position;
        let present = blocks.len().min(padding as usize);
        blocks.drain(..present);
        let start = position + padding;
        (answer, Between { start, blocks })
    }

    /// What an error of the reader of entries comes from.
    pub(super) fn explain(&self, error: io::Error) -> UnpackError {
        let position = self.position();
        match self.fault.take() {
            None => UnpackError::Damaged {
                position,
                source: error,
            },
            Some(StreamFault::Head) => UnpackError::LongHead {
                position,
                limit: self.limits.head_bytes as u64,
            },
            Some(StreamFault::Tar) => UnpackError::LongTar {
                limit: self.limits.tar_bytes(),
            },
            Some(StreamFault::Tail) => UnpackError::LongTail {
                limit: self.limits.tail_bytes,
            },
            Some(StreamFault::Source(source)) => match self.compression {
                Compression::None => UnpackError::Read(source),
                compression => UnpackError::Compressed {
                    compression,
                    source,
                },
            },
        }
    }

    /// The error for `fault` of the entry with this path.
    pub(super) fn blame(&self, entry: &[u8], fault: Fault) -> UnpackError {
        let entry = shown(entry);
        match fault {
            Fault::Tar(error) => self.explain(error),
            Fault::Rule(rule) => UnpackError::Refused { entry, rule },
            Fault::Host { action, source } => UnpackError::Host {
                entry,
                action,
                source,
            },
        }
    }

    /// Reads on to the very end, and gives the digest of all.
    pub(super) fn finish(self) -> Result<Digest, UnpackError> {
        let end = self.position().saturating_add(self.limits.tail_bytes);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match (&self).read(&mut buffer) {
                Ok(0) => break,
                Ok(_) if self.position() > end => {
                    self.fault.set(Some(StreamFault::Tail));
                    Err(io::ErrorKind::FileTooLarge.into())
                }
                read => read,
            };
            read.map_err(|error| self.explain(error))?;
        }
        let (digest, _, _) = self.tar.into_inner().finish();
        Ok(digest)
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.tar.borrow().length()
    }

    fn fail(&self, fault: StreamFault) -> io::Error {
        self.fault.set(Some(fault));
        io::ErrorKind::FileTooLarge.into()
    }
}

impl<R: Read> Read for &Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut head = self.head.borrow_mut();
        let mut room = buffer.len();
        if let Some(head) = &*head {
            room = room.min(self.limits.head_bytes.saturating_sub(head.len()));
            if room == 0 && !buffer.is_empty() {
                return Err(self.fail(StreamFault::Head));
            }
        }
        if self.position() > self.limits.tar_bytes() {
            return Err(self.fail(StreamFault::Tar));
        }
        let read = loop {
            let read = self.tar.borrow_mut().read(&mut buffer[..room]);
            // The reader of entries does not try again.
            if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                break read;
            }
        };
        match read {
            Ok(read) => {
                if let Some(head) = &mut *head {
                    head.extend_from_slice(&buffer[..read]);
                }
                Ok(read)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.fault.set(Some(StreamFault::Source(error)));
                Err(told)
            }
        }
    }
}
