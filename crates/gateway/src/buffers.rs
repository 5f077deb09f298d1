use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    rc::Rc,
};

/// Bytes that a buffer holds without growing; the head and the body of a usual call fit.
pub(crate) const BUFFER_BYTES: usize = 16 << 10;
/// Buffers that a thread keeps for later calls.
const KEPT_MAX: usize = 64;

/// The spare buffers of one thread. Only a request that has begun and an answer have any, so
/// that idle connections and waiting calls cost little.
#[derive(Default)]
pub(crate) struct Buffers(RefCell<Vec<Vec<u8>>>);

/// An empty buffer at first; goes back when it is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Rc<Buffers>,
}

impl Buffers {
    pub(crate) fn take(self: &Rc<Self>) -> Buffer {
        let kept = self.0.borrow_mut().pop();
        Buffer {
            bytes: kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)),
            home: Rc::clone(self),
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = self.home.0.borrow_mut();
        if kept.len() < KEPT_MAX && self.bytes.capacity() == BUFFER_BYTES {
            self.bytes.clear();
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
