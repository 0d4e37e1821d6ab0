//! Telephone numbers as people write them.

use common::services::phone::Phone;

/// Longer than any number with all its blanks, hyphens and brackets.
const CHARS_MAX: usize = 32;

/// Reads a British number with its leading 0, or any number with `+` or `00` and its country's code. Blanks, dots,
/// hyphens, slashes and brackets may stand between; letters may not.
///
/// Written by hand: E.164 has no more to it than a length (ITU-T E.164, §6.2.1), and the numbering plan of one
/// country is all that a missing `+` asks for. The crate for it carries the plans of 240 as data.
pub(super) fn parse(text: &str) -> Option<Phone> {
    if text.chars().nth(CHARS_MAX).is_some() {
        return None;
    }
    let text = text.trim();
    let (plus, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
    // The trunk 0 that is written for callers at home is not dialled from abroad: +44 (0)20 …
    let rest = if plus || text.starts_with("00") { rest.replacen("(0)", "", 1) } else { rest.to_owned() };
    let mut digits = String::new();
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '\u{a0}' | '-' | '\u{2010}'..='\u{2013}' | '.' | '/' | '(' | ')' => {}
            _ => return None,
        }
    }
    let international = match (plus, digits.strip_prefix("00"), digits.strip_prefix('0')) {
        (true, ..) => digits,
        (false, Some(abroad), _) => abroad.to_owned(),
        (false, None, Some(home)) => format!("44{home}"),
        (false, None, None) => return None,
    };
    if international.strip_prefix("44").is_some_and(|national| !is_british(national)) {
        return None;
    }
    Phone::try_from(format!("+{international}")).ok()
}

/// A British number without its 0: nine or ten digits, seven for two old helplines (0800 1111, 0845 46 47), the
/// first of an assigned range (Ofcom, *The National Telephone Numbering Plan*, part A).
fn is_british(national: &str) -> bool {
    matches!(national.len(), 7 | 9 | 10) && !national.starts_with(['0', '4', '6'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn british_and_international_forms_become_one() {
        let london = "+442079460018";
        for (text, stored) in [
            ("020 7946 0018", london),
            ("(020) 7946-0018", london),
            ("+44 20 7946 0018", london),
            ("+44 (0)20 7946 0018", london),
            ("0044 20 7946 0018", london),
            ("0191 334 1000", "+441913341000"),
            ("07700 900123", "+447700900123"),
            ("01204 52 4949", "+441204524949"),
            ("016977 3555", "+44169773555"),
            ("+49 30 901820", "+4930901820"),
            ("001 212-555-0100", "+12125550100"),
            (" +39 06 6982 ", "+39066982"),
        ] {
            assert_eq!(parse(text).map(String::from).as_deref(), Some(stored), "{text}");
        }
    }

    #[test]
    fn letters_and_numbers_that_cannot_be_are_refused() {
        for text in [
            "",
            "+",
            "0",
            "12abc",
            "020 7946 0018 x12",
            "0800 FLOWERS",
            "7946 0018",
            "020 7946",
            "020 7946 00189",
            "0044 20 7946",
            "0 0 0 0 0 0 0 0 0 0",
            "++442079460018",
            "+44+2079460018",
            "+0 20 7946 0018",
            "+1234567890123456",
            "０２０７９４６００１８",
            "020 7946 0018\n020 7946 0019 020 7946 0020",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
