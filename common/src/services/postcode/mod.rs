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
    text: [u8; BYTES],
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

/// Four of the outward code, a blank, three of the inward one.
const BYTES: usize = 8;

/// No way of writing a postcode is longer.
pub const INPUT_CHARS_MAX: usize = 16;

impl Postcode {
    /// As text.
    pub fn as_str(&self) -> &str {
        let end = self.text.iter().position(|&byte| byte == 0).unwrap_or(BYTES);
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
        let mut text = [0; BYTES];
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

    /// Only the form that is shown: what two processes tell each other has one spelling.
    fn try_from(text: String) -> Result<Self, BadPostcode> {
        let postcode: Self = text.parse()?;
        if postcode.as_str() == text { Ok(postcode) } else { Err(BadPostcode::Form) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, BadPostcode> {
        text.parse::<Postcode>().map(|postcode| postcode.to_string())
    }

    #[test]
    fn every_form_is_read_however_it_is_written() {
        for (text, postcode) in [
            ("M1 1AE", "M1 1AE"),
            ("b33 8th", "B33 8TH"),
            ("cr26xh", "CR2 6XH"),
            (" dh1-3le. ", "DH1 3LE"),
            ("DN55 1PT", "DN55 1PT"),
            ("W1A 0AX", "W1A 0AX"),
            ("e c 1 a 1 b b", "EC1A 1BB"),
            ("BT35 8GE", "BT35 8GE"),
            ("GY1 1AA", "GY1 1AA"),
            ("IM1 1AA", "IM1 1AA"),
            ("JE2 3AB", "JE2 3AB"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(postcode), "{text}");
            assert_eq!(read(postcode).as_deref(), Ok(postcode), "what is shown reads back");
        }
    }

    #[test]
    fn a_near_miss_of_each_rule_is_refused() {
        for (text, why) in [
            ("", BadPostcode::Length),
            ("M1 1A", BadPostcode::Length),
            ("DH11 33LE", BadPostcode::Length),
            ("DH1 3LE and so on", BadPostcode::TooLong),
            // First letters: not Q, V, X.
            ("Q1 1AA", BadPostcode::Form),
            ("V1 1AA", BadPostcode::Form),
            ("X1 1AA", BadPostcode::Form),
            ("11 1AA", BadPostcode::Form),
            // Second letters: not I, J, Z.
            ("BI1 1AA", BadPostcode::Form),
            ("BJ1 1AA", BadPostcode::Form),
            ("BZ1 1AA", BadPostcode::Form),
            // A third letter follows one letter and a digit: not I, L, M, …
            ("W1I 0AX", BadPostcode::Form),
            ("W1L 0AX", BadPostcode::Form),
            ("W1Z 0AX", BadPostcode::Form),
            // A fourth letter follows two letters and a digit: not C, D, …
            ("EC1C 1BB", BadPostcode::Form),
            ("EC1Z 1BB", BadPostcode::Form),
            ("ECAA 1BB", BadPostcode::Form),
            // The inward code: a digit and two letters, not C, I, K, M, O, V.
            ("DH1 LLE", BadPostcode::Form),
            ("DH1 3CE", BadPostcode::Form),
            ("DH1 3LI", BadPostcode::Form),
            ("DH1 3KE", BadPostcode::Form),
            ("DH1 3LM", BadPostcode::Form),
            ("DH1 3OE", BadPostcode::Form),
            ("DH1 3LV", BadPostcode::Form),
            ("DH1 31E", BadPostcode::Form),
            // The form is right, and nobody lives there.
            ("MA1 1AA", BadPostcode::Area),
            ("BF1 3AD", BadPostcode::Area),
            ("A1 1AA", BadPostcode::Area),
            ("GIR 0AA", BadPostcode::Form),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_postcode_tells_its_parts_and_its_area() {
        let durham: Postcode = "DH1 3LE".parse().unwrap();
        assert_eq!((durham.outcode(), durham.area(), durham.area_name()), ("DH1", "DH", "Durham"));
        assert_eq!(durham.user_code(), "dh13le");
        let birmingham: Postcode = "B33 8TH".parse().unwrap();
        assert_eq!((birmingham.area(), birmingham.area_name()), ("B", "Birmingham"));
    }

    #[test]
    fn o_for_zero_and_i_for_one_are_offered_never_taken() {
        for (text, meant) in [
            ("DHI 3LE", Some("DH1 3LE")),
            ("DH1 OAB", Some("DH1 0AB")),
            ("SWIA OAA", Some("SW1A 0AA")),
            ("0X1 1AA", Some("OX1 1AA")),
            ("1G1 1AA", Some("IG1 1AA")),
            ("DH 11", None),
            ("QQ1 1AA", None),
            ("DHI 3LE, next to the pub", None),
        ] {
            assert!(read(text).is_err(), "{text}");
            assert_eq!(
                Postcode::suggestion(text).map(|postcode| postcode.to_string()).as_deref(),
                meant,
                "{text}"
            );
        }
    }

    #[test]
    fn the_table_of_areas_is_sorted_and_each_area_can_be_written() {
        assert!(AREAS.is_sorted_by(|(a, _), (b, _)| a < b));
        for (area, name) in AREAS {
            let postcode: Postcode = format!("{area}1 1AA").parse().unwrap();
            assert_eq!((postcode.area(), postcode.area_name()), (area, name));
        }
    }

    #[test]
    fn processes_spell_a_postcode_in_one_way() {
        assert!(Postcode::try_from(String::from("DH1 3LE")).is_ok());
        for text in ["dh1 3le", "DH13LE", " DH1 3LE"] {
            assert_eq!(Postcode::try_from(String::from(text)), Err(BadPostcode::Form));
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_typed_is_refused_or_reads_back(text in ".{0,20}", code in "[A-Z0-9 ]{5,8}") {
            for text in [text, code] {
                let _ = Postcode::suggestion(&text);
                if let Ok(postcode) = text.parse::<Postcode>() {
                    proptest::prop_assert_eq!(postcode.to_string().parse(), Ok(postcode));
                }
            }
        }
    }
}
