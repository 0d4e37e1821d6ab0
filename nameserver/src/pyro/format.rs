//! The three serializers behind one door: which one a message names, a call in each, and answers written piece by piece.

use super::frame::Dialect;
use super::value::{Unreadable, Value};
use super::{json, msgpack, serpent};

/// A serializer that we speak. Marshal, pickle, dill and cloudpickle run what they are sent, or depend on a Python's
/// version: they are refused, unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Python literals.
    Serpent,
    /// JSON.
    Json,
    /// `MessagePack`.
    Msgpack,
}

/// A call, taken apart.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Of which object.
    pub object: Value<'a>,
    /// Which of its methods; of a batch, nothing that counts.
    pub method: Value<'a>,
    /// Arguments by position; of a batch, the calls.
    pub positional: Value<'a>,
    /// Arguments by name.
    pub keywords: Value<'a>,
}

impl Format {
    /// The one that a header names.
    pub const fn of(dialect: Dialect, serializer: u16) -> Option<Self> {
        match (dialect, serializer) {
            (_, 1) => Some(Self::Serpent),
            (Dialect::Five, 3) | (Dialect::Four, 2) => Some(Self::Json),
            (Dialect::Five, 4) | (Dialect::Four, 6) => Some(Self::Msgpack),
            _ => None,
        }
    }

    /// Its number in a header.
    pub const fn number(self, dialect: Dialect) -> u16 {
        match (self, dialect) {
            (Self::Serpent, _) => 1,
            (Self::Json, Dialect::Five) => 3,
            (Self::Json, Dialect::Four) => 2,
            (Self::Msgpack, Dialect::Five) => 4,
            (Self::Msgpack, Dialect::Four) => 6,
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(self, payload: &[u8]) -> Result<Value<'_>, Unreadable> {
        match self {
            Self::Serpent => serpent::read(payload),
            Self::Json => json::read(payload),
            Self::Msgpack => msgpack::read(payload),
        }
    }

    /// Takes a call apart; `None` when the value has not the shape of one.
    pub fn parts(self, call: Value<'_>) -> Option<Parts<'_>> {
        match (self, call) {
            (Self::Json, Value::Map(pairs)) => {
                let mut parts = [const { None }; 4];
                for (key, value) in pairs {
                    let names = ["object", "method", "params", "kwargs"];
                    if let Some(at) = names.iter().position(|name| key.as_text() == Some(name)) {
                        parts[at] = Some(value);
                    }
                }
                let [object, method, positional, keywords] = parts;
                Some(Parts { object: object?, method: method?, positional: positional?, keywords: keywords? })
            }
            (Self::Serpent | Self::Msgpack, Value::Tuple(items) | Value::List(items)) => {
                let [object, method, positional, keywords] = items.try_into().ok()?;
                Some(Parts { object, method, positional, keywords })
            }
            _ => None,
        }
    }

    /// Begins a payload.
    pub fn begin(self, out: &mut Vec<u8>) {
        if self == Self::Serpent {
            out.extend(serpent::HEADER);
        }
    }

    /// Writes a value.
    pub fn write(self, out: &mut Vec<u8>, value: &Value<'_>) {
        match self {
            Self::Serpent => serpent::write(out, value),
            Self::Json => json::write(out, value),
            Self::Msgpack => msgpack::write(out, value),
        }
    }

    /// Writes a text.
    pub fn write_text(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Self::Serpent => serpent::write_text(out, text),
            Self::Json => json::write_text(out, text),
            Self::Msgpack => msgpack::write_text(out, text),
        }
    }

    /// Begins a map of `pairs` pairs.
    pub fn open_map(self, out: &mut Vec<u8>, pairs: usize) {
        match self {
            Self::Serpent | Self::Json => out.push(b'{'),
            Self::Msgpack => msgpack::write_map(out, pairs),
        }
    }

    /// Ends it.
    pub fn close_map(self, out: &mut Vec<u8>) {
        if self != Self::Msgpack {
            out.push(b'}');
        }
    }

    /// Writes what stands between two neighbours in a map or a list.
    pub fn comma(self, out: &mut Vec<u8>) {
        if self != Self::Msgpack {
            out.push(b',');
        }
    }

    /// Writes what stands between a key and its value.
    pub fn colon(self, out: &mut Vec<u8>) {
        if self != Self::Msgpack {
            out.push(b':');
        }
    }

    /// Begins a list whose length is not known yet; [`Format::close_list`] is told where.
    pub fn open_list(self, out: &mut Vec<u8>) -> usize {
        let at = out.len();
        match self {
            Self::Serpent | Self::Json => out.push(b'['),
            Self::Msgpack => out.extend([rmp::Marker::Array32.to_u8(), 0, 0, 0, 0]),
        }
        at
    }

    /// Ends the list that began at `at`.
    pub fn close_list(self, out: &mut Vec<u8>, at: usize, items: u32) {
        match self {
            Self::Serpent | Self::Json => out.push(b']'),
            Self::Msgpack => out[at + 1..at + 5].copy_from_slice(&items.to_be_bytes()),
        }
    }
}
