//! British postcodes: their grammar, and the areas they lie in. Whether one is in use is for others to say.

mod areas;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use areas::AREAS;

/// A postcode of the right form, in an area that exists, in capitals with one blank: `DH1 3LE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Postcode {
    /// ASCII; zeros at the end.
    text: [u8; Postcode::BYTES],
}

/// Why a text is no [`Postcode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPostcode {
    /// More than [`INPUT_CHARS_MAX`] characters.
    #[error("a postcode is shorter")]
    TooLong,
    /// Not five to seven letters and digits.
    #[error("a postcode has five to seven letters and digits")]
    Length,
    /// Letters and digits are not where they can be.
    #[error("a postcode looks like DH1 3LE")]
    Form,
    /// No such area, or none with addresses.
    #[error("we do not deliver there")]
    Area,
}

/// No way of writing a postcode is longer.
pub const INPUT_CHARS_MAX: usize = 16;

impl Postcode {
    /// Four of the outward code, a blank, three of the inward one.
    const BYTES: usize = 8;

    /// As text.
    pub fn as_str(&self) -> &str {
        let end = self.text.iter().position(|&byte| byte == 0).unwrap_or(Self::BYTES);
        std::str::from_utf8(&self.text[..end]).expect("only ASCII letters, digits and a blank are put in")
    }

    /// The part before the blank: `DH1`.
    pub fn outcode(&self) -> &str {
        let text = self.as_str();
        &text[..text.len() - 4]
    }

    /// The letters at the start: `DH`.
    pub fn area(&self) -> &str {
        area_of(self.as_str())
    }

    /// What the area is called: `Durham`.
    pub fn area_name(&self) -> &'static str {
        area_name(self.area()).expect("a postcode outside the table cannot be made")
    }

    /// The user code of somebody who gave only a postcode: `dh13le`.
    pub fn user_code(&self) -> String {
        self.as_str().to_ascii_lowercase().replace(' ', "")
    }

    /// The one postcode that `text` would be with O and 0, I and 1 taken for each other; only ever offered, never
    /// taken silently.
    pub fn suggestion(text: &str) -> Option<Self> {
        let clean = clean(text).ok()?;
        let places: Vec<usize> = (0..clean.len()).filter(|&at| swapped(clean[at]).is_some()).collect();
        // At most 2^7 of them; only fewer mistakes come before more.
        let mut meant: Vec<(u32, Self)> = Vec::new();
        for mask in 1_u32..1 << places.len() {
            let mut other = clean.clone();
            for (bit, &at) in places.iter().enumerate() {
                if mask >> bit & 1 == 1 {
                    other[at] = swapped(other[at]).unwrap_or(other[at]);
                }
            }
            if let Ok(postcode) = Self::of_clean(&other) {
                meant.push((mask.count_ones(), postcode));
            }
        }
        meant.into_iter().min_by_key(|(swaps, postcode)| (*swaps, *postcode)).map(|(_, postcode)| postcode)
    }

    fn of_clean(clean: &[u8]) -> Result<Self, BadPostcode> {
        if !(5..=7).contains(&clean.len()) {
            return Err(BadPostcode::Length);
        }
        let (outward, inward) = clean.split_at(clean.len() - 3);
        if !is_outward(outward) || !is_inward(inward) {
            return Err(BadPostcode::Form);
        }
        let mut text = [0; Self::BYTES];
        text[..outward.len()].copy_from_slice(outward);
        text[outward.len()] = b' ';
        text[outward.len() + 1..=clean.len()].copy_from_slice(inward);
        let postcode = Self { text };
        area_name(postcode.area()).map(|_| postcode).ok_or(BadPostcode::Area)
    }
}

/// Capitals and digits only.
fn clean(text: &str) -> Result<Vec<u8>, BadPostcode> {
    if text.chars().nth(INPUT_CHARS_MAX).is_some() {
        return Err(BadPostcode::TooLong);
    }
    Ok(text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect())
}

const fn swapped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'O' => b'0',
        b'0' => b'O',
        b'I' => b'1',
        b'1' => b'I',
        _ => return None,
    })
}

fn area_of(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_uppercase).count()]
}

fn area_name(area: &str) -> Option<&'static str> {
    AREAS.binary_search_by_key(&area, |(area, _)| area).ok().map(|at| AREAS[at].1)
}

/// `A9 A99 AA9 AA99 A9A AA9A`, with the letters that occur in each place.
fn is_outward(code: &[u8]) -> bool {
    let first = |c: u8| matches!(c, b'A'..=b'P' | b'R'..=b'U' | b'W' | b'Y' | b'Z');
    let second = |c: u8| matches!(c, b'A'..=b'H' | b'K'..=b'Y');
    let third = |c: u8| matches!(c, b'A'..=b'H' | b'J' | b'K' | b'P' | b'S'..=b'U' | b'W');
    let fourth = |c: u8| matches!(c, b'A' | b'B' | b'E' | b'H' | b'M' | b'N' | b'P' | b'R' | b'V'..=b'Y');
    let digit = |c: u8| c.is_ascii_digit();
    match *code {
        [a, b] => first(a) && digit(b),
        [a, b, c] => first(a) && ((digit(b) && (digit(c) || third(c))) || (second(b) && digit(c))),
        [a, b, c, d] => first(a) && second(b) && digit(c) && (digit(d) || fourth(d)),
        _ => false,
    }
}

/// `9AA`, without the letters that are too like others.
fn is_inward(code: &[u8]) -> bool {
    let letter =
        |c: u8| matches!(c, b'A' | b'B' | b'D'..=b'H' | b'J' | b'L' | b'N' | b'P'..=b'U' | b'W'..=b'Z');
    matches!(*code, [a, b, c] if a.is_ascii_digit() && letter(b) && letter(c))
}

impl FromStr for Postcode {
    type Err = BadPostcode;

    /// Reads capitals and small letters, with blanks and signs wherever they stand: ` dh1-3le. ` is `DH1 3LE`.
    fn from_str(text: &str) -> Result<Self, BadPostcode> {
        Self::of_clean(&clean(text)?)
    }
}

impl TryFrom<String> for Postcode {
    type Error = BadPostcode;

    fn try_from(text: String) -> Result<Self, BadPostcode> {
        text.parse()
    }
}

impl From<Postcode> for String {
    fn from(postcode: Postcode) -> Self {
        postcode.as_str().into()
    }
}

impl fmt::Display for Postcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Postcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
