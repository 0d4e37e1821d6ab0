use std::io::Write as _;

use crate::pyro::value::Value;

/// The line that begins every message.
pub const HEADER: &[u8] = b"# serpent utf-8 python3.2\n";

/// Writes a value, without [`HEADER`], as Pyro's own writer does: no blanks, texts as Python shows them.
pub fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::None | Value::Foreign(_) => out.extend(b"None"),
        Value::Bool(true) => out.extend(b"True"),
        Value::Bool(false) => out.extend(b"False"),
        Value::Int(number) => put(out, format_args!("{number}")),
        Value::Big(digits) => out.extend(digits.as_bytes()),
        Value::Float(number) if number.is_nan() => out.extend(b"{'__class__':'float','value':'nan'}"),
        Value::Float(number) if number.is_infinite() => {
            out.extend(if *number > 0.0 { &b"1e30000"[..] } else { b"-1e30000" });
        }
        // Rust's shortest form that reads back is Python's too, but for the exponent's look.
        Value::Float(number) => put(out, format_args!("{number:?}")),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => put(out, format_args!("b'{}'", bytes.escape_ascii())),
        Value::List(items) => write_items(out, b"[", items, b"]"),
        // The empty set has no literal of its own.
        Value::Set(items) if items.is_empty() => out.extend(b"()"),
        Value::Set(items) => write_items(out, b"{", items, b"}"),
        Value::Tuple(items) if items.len() == 1 => write_items(out, b"(", items, b",)"),
        Value::Tuple(items) => write_items(out, b"(", items, b")"),
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

fn write_items(out: &mut Vec<u8>, open: &[u8], items: &[Value<'_>], close: &[u8]) {
    out.extend(open);
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.extend(close);
}

/// Writes a text as Python's `repr`: in single quotes, unless it holds one and no double quote.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    // Nearly all are plain, and a listing has a hundred thousand of them.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\'' && byte != b'\\') {
        out.reserve(text.len() + 2);
        out.push(b'\'');
        out.extend(text.as_bytes());
        return out.push(b'\'');
    }
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote as u8);
    let must_escape = |char: char| {
        char == '\\' || char == quote || char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
    };
    let mut rest = text;
    while let Some(at) = rest.find(must_escape) {
        let (plain, from) = rest.split_at(at);
        out.extend(plain.as_bytes());
        let char = from.chars().next().expect("it was found there");
        match char {
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\u{2028}' | '\u{2029}' => put(out, format_args!("\\u{:04x}", u32::from(char))),
            _ if char.is_control() => put(out, format_args!("\\x{:02x}", u32::from(char))),
            _ => out.extend([b'\\', char as u8]),
        }
        rest = &from[char.len_utf8()..];
    }
    out.extend(rest.as_bytes());
    out.push(quote as u8);
}

fn put(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("memory takes all");
}
