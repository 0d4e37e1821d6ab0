//! `MessagePack`, as Python's `msgpack` writes and reads it, with Pyro's extension types.
//!
//! The reader is our own few lines over `rmp`'s markers: `rmpv` bounds depth, but not how many elements four megabytes
//! may unfold into.

use std::borrow::Cow;

use rmp::Marker;
use rmp::encode;

use super::value::{Count, DEPTH_MAX, DIGITS_MAX, Unreadable, Value};

/// Pyro's extension types: complex, a whole number of any size, a time, a day.
const COMPLEX: i8 = 0x30;
const LONG: i8 = 0x31;
const DATETIME: i8 = 0x32;
const DATE: i8 = 0x33;

/// Reads a message.
///
/// # Errors
/// Where and why it is none.
pub fn read(bytes: &[u8]) -> Result<Value<'_>, Unreadable> {
    let mut reader = Reader { bytes, at: 0 };
    let mut count = Count::default();
    let mut open: Vec<Open<'_>> = Vec::new();
    loop {
        count.one_more()?;
        let mut value = match reader.next()? {
            Token::Value(value) => value,
            Token::Open { map, left } => {
                if open.len() == DEPTH_MAX {
                    return Err(Unreadable::too_deep());
                }
                let fresh = Open { map, left, items: Vec::new() };
                if left > 0 {
                    open.push(fresh);
                    continue;
                }
                fresh.close()
            }
        };
        // A whole value: it may be the last of its container, and that of the one around.
        loop {
            let Some(innermost) = open.last_mut() else {
                let rest = bytes.len() - reader.at;
                return if rest == 0 { Ok(value) } else { Err(reader.bad("unpack(b) received extra data")) };
            };
            innermost.items.push(value);
            innermost.left -= 1;
            if innermost.left > 0 {
                break;
            }
            value = open.pop().expect("it is the last").close();
        }
    }
}

/// A container whose members are being read; a map's keys and values in turn.
struct Open<'a> {
    map: bool,
    left: u64,
    items: Vec<Value<'a>>,
}

impl<'a> Open<'a> {
    fn close(self) -> Value<'a> {
        if !self.map {
            return Value::List(self.items);
        }
        let mut items = self.items.into_iter();
        let mut pairs = Vec::with_capacity(items.len() / 2);
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Value::Map(pairs)
    }
}

enum Token<'a> {
    Value(Value<'a>),
    Open { map: bool, left: u64 },
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Token<'a>, Unreadable> {
        let marker = Marker::from_u8(self.number::<1>()?[0]);
        let value = match marker {
            Marker::Null => Value::None,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(number) => Value::Int(number.into()),
            Marker::FixNeg(number) => Value::Int(number.into()),
            Marker::U8 => Value::Int(u8::from_be_bytes(self.number()?).into()),
            Marker::U16 => Value::Int(u16::from_be_bytes(self.number()?).into()),
            Marker::U32 => Value::Int(u32::from_be_bytes(self.number()?).into()),
            Marker::U64 => {
                let number = u64::from_be_bytes(self.number()?);
                i64::try_from(number).map_or_else(|_| Value::Big(number.to_string().into()), Value::Int)
            }
            Marker::I8 => Value::Int(i8::from_be_bytes(self.number()?).into()),
            Marker::I16 => Value::Int(i16::from_be_bytes(self.number()?).into()),
            Marker::I32 => Value::Int(i32::from_be_bytes(self.number()?).into()),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.number()?)),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.number()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.number()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let length = self.length(marker)?;
                self.text(length)?
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let length = self.length(marker)?;
                Value::Bytes(Cow::Borrowed(self.take(length)?))
            }
            Marker::FixArray(length) => return Ok(Token::Open { map: false, left: length.into() }),
            Marker::Array16 | Marker::Array32 => {
                return Ok(Token::Open { map: false, left: self.length(marker)? });
            }
            Marker::FixMap(length) => return Ok(Token::Open { map: true, left: 2 * u64::from(length) }),
            Marker::Map16 | Marker::Map32 => {
                return Ok(Token::Open { map: true, left: 2 * self.length(marker)? });
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let length = self.length(marker)?;
                self.extension(length)?
            }
            Marker::Reserved => return Err(self.bad("a byte that begins nothing")),
        };
        Ok(Token::Value(value))
    }

    fn length(&mut self, marker: Marker) -> Result<u64, Unreadable> {
        Ok(match marker {
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => u8::from_be_bytes(self.number()?).into(),
            Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => {
                u16::from_be_bytes(self.number()?).into()
            }
            _ => u32::from_be_bytes(self.number()?).into(),
        })
    }

    fn text(&mut self, length: u64) -> Result<Value<'a>, Unreadable> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Unreadable::not_utf8())?;
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn extension(&mut self, length: u64) -> Result<Value<'a>, Unreadable> {
        let kind = i8::from_be_bytes(self.number()?);
        let data = self.take(length)?;
        match kind {
            COMPLEX => Ok(Value::Foreign("complex")),
            DATETIME => Ok(Value::Foreign("datetime")),
            DATE => Ok(Value::Foreign("date")),
            LONG if data.len() <= DIGITS_MAX => {
                let digits = std::str::from_utf8(data).ok().map(str::trim);
                let digits = digits.filter(|digits| {
                    let digits = digits.strip_prefix('-').unwrap_or(digits);
                    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
                });
                let digits =
                    digits.ok_or_else(|| self.bad("a whole number with other things than digits"))?;
                Ok(digits.parse().map_or_else(|_| Value::Big(digits.into()), Value::Int))
            }
            LONG => Err(Unreadable::Value(format!("a whole number has more than {DIGITS_MAX} digits"))),
            other => Err(Unreadable::Value(format!("invalid ext code for msgpack: {other}"))),
        }
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.try_into().expect("so many were taken"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Unreadable> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let taken = taken.ok_or_else(|| self.bad("the message ends too early"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn bad(&self, what: &str) -> Unreadable {
        Unreadable::Value(format!("msgpack: {what} (at byte {})", self.at))
    }
}

/// Writes a value.
pub fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::None | Value::Foreign(_) => out.push(Marker::Null.to_u8()),
        Value::Bool(value) => memory(encode::write_bool(out, *value)),
        Value::Int(number) => memory(encode::write_sint(out, *number).map(drop)),
        Value::Big(digits) => {
            memory(encode::write_ext_meta(out, length(digits.len()), LONG).map(drop));
            out.extend(digits.as_bytes());
        }
        Value::Float(number) => memory(encode::write_f64(out, *number)),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => memory(encode::write_bin(out, bytes)),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            memory(encode::write_array_len(out, length(items.len())).map(drop));
            for item in items {
                write(out, item);
            }
        }
        Value::Map(pairs) => {
            write_map(out, pairs.len());
            for (key, value) in pairs {
                write(out, key);
                write(out, value);
            }
        }
    }
}

/// Begins a map of so many pairs.
pub fn write_map(out: &mut Vec<u8>, pairs: usize) {
    memory(encode::write_map_len(out, length(pairs)).map(drop));
}

/// Writes a text.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    memory(encode::write_str(out, text));
}

fn length(items: usize) -> u32 {
    u32::try_from(items).expect("no answer of ours is that long")
}

fn memory<E: std::fmt::Debug>(written: Result<(), E>) {
    written.expect("memory takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyro::value::ELEMENTS_MAX;

    #[test]
    fn a_call_is_read_and_pyros_extensions_too() {
        // msgpack.packb(("o", "m", ("a", 1, -1, 1.5, None, True), {}))
        let call = b"\x94\xa1o\xa1m\x96\xa1a\x01\xff\xcb?\xf8\0\0\0\0\0\0\xc0\xc3\x80";
        let call = read(call).unwrap();
        let [object, _, params, keywords] = call.items().unwrap() else { panic!("{call:?}") };
        assert_eq!((object.as_text(), keywords), (Some("o"), &Value::Map(vec![])));
        let expected = [
            Value::text("a"),
            Value::Int(1),
            Value::Int(-1),
            Value::Float(1.5),
            Value::None,
            Value::Bool(true),
        ];
        assert_eq!(params.items().unwrap(), expected);
        assert_eq!(read(b"\xd5\x3142").unwrap(), Value::Int(42));
        assert_eq!(
            read(b"\xc7\x14\x3118446744073709551616").unwrap(),
            Value::Big("18446744073709551616".into())
        );
        assert_eq!(read(b"\xd7\x320000000\0").unwrap(), Value::Foreign("datetime"));
        assert_eq!(
            read(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff").unwrap(),
            Value::Big(u64::MAX.to_string().into())
        );
    }

    #[test]
    fn what_is_none_and_what_goes_beyond_bounds_is_refused() {
        let bad: [&[u8]; 9] = [
            b"",
            b"\xc1",
            b"\x92\x01",
            b"\xa2a",
            b"\xa1\xff",
            b"\x01\x01",
            b"\xdd\xff\xff\xff\xff",
            b"\xd5\x3112a",
            b"\xd4\x00a",
        ];
        for bad in bad {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&[b"\x91".repeat(64), vec![1]].concat()).is_ok());
        assert_eq!(read(&[b"\x91".repeat(65), vec![1]].concat()), Err(Unreadable::too_deep()));
        let many = [b"\xdd\0\x10\0\0".to_vec(), vec![0; 1 << 20]].concat();
        assert_eq!(read(&many), Err(Unreadable::too_many()));
        const { assert!(ELEMENTS_MAX < 1 << 20) };
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = Value::Map(vec![
            (Value::text("long"), Value::Big("-18446744073709551616".into())),
            (Value::text("list"), Value::List(vec![Value::None, Value::Int(i64::MIN), Value::Float(-0.0)])),
            (Value::text("bytes"), Value::Bytes(b"\0\xff".into())),
        ]);
        let mut out = Vec::new();
        write(&mut out, &value);
        assert_eq!(read(&out), Ok(value));
    }
}
