use std::borrow::Cow;

use crate::pyro::value::{Count, DEPTH_MAX, DIGITS_MAX, Unreadable, Value};

/// Reads a message.
///
/// # Errors
/// Where and why it is none.
pub fn read(bytes: &[u8]) -> Result<Value<'_>, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::not_utf8())?;
    if bytes.contains(&0) {
        let why = "The serpent data contains 0-bytes so it cannot be parsed by ast.literal_eval. Has it been corrupted?";
        return Err(Unreadable::Value(why.to_owned()));
    }
    Reader { text, at: 0, count: Count::default(), open: Vec::new() }.message()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    count: Count,
    open: Vec<Open<'a>>,
}

/// An open bracket, and what stands behind it so far.
struct Open<'a> {
    bracket: u8,
    items: Vec<Value<'a>>,
    pairs: Vec<(Value<'a>, Value<'a>)>,
    /// A key whose value is to come.
    key: Option<Value<'a>>,
    comma: bool,
}

impl<'a> Open<'a> {
    fn new(bracket: u8) -> Self {
        Self { bracket, items: Vec::new(), pairs: Vec::new(), key: None, comma: false }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.pairs.is_empty()
    }

    /// Takes in a value that a comma or the closing bracket follows.
    fn take(&mut self, value: Value<'a>) -> Result<(), Unreadable> {
        if let Some(key) = self.key.take() {
            self.pairs.push((key, value));
        } else if self.bracket == b'{' && !self.pairs.is_empty() {
            return Err(Unreadable::Syntax("a map's key has no value".to_owned()));
        } else {
            if self.bracket == b'{' {
                must_be_hashable(&value)?;
            }
            self.items.push(value);
        }
        Ok(())
    }

    fn close(mut self) -> Value<'a> {
        match self.bracket {
            b'[' => Value::List(self.items),
            b'{' if self.items.is_empty() => Value::Map(self.pairs),
            b'{' => Value::Set(self.items),
            _ if self.items.len() == 1 && !self.comma => self.items.swap_remove(0),
            _ => Value::Tuple(self.items),
        }
    }
}

fn must_be_hashable(value: &Value<'_>) -> Result<(), Unreadable> {
    let why = || Unreadable::Value(format!("unhashable type: '{}'", value.type_name()));
    if value.is_hashable() { Ok(()) } else { Err(why()) }
}

const fn closing(bracket: u8) -> u8 {
    match bracket {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

impl<'a> Reader<'a> {
    fn message(mut self) -> Result<Value<'a>, Unreadable> {
        loop {
            let Some(mut value) = self.begin()? else { continue };
            // What follows a value: a comma, a colon, closing brackets, or the end.
            loop {
                self.blank();
                let next = self.peek();
                let Some(open) = self.open.last_mut() else {
                    return if next.is_none() { Ok(value) } else { Err(self.bad("more than one value")) };
                };
                match next {
                    Some(b',') => {
                        open.take(value)?;
                        open.comma = true;
                        self.at += 1;
                        break;
                    }
                    Some(b':') if open.bracket == b'{' && open.key.is_none() && open.items.is_empty() => {
                        must_be_hashable(&value)?;
                        open.key = Some(value);
                        self.at += 1;
                        break;
                    }
                    Some(byte) if byte == closing(open.bracket) => {
                        open.take(value)?;
                        value = self.shut();
                    }
                    Some(_) => return Err(self.bad("',' or a closing bracket was expected")),
                    None => return Err(self.bad("a bracket was never closed")),
                }
            }
        }
    }

    /// Reads where a value may begin: a whole one, or an opening bracket (then `None`).
    fn begin(&mut self) -> Result<Option<Value<'a>>, Unreadable> {
        self.blank();
        match self.peek() {
            Some(bracket @ (b'(' | b'[' | b'{')) => {
                self.count.one_more()?;
                if self.open.len() == DEPTH_MAX {
                    return Err(Unreadable::too_deep());
                }
                self.open.push(Open::new(bracket));
                self.at += 1;
                Ok(None)
            }
            Some(byte @ (b')' | b']' | b'}')) => match self.open.last() {
                Some(open)
                    if byte == closing(open.bracket)
                        && open.key.is_none()
                        && open.comma != open.is_empty() =>
                {
                    Ok(Some(self.shut()))
                }
                _ => Err(self.bad("a value was expected")),
            },
            Some(_) => {
                self.count.one_more()?;
                self.scalar().map(Some)
            }
            None => Err(self.bad("a value was expected")),
        }
    }

    /// Closes the innermost bracket.
    fn shut(&mut self) -> Value<'a> {
        self.at += 1;
        self.open.pop().expect("who closes has looked at it").close()
    }

    fn scalar(&mut self) -> Result<Value<'a>, Unreadable> {
        match self.peek() {
            Some(b'\'' | b'"') => self.texts(),
            Some(b'0'..=b'9' | b'.' | b'+' | b'-') => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {
                let rest = &self.text.as_bytes()[self.at..];
                let length =
                    rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                if length <= 2 && matches!(rest.get(length), Some(b'\'' | b'"')) {
                    return self.texts();
                }
                let word = &self.text[self.at..self.at + length];
                let value = match word {
                    "None" => Value::None,
                    "True" => Value::Bool(true),
                    "False" => Value::Bool(false),
                    _ => {
                        return Err(Unreadable::Value(format!(
                            "malformed node or string: a name (at byte {})",
                            self.at
                        )));
                    }
                };
                self.at += length;
                Ok(value)
            }
            _ => Err(self.bad("invalid syntax")),
        }
    }

    /// One or more texts beside each other, or bytes.
    fn texts(&mut self) -> Result<Value<'a>, Unreadable> {
        let mut whole = self.quoted()?;
        loop {
            let before = self.at;
            self.blank();
            let rest = &self.text.as_bytes()[self.at..];
            let prefix = rest.iter().take(3).take_while(|byte| byte.is_ascii_alphabetic()).count();
            if !matches!(rest.get(prefix), Some(b'\'' | b'"')) {
                self.at = before;
                return Ok(whole);
            }
            match (&mut whole, self.quoted()?) {
                (Value::Text(whole), Value::Text(more)) => whole.to_mut().push_str(&more),
                (Value::Bytes(whole), Value::Bytes(more)) => whole.to_mut().extend_from_slice(&more),
                _ => return Err(self.bad("cannot mix bytes and nonbytes literals")),
            }
        }
    }

    /// One quoted text with its prefix.
    fn quoted(&mut self) -> Result<Value<'a>, Unreadable> {
        let bytes = self.text.as_bytes();
        let (mut raw, mut binary) = (false, false);
        let start = self.at;
        while let Some(prefix) = self.peek().filter(u8::is_ascii_alphabetic) {
            match prefix.to_ascii_lowercase() {
                b'r' if !raw => raw = true,
                b'b' if !binary => binary = true,
                b'u' if self.at == start && matches!(bytes.get(start + 1), Some(b'\'' | b'"')) => {}
                _ => return Err(self.bad("invalid syntax")),
            }
            self.at += 1;
        }
        let quote = bytes[self.at];
        let triple = bytes[self.at..].starts_with(&[quote; 3]);
        let end: &[u8] = if triple { &[quote; 3] } else { &[quote] };
        self.at += end.len();
        let body = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err(self.bad("unterminated string literal")),
                Some(b'\n' | b'\r') if !triple => return Err(self.bad("unterminated string literal")),
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2; // Whatever is escaped, it does not end the text; a longer character ends as itself.
                    while !self.text.is_char_boundary(self.at.min(self.text.len())) {
                        self.at += 1;
                    }
                }
                Some(byte) if byte == quote && bytes[self.at..].starts_with(end) => break,
                Some(_) => self.at += 1,
            }
        }
        let inner = &self.text[body..self.at];
        self.at += end.len();
        if binary {
            if !inner.is_ascii() {
                return Err(self.bad("bytes can only contain ASCII literal characters"));
            }
            let unescaped =
                || unescape(inner, true, body).map(|chars| chars.into_iter().map(low_byte).collect());
            let value =
                if escaped && !raw { Cow::Owned(unescaped()?) } else { Cow::Borrowed(inner.as_bytes()) };
            return Ok(Value::Bytes(value));
        }
        if escaped && !raw {
            let mut text = String::with_capacity(inner.len());
            for code in unescape(inner, false, body)? {
                let why = || Unreadable::Value("surrogates are no characters".to_owned());
                text.push(char::from_u32(code).ok_or_else(why)?);
            }
            return Ok(Value::Text(Cow::Owned(text)));
        }
        Ok(Value::Text(Cow::Borrowed(inner)))
    }

    fn number(&mut self) -> Result<Value<'a>, Unreadable> {
        let bytes = self.text.as_bytes();
        let negative = self.peek() == Some(b'-');
        if matches!(self.peek(), Some(b'+' | b'-')) {
            self.at += 1;
            self.blank();
        }
        let start = self.at;
        let mut last = b'_'; // Digits begin with no underscore.
        let (mut float, mut digits) = (false, String::new());
        let radix = match (bytes.get(start), bytes.get(start + 1).map(u8::to_ascii_lowercase)) {
            (Some(b'0'), Some(b'x')) => 16,
            (Some(b'0'), Some(b'o')) => 8,
            (Some(b'0'), Some(b'b')) => 2,
            _ => 10,
        };
        if radix != 10 {
            self.at += 2;
            last = b'0';
        }
        while let Some(byte) = self.peek() {
            match byte {
                b'_' if last.is_ascii_alphanumeric() => {}
                b'_' => return Err(self.bad("invalid decimal literal")),
                b'.' | b'e' | b'E' if radix == 10 => float = true,
                b'+' | b'-' if radix == 10 && matches!(last, b'e' | b'E') => {}
                b'j' | b'J' => return Err(Unreadable::Value("complex numbers are not taken".to_owned())),
                _ if byte.is_ascii_alphanumeric() => {}
                _ => break,
            }
            if byte != b'_' {
                digits.push(char::from(byte));
            } else if !bytes.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric) {
                return Err(self.bad("invalid decimal literal"));
            }
            last = byte;
            self.at += 1;
        }
        if float {
            // `1.` and `.5` are numbers, `.` and `1e` are none.
            let number: f64 = digits.parse().map_err(|_| self.bad("invalid decimal literal"))?;
            return Ok(Value::Float(if negative { -number } else { number }));
        }
        self.whole(&digits, radix, negative)
    }

    fn whole(&self, digits: &str, radix: u32, negative: bool) -> Result<Value<'a>, Unreadable> {
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Err(self.bad("invalid decimal literal"));
        }
        if radix == 10
            && digits.len() > 1
            && digits.starts_with('0')
            && digits.bytes().any(|digit| digit != b'0')
        {
            return Err(self.bad("leading zeros in decimal integer literals are not permitted"));
        }
        if digits.len() > DIGITS_MAX {
            let why = format!("a whole number has {} digits, {DIGITS_MAX} are taken", digits.len());
            return Err(Unreadable::Value(why));
        }
        let sign = if negative { "-" } else { "" };
        if let Ok(number) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
            return Ok(Value::Int(number));
        }
        if radix == 10 {
            return Ok(Value::Big(format!("{sign}{digits}").into()));
        }
        match u128::from_str_radix(digits, radix) {
            Ok(number) => Ok(Value::Big(format!("{sign}{number}").into())),
            Err(_) => Err(Unreadable::Value("a number of this base has at most 128 bits here".to_owned())),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips white space and comments.
    fn blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => self.at += 1,
                b'#' => {
                    let rest = &self.text.as_bytes()[self.at..];
                    self.at +=
                        rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    fn bad(&self, what: &str) -> Unreadable {
        Unreadable::syntax(what, self.at.min(self.text.len()))
    }
}

/// What Python makes of an octal escape above 255 in bytes.
#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is meant")]
const fn low_byte(code: u32) -> u8 {
    code as u8
}

/// The code points of a text with escapes.
fn unescape(inner: &str, binary: bool, start: usize) -> Result<Vec<u32>, Unreadable> {
    let mut codes = Vec::with_capacity(inner.len());
    let mut chars = inner.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char != '\\' {
            codes.push(char.into());
            continue;
        }
        let Some((_, escape)) = chars.next() else { break };
        let plain = match escape {
            '\n' => continue,
            '\r' => {
                chars.next_if(|(_, next)| *next == '\n');
                continue;
            }
            '\\' | '\'' | '"' => u32::from(escape),
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            '0'..='7' => {
                let mut code = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some((_, digit)) = chars.next_if(|(_, next)| next.is_digit(8)) else { break };
                    code = code * 8 + digit.to_digit(8).unwrap_or(0);
                }
                code
            }
            'x' | 'u' | 'U' if escape == 'x' || !binary => {
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let mut code: u32 = 0;
                for _ in 0..digits {
                    let next = chars.next_if(|(_, next)| next.is_ascii_hexdigit());
                    let digit = next.and_then(|(_, digit)| digit.to_digit(16));
                    let digit = digit.ok_or_else(|| Unreadable::syntax("truncated escape", start + at))?;
                    code = code << 4 | digit;
                }
                if code > u32::from(char::MAX) {
                    return Err(Unreadable::syntax("illegal Unicode character", start + at));
                }
                code
            }
            'N' if !binary => return Err(Unreadable::syntax("named characters are not taken", start + at)),
            other => {
                codes.push('\\'.into());
                other.into()
            }
        };
        codes.push(plain);
    }
    Ok(codes)
}
