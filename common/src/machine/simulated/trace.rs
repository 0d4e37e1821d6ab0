//! What happened, as one number: two runs of one seed must come to the same.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::Hasher as _;

/// A hash that is the same in every process (G. Fowler, L. Noll, K.-P. Vo: FNV-1a).
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Listener = Box<dyn Fn(fmt::Arguments<'_>)>;

thread_local! {
    static HASH: Cell<u64> = const { Cell::new(0xcbf2_9ce4_8422_2325) };
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Takes in bytes that matter.
pub fn bytes(kind: u8, at: u64, bytes: &[u8]) {
    let mut hash = Fnv(HASH.get());
    hash.write_u8(kind);
    hash.write_u64(at);
    hash.write_u32(crc32c::crc32c(bytes));
    HASH.set(hash.finish());
}

/// Takes in something that a person may want to read.
pub fn note(what: fmt::Arguments<'_>) {
    bytes(0, 0, what.to_string().as_bytes());
    LISTENER.with_borrow(|listener| {
        if let Some(listener) = listener {
            listener(what);
        }
    });
}

/// Has `listener` told what is noted.
pub fn listen(listener: impl Fn(fmt::Arguments<'_>) + 'static) {
    LISTENER.set(Some(Box::new(listener)));
}

/// All of it so far.
pub fn hash() -> u64 {
    HASH.get()
}
