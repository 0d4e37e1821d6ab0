//! An answer in the making: one value, a listing entry by entry, or the results of a batch.

use std::borrow::Cow;

use super::format::Format;
use super::frame::{Dialect, Flags, Head, Key, Kind, Outgoing};
use super::refusal::{Class, Refusal};
use super::value::Value;
use super::view::View;

/// Bytes of one answer: a million names.
pub const ANSWER_MAX: usize = 64 << 20;

/// An answer in the making.
#[derive(Debug)]
pub struct Answer {
    out: Outgoing,
    format: Format,
    dialect: Dialect,
    flags: Flags,
    batch: Option<Batch>,
    /// Entries of the listing that is being written.
    entries: usize,
}

/// The results of a batch so far.
#[derive(Clone, Copy, Debug)]
struct Batch {
    began_at: usize,
    results: u32,
}

impl Answer {
    /// Begins the answer to the request with this header.
    pub(super) fn new(request: &Head, format: Format, key: Option<&Key>) -> Self {
        let head = Head {
            kind: Kind::Result,
            serializer: format.number(request.dialect),
            payload: 0,
            annotations: 0,
            ..*request
        };
        let batched = request.flags.has(Flags::BATCH);
        let mut this = Self {
            out: Outgoing::new(head, key),
            format,
            dialect: request.dialect,
            flags: if batched { Flags::BATCH } else { Flags::default() },
            batch: None,
            entries: 0,
        };
        format.begin(&mut this.out.bytes);
        if batched {
            let began_at = format.open_list(&mut this.out.bytes);
            this.batch = Some(Batch { began_at, results: 0 });
        }
        this
    }

    /// Which Pyro is answered.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Bytes so far.
    pub const fn bytes(&self) -> usize {
        self.out.bytes.len()
    }

    /// Writes a result.
    pub fn value(&mut self, value: &Value<'_>) {
        self.next_result();
        self.format.write(&mut self.out.bytes, value);
    }

    /// Begins a listing of `entries` names.
    pub fn open_listing(&mut self, entries: usize) {
        self.next_result();
        self.entries = 0;
        self.format.open_map(&mut self.out.bytes, entries);
    }

    /// Writes a name of it.
    pub fn entry(&mut self, name: &str, view: &View<'_>, tagged: bool) {
        let (format, out) = (self.format, &mut self.out.bytes);
        if self.entries > 0 {
            format.comma(out);
        }
        self.entries += 1;
        format.write_text(out, name);
        format.colon(out);
        let uri: Cow<'_, str> = view.uri();
        if tagged {
            format.write(out, &Value::Tuple(vec![Value::Text(uri), view.tags_value()]));
        } else {
            format.write_text(out, &uri);
        }
    }

    /// Ends it.
    pub fn close_listing(&mut self) {
        self.format.close_map(&mut self.out.bytes);
    }

    /// Writes an exception: of a batch the last result, otherwise in place of what was written.
    pub fn refusal(&mut self, refusal: &Refusal) {
        if self.batch.is_some() {
            let wrapped = refusal.to_wrapped(self.dialect);
            self.value(&wrapped);
        } else {
            self.refusal_of_all(refusal);
        }
    }

    /// Writes an exception in place of everything.
    pub fn refusal_of_all(&mut self, refusal: &Refusal) {
        self.batch = None;
        self.flags = Flags::EXCEPTION;
        self.out.restart();
        self.format.begin(&mut self.out.bytes);
        self.format.write(&mut self.out.bytes, &refusal.to_value(self.dialect));
    }

    /// The whole message.
    pub fn finish(mut self) -> Vec<u8> {
        if self.bytes() > ANSWER_MAX {
            let why = format!("message too large ({}, max={ANSWER_MAX})", self.bytes());
            self.refusal_of_all(&Refusal::new(Class::Protocol, why));
        }
        if let Some(batch) = self.batch {
            self.format.close_list(&mut self.out.bytes, batch.began_at, batch.results);
        }
        self.out.finish(self.flags)
    }

    fn next_result(&mut self) {
        if let Some(batch) = &mut self.batch {
            if batch.results > 0 {
                self.format.comma(&mut self.out.bytes);
            }
            batch.results += 1;
        }
    }
}
