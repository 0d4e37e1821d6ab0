//! Titles as lists and people write them: "City of Lost Children, The (Cité des enfants perdus, La) (1995)".
//!
//! One rule, for what is asked, added, imported and fetched, so that a film is found by whatever it was added as.

use super::year::Year;
use crate::services::matching;

/// A title, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// "The City of Lost Children".
    pub title: String,
    /// What else the film is called: groups in brackets after the title, "La Cité des enfants perdus".
    pub aliases: Vec<String>,
    /// The year in brackets at the end; of a range, the first.
    pub year: Option<Year>,
}

impl Title {
    /// Takes `text` apart. What comes of its title is taken apart no further: the same title again.
    pub fn read(text: &str) -> Self {
        let mut title = text.trim().to_owned();
        let (mut aliases, mut year) = (Vec::new(), None);
        loop {
            if let Some((before, group)) = split_group(&title) {
                match read_year(group) {
                    Some(found) if year.is_none() => year = Some(found),
                    _ => aliases.insert(0, read_alias(group)),
                }
                title = before.to_owned();
            } else if let Some(turned) = turn(&title) {
                title = turned;
            } else {
                aliases.retain(|alias| !alias.is_empty());
                return Self { title, aliases, year };
            }
        }
    }
}

/// What stands before the last brackets, and in them; `None` when the text does not end in any, or is nothing else.
fn split_group(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix(')')?;
    let mut depth = 1;
    let opens = inner.char_indices().rev().find(|&(_, c)| {
        depth += i32::from(c == ')') - i32::from(c == '(');
        depth == 0
    })?;
    let before = inner[..opens.0].trim_end();
    (!before.is_empty()).then_some((before, inner[opens.0 + 1..].trim()))
}

/// "1995", "2006–2007", "2011-": the first year.
fn read_year(text: &str) -> Option<Year> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, rest) = text.split_at_checked(4)?;
    let until = rest.strip_prefix(['-', '–']);
    let ends = rest.is_empty() || until.is_some_and(|until| matches!(until.len(), 0 | 4) && digits(until));
    if ends && digits(first) { Year::new(first.parse().ok()?) } else { None }
}

/// "a.k.a. Se7en": Se7en.
fn read_alias(group: &str) -> String {
    let known_as = ["a.k.a.", "a.k.a", "aka "]
        .into_iter()
        .find(|mark| group.get(..mark.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(mark)));
    let alias = known_as.map_or(group, |mark| group[mark.len()..].trim_start());
    turn(alias).unwrap_or_else(|| alias.to_owned())
}

/// "Matrix, The": The Matrix. `None` when nothing is to turn, or an article stands in front already.
fn turn(text: &str) -> Option<String> {
    const APOSTROPHES: [char; 2] = ['\'', '’'];
    let is_article = |word: &str| matching::is_article(&word.to_lowercase());
    let (rest, last) = text.rsplit_once(',')?;
    let (rest, last) = (rest.trim(), last.trim());
    let first = rest.split([' ', APOSTROPHES[0], APOSTROPHES[1]]).next().unwrap_or_default();
    if rest.is_empty() || is_article(first) || !is_article(last.trim_end_matches(APOSTROPHES)) {
        return None;
    }
    let blank = if last.ends_with(APOSTROPHES) { "" } else { " " };
    Some(format!("{last}{blank}{rest}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_title_is_taken_apart() {
        for (text, title, aliases, year) in [
            ("Toy Story (1995)", "Toy Story", &[][..], 1995),
            ("Matrix, The (1999) ", "The Matrix", &[], 1999),
            ("Matrix, The", "The Matrix", &[], 0),
            ("Avventura, L' (Adventure, The) (1960)", "L'Avventura", &["The Adventure"], 1960),
            ("Seven (a.k.a. Se7en) (1995)", "Seven", &["Se7en"], 1995),
            (
                "Léon: The Professional (a.k.a. The Professional) (Léon) (1994)",
                "Léon: The Professional",
                &["The Professional", "Léon"],
                1994,
            ),
            ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", &[], 2006),
            ("Still Running (2019–)", "Still Running", &[], 2019),
            ("Babylon 5", "Babylon 5", &[], 0),
            ("(500) Days of Summer (2009)", "(500) Days of Summer", &[], 2009),
            ("Evangelion: 3.0 You Can (Not) Redo (2012)", "Evangelion: 3.0 You Can (Not) Redo", &[], 2012),
            ("I Love You, I Love You Not (1996)", "I Love You, I Love You Not", &[], 1996),
            (
                "Vitelloni, I (a.k.a. Young and the Passionate, The) (1953)",
                "I Vitelloni",
                &["The Young and the Passionate"],
                1953,
            ),
            ("The Good, the Bad and the Ugly", "The Good, the Bad and the Ugly", &[], 0),
            ("Oh, là", "Oh, là", &[], 0),
            ("Monsters, Inc.", "Monsters, Inc.", &[], 0),
            ("Odd (1990) (1995)", "Odd", &["1990"], 1995),
            ("Odd (1995) (TV)", "Odd", &["TV"], 1995),
            ("Odd (0042)", "Odd", &["0042"], 0),
            ("Odd ((twice))", "Odd", &["(twice)"], 0),
            ("Odd () (1995)", "Odd", &[], 1995),
            ("Odd (1995), The", "The Odd", &[], 1995),
            ("(1995)", "(1995)", &[], 0),
            (", The", ", The", &[], 0),
            ("a) b)", "a) b)", &[], 0),
            ("", "", &[], 0),
        ] {
            let expected = Title {
                title: title.into(),
                aliases: aliases.iter().map(|&alias| alias.into()).collect(),
                year: Year::new(year),
            };
            assert_eq!(Title::read(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_title_that_was_read_is_read_as_itself(text in "[a, ('1995)–]{0,14}|(The |Ring|, The|, A| \\(199[0-9]\\)| \\(x\\)){0,6}|.{0,20}") {
            let read = Title::read(&text);
            let again = Title::read(&read.title);
            prop_assert_eq!(again, Title { title: read.title, aliases: vec![], year: None });
        }
    }
}
