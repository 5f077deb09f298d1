use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

/// Bytes that may stand between two files: long names and extended headers are read into memory.
const HEADERS_MAX: u64 = 64 << 10;

/// Stops a tar that gives more than is allowed right now, so that nobody is made to read a header
/// without end into memory.
#[derive(Debug)]
pub struct Metered<R> {
    inner: R,
    allowance: Allowance,
}

/// How much a [`Metered`] stream may still give.
#[derive(Debug, Clone)]
pub struct Allowance(Rc<Cell<u64>>);

// === impl Metered ===

impl<R: Read> Metered<R> {
    /// Of a tar, at its first header.
    pub fn new(inner: R) -> (Self, Allowance) {
        let allowance = Allowance(Rc::new(Cell::new(HEADERS_MAX)));
        let metered = Self {
            inner,
            allowance: allowance.clone(),
        };
        (metered, allowance)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.allowance.0.get()).unwrap_or(usize::MAX);
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a header is too long"));
        }
        let room = buffer.len().min(left);
        let count = self.inner.read(&mut buffer[..room])?;
        self.allowance.0.set(self.allowance.0.get() - count as u64);
        Ok(count)
    }
}

// === impl Allowance ===

impl Allowance {
    /// A file of `size` bytes comes next.
    pub fn file(&self, size: u64) {
        self.0.set(size.saturating_add(HEADERS_MAX));
    }

    /// A header comes next.
    pub fn header(&self) {
        self.0.set(HEADERS_MAX);
    }
}
