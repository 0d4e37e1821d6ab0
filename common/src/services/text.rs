//! What text a service takes: services.md's rules, as fixed ranges, so that no Unicode table decides a state.
//!
//! The client normalises to NFC before it sends; a service compares bytes.

use serde::{Deserialize, Serialize};

/// Whether a text may go over several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Names, addresses.
    One,
    /// Descriptions.
    Many,
}

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum BadText {
    /// Nothing but blanks.
    #[error("Don't leave it blank!")]
    Blank,
    /// Over the bound.
    #[error("at most {max} characters, please.")]
    TooLong {
        /// The bound, in Unicode scalar values after trimming.
        max: u32,
    },
    /// A control, bidirectional, zero-width or private character.
    #[error("U+{:04X} cannot be shown to others; use letters, digits, signs and emoji.", u32::from(*.found))]
    Character {
        /// It.
        found: char,
    },
}

/// The text without blanks around it, when it has 1 to `max` characters that anybody may be shown.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(text: &str, max: u32, lines: Lines) -> Result<&str, BadText> {
    let text = text.trim_matches(is_blank);
    if text.is_empty() {
        return Err(BadText::Blank);
    }
    if text.chars().nth(max as usize).is_some() {
        return Err(BadText::TooLong { max });
    }
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(found) = chars.next() {
        let joins =
            found == JOINER && before.is_some_and(is_emoji) && chars.peek().copied().is_some_and(is_emoji);
        let breaks = found == '\n' && lines == Lines::Many;
        if is_refused(found) && !joins && !breaks {
            return Err(BadText::Character { found });
        }
        before = Some(found);
    }
    Ok(text)
}

/// Makes one picture of two, as in families and flags; elsewhere it only makes two equal texts differ.
const JOINER: char = '\u{200D}';

/// Unicode's property `White_Space`, which is stable.
const fn is_blank(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{2028}' | '\u{2029}'
        | '\u{202F}' | '\u{205F}' | '\u{3000}')
}

const fn is_refused(c: char) -> bool {
    let control = matches!(c, '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}');
    let bidirectional =
        matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let zero_width = matches!(c, '\u{180E}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}');
    let private =
        matches!(c, '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}');
    control || bidirectional || zero_width || private
}

/// The blocks that hold emoji, and the selector that turns a sign into one.
const fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{23FF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}' | '\u{FE0F}' | '\u{1F000}'..='\u{1FAFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_line(text: &str) -> Result<&str, BadText> {
        check(text, 8, Lines::One)
    }

    #[test]
    fn a_text_is_trimmed_and_otherwise_given_back_unchanged() {
        for (given, kept) in [
            (" ann\t", "ann"),
            ("a, \"b'_>", "a, \"b'_>"),
            (";|$(x)", ";|$(x)"),
            ("\u{3000}Żółć\u{A0}", "Żółć"),
            ("👩\u{200D}👩\u{200D}👧", "👩\u{200D}👩\u{200D}👧"),
        ] {
            assert_eq!(one_line(given), Ok(kept));
        }
        assert_eq!(one_line("🏳\u{FE0F}\u{200D}🌈"), Ok("🏳\u{FE0F}\u{200D}🌈"));
    }

    #[test]
    fn lengths_are_counted_in_characters_after_trimming() {
        assert_eq!(one_line(" 12345678 "), Ok("12345678"));
        assert_eq!(one_line("éééééééé"), Ok("éééééééé"));
        assert_eq!(one_line("123456789"), Err(BadText::TooLong { max: 8 }));
        assert_eq!(one_line(" \u{2003} "), Err(BadText::Blank));
        assert_eq!(one_line(""), Err(BadText::Blank));
    }

    #[test]
    fn characters_that_hide_or_turn_a_text_are_refused() {
        for found in [
            '\0',
            '\u{1B}',
            '\u{7F}',
            '\u{9B}',
            '\u{61C}',
            '\u{202E}',
            '\u{2066}',
            '\u{200B}',
            '\u{200C}',
            '\u{FEFF}',
            '\u{E000}',
            '\u{10FFFD}',
        ] {
            assert_eq!(one_line(&format!("a{found}b")), Err(BadText::Character { found }), "{found:?}");
        }
        assert_eq!(one_line("a\u{200D}b"), Err(BadText::Character { found: JOINER }));
        assert_eq!(one_line("👩\u{200D}"), Err(BadText::Character { found: JOINER }));
    }

    #[test]
    fn only_a_description_may_hold_a_new_line() {
        assert_eq!(check("a\nb", 8, Lines::Many), Ok("a\nb"));
        assert_eq!(one_line("a\nb"), Err(BadText::Character { found: '\n' }));
        assert_eq!(check("a\r\nb", 8, Lines::Many), Err(BadText::Character { found: '\r' }));
    }

    #[test]
    fn the_sentence_says_what_would_be_right() {
        assert_eq!(BadText::Blank.to_string(), "Don't leave it blank!");
        assert_eq!(BadText::TooLong { max: 40 }.to_string(), "at most 40 characters, please.");
        let found = '\u{202E}';
        assert_eq!(
            BadText::Character { found }.to_string(),
            "U+202E cannot be shown to others; use letters, digits, signs and emoji."
        );
    }
}
