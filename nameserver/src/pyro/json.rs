//! JSON, as Python's `json` module writes and reads it: `NaN` and `Infinity` are numbers there.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::value::{Count, DEPTH_MAX, Unreadable, Value};

/// Reads a message.
///
/// # Errors
/// Where and why it is none.
pub fn read(bytes: &[u8]) -> Result<Value<'_>, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::not_utf8())?;
    match parse(text) {
        Ok(value) => Ok(value),
        // Only numbers that JSON does not have can be what is wrong; nothing here takes more of a number than its truth.
        Err(refused) => match without_odd_numbers(text) {
            Some(text) => parse(&text).map(into_owned),
            None => Err(refused),
        },
    }
}

fn parse(text: &str) -> Result<Value<'_>, Unreadable> {
    let bounds = Bounds::default();
    let mut from = serde_json::Deserializer::from_str(text);
    let read = Level { depth: 0, bounds: &bounds }.deserialize(&mut from);
    let read = read.and_then(|value| from.end().map(|()| value));
    read.map_err(|error| bounds.broken.take().unwrap_or_else(|| Unreadable::Value(format!("JSON: {error}"))))
}

/// `text` with `1` in place of each `NaN` and `Infinity` outside of quotes; `None` when there is none.
fn without_odd_numbers(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut found = false;
    // Between quotes every second part is a text; an escaped quote does not end one.
    let (mut rest, mut inside) = (text, false);
    while !rest.is_empty() {
        let end = match rest.find(if inside { &['"', '\\'][..] } else { &['"'][..] }) {
            Some(at) if rest[at..].starts_with('\\') => {
                let escaped = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
                plain.push_str(&rest[..at + 1 + escaped]);
                rest = &rest[at + 1 + escaped..];
                continue;
            }
            at => at,
        };
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        if inside {
            plain.push_str(part);
        } else {
            let replaced = part.replace("NaN", "1").replace("Infinity", "1");
            found |= replaced.len() != part.len();
            plain.push_str(&replaced);
        }
        if let Some(after) = after.strip_prefix('"') {
            plain.push('"');
            rest = after;
            inside = !inside;
        } else {
            rest = after;
        }
    }
    found.then_some(plain)
}

fn into_owned(value: Value<'_>) -> Value<'static> {
    let all = |items: Vec<Value<'_>>| items.into_iter().map(into_owned).collect();
    match value {
        Value::None => Value::None,
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Int(value),
        Value::Big(digits) => Value::Big(digits),
        Value::Float(value) => Value::Float(value),
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
        Value::List(items) => Value::List(all(items)),
        Value::Tuple(items) => Value::Tuple(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(key, value)| (into_owned(key), into_owned(value))).collect())
        }
        Value::Foreign(name) => Value::Foreign(name),
    }
}

/// What is counted, and why the reading was ended.
#[derive(Default)]
struct Bounds {
    count: RefCell<Count>,
    broken: RefCell<Option<Unreadable>>,
}

/// Reads one value at its depth.
#[derive(Clone, Copy)]
struct Level<'b> {
    depth: usize,
    bounds: &'b Bounds,
}

impl Level<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.broken(Unreadable::too_deep()));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn broken<E: serde::de::Error>(self, why: Unreadable) -> E {
        let error = E::custom(&why);
        self.bounds.broken.replace(Some(why));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value<'de>, D::Error> {
        self.bounds.count.borrow_mut().one_more().map_err(|why| self.broken(why))?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Big(value.to_string().into()), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value<'de>, A::Error> {
        let below = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value<'de>, A::Error> {
        let below = self.deeper()?;
        let mut pairs = Vec::new();
        while let Some(key) = from.next_key_seed(below)? {
            pairs.push((key, from.next_value_seed(below)?));
        }
        Ok(Value::Map(pairs))
    }
}

/// Writes a value. A map's keys must be texts: ours are.
pub fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::None | Value::Foreign(_) => out.extend(b"null"),
        Value::Bool(value) => out.extend(if *value { &b"true"[..] } else { b"false" }),
        Value::Int(number) => out.extend(number.to_string().as_bytes()),
        Value::Big(digits) => out.extend(digits.as_bytes()),
        Value::Float(number) if number.is_nan() => out.extend(b"NaN"),
        Value::Float(number) if number.is_infinite() => {
            out.extend(if *number > 0.0 { &b"Infinity"[..] } else { b"-Infinity" });
        }
        Value::Float(number) => out.extend(format!("{number:?}").as_bytes()),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => write_text(out, &String::from_utf8_lossy(bytes)),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (place, (key, value)) in pairs.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(out, key);
                out.push(b':');
                write(out, value);
            }
            out.push(b'}');
        }
    }
}

/// Writes a text.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyro::value::ELEMENTS_MAX;

    #[test]
    fn a_call_is_read_and_what_python_adds_to_json_too() {
        let call =
            read(br#"{"object": "o", "params": ["a\u00e4\n", 1, 1.5, true, null], "kwargs": {}}"#).unwrap();
        let params = call.get("params").unwrap().items().unwrap();
        assert_eq!(
            (params[0].as_text(), &params[1], &params[4]),
            (Some("a\u{e4}\n"), &Value::Int(1), &Value::None)
        );
        let odd = read(br#"["NaN \" Infinity", NaN, -Infinity, "\\", Infinity]"#).unwrap();
        let odd = odd.items().unwrap();
        assert_eq!(odd[0].as_text(), Some("NaN \" Infinity"));
        assert!(odd[1].is_true() && odd[2].is_true() && odd[3].as_text() == Some("\\") && odd[4].is_true());
        assert_eq!(
            read(br#"{"a": 1, "a": 2}"#).unwrap().get("a"),
            Some(&Value::Int(2)),
            "the later one counts"
        );
    }

    #[test]
    fn what_is_none_and_what_goes_beyond_bounds_is_refused() {
        for bad in ["", "{", "[1,]", "{1:2}", "nan", "[Nan]", "\"\\ud800\"", "1 2", "NaN x"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(read(b"\"\xff\"").is_err());
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(deep(64).as_bytes()).is_ok());
        assert_eq!(read(deep(65).as_bytes()), Err(Unreadable::too_deep()));
        assert!(read("[".repeat(1_000_000).as_bytes()).is_err());
        let many = format!("[{}0]", "0,".repeat(ELEMENTS_MAX));
        assert_eq!(read(many.as_bytes()), Err(Unreadable::too_many()));
    }

    #[test]
    fn sets_and_tuples_are_written_as_arrays() {
        let mut out = Vec::new();
        let value = Value::Map(vec![
            (Value::text("s"), Value::Set(vec![Value::text("a\"")])),
            (
                Value::text("t"),
                Value::Tuple(vec![Value::None, Value::Bool(true), Value::Int(-1), Value::Float(0.5)]),
            ),
        ]);
        write(&mut out, &value);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"s":["a\""],"t":[null,true,-1,0.5]}"#);
    }
}
