//! Names as people type them: what counts as the same, and what as near.
//!
//! Folding decides keys of the state, so it may not change: `unicode-normalization` is pinned to one version, the
//! compiler (whose tables tell letters and their cases) to another, and a test holds the hash of it over all of
//! Unicode. Another result is a new snapshot format.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The text without marks, case, punctuation and spare blanks, compatible characters made one: equal for two names
/// that a person would call the same.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            '&' => folded.push_str(" and "),
            '\'' | '’' | '‘' | 'ʼ' => {}
            c if is_combining_mark(c) => {}
            c if c.is_alphanumeric() => folded.push(c),
            _ => folded.push(' '),
        }
    }
    folded.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as it is compared: folded, or itself when nothing of it can be (a pizza's picture is a name, too).
pub fn key(name: &str) -> String {
    let folded = fold(name);
    if folded.is_empty() { name.trim().to_owned() } else { folded }
}

/// How well a name fits what was asked for; the best is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Every word is nearly one of the name's, or begins one. Counts only when nothing better is there.
    Letters,
    /// All words are in the name.
    Words,
    /// All words are in the name, in a row.
    Phrase,
    /// The name begins with the words.
    Start,
    /// Another name of the same thing is the same, but for blanks and a leading article.
    Alias,
    /// The same but for blanks and a leading article.
    Article,
    /// The same.
    Exact,
}

impl Class {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Letters => "letters",
            Self::Words => "words",
            Self::Phrase => "phrase",
            Self::Start => "start",
            Self::Alias => "alias",
            Self::Article => "article",
            Self::Exact => "exact",
        }
    }
}

/// What somebody asked for, as names are compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    key: String,
    bare: String,
}

impl Asked {
    /// What `text` asks for.
    pub fn of(text: &str) -> Self {
        let key = key(text);
        Self { bare: bare(&key), key }
    }

    /// Its words, in their order.
    pub fn words(&self) -> impl Iterator<Item = &str> + Clone {
        self.key.split(' ')
    }

    /// It, [`bare`].
    pub fn bare(&self) -> &str {
        &self.bare
    }

    /// How well a name fits, which is given by its [`key`].
    pub fn class(&self, name: &str) -> Option<Class> {
        let (asked, words): (Vec<&str>, Vec<&str>) = (self.words().collect(), name.split(' ').collect());
        if self.key.is_empty() || name.is_empty() {
            None
        } else if self.key == name {
            Some(Class::Exact)
        } else if self.bare == bare(name) {
            Some(Class::Article)
        } else if words.starts_with(&asked) {
            Some(Class::Start)
        } else if words.windows(asked.len()).any(|row| row == asked) {
            Some(Class::Phrase)
        } else if asked.iter().all(|word| words.contains(word)) {
            Some(Class::Words)
        } else if asked.iter().all(|word| words.iter().any(|of| is_nearly(word, of))) {
            Some(Class::Letters)
        } else {
            None
        }
    }

    /// How many words a name has more; a leading article is none.
    pub fn extra(&self, name: &str) -> usize {
        let count = |name| without_article(name).split(' ').count();
        count(name).saturating_sub(count(&self.key))
    }
}

/// The `most` names nearest to what was asked for, best first: by class, then fewest further words, then name.
pub fn near<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let asked = Asked::of(asked);
    let mut found: Vec<_> = names
        .into_iter()
        .filter_map(|name| {
            let key = key(name);
            asked.class(&key).map(|class| (Reverse(class), asked.extra(&key), name))
        })
        .collect();
    found.sort_unstable();
    if found.first().is_some_and(|(class, ..)| class.0 > Class::Letters) {
        found.retain(|(class, ..)| class.0 > Class::Letters);
    }
    found.into_iter().take(most).map(|(_, _, name)| name).collect()
}

/// Whether a folded word is one that names begin with and people leave out.
pub fn is_article(word: &str) -> bool {
    const ARTICLES: [&str; 21] = [
        "the", "a", "an", "le", "la", "les", "l", "el", "los", "las", "un", "une", "der", "die", "das", "il",
        "lo", "gli", "i", "det", "den",
    ];
    ARTICLES.contains(&word)
}

/// A folded name without a leading article, and in one piece: "spider man" is "spiderman", "the matrix" is "matrix".
pub fn bare(name: &str) -> String {
    without_article(name).split(' ').collect()
}

fn without_article(name: &str) -> &str {
    name.split_once(' ').filter(|(first, _)| is_article(first)).map_or(name, |(_, rest)| rest)
}

/// Whether a word begins `of`, or is it but for a slip of the hand: a letter wrong, missing, too many, or two
/// swapped; two slips in a long word.
pub fn is_nearly(word: &str, of: &str) -> bool {
    let letters = word.chars().count();
    let slips = match letters {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    (letters >= 3 && of.starts_with(word))
        // Distances are dear; lengths alone tell most words apart.
        || (slips > 0 && of.chars().count().abs_diff(letters) <= slips && strsim::osa_distance(word, of) <= slips)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn folding_keeps_what_people_mean() {
        for (text, folded) in [
            ("  Fish   Fingers ", "fish fingers"),
            ("JALAPEÑO", "jalapeno"),
            ("Jalapen\u{303}o", "jalapeno"),
            ("Fish & Chips", "fish and chips"),
            ("fish&chips", "fish and chips"),
            ("Shepherd’s pie", "shepherds pie"),
            ("Spider-Man", "spider man"),
            ("Weißbier", "weissbier"),
            ("WALL·E", "wall e"),
            ("Alien³", "alien3"),
            ("Smørrebrød", "smorrebrod"),
            ("ﬁsh", "fish"),
            ("🍕", ""),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn folding_is_fixed_over_all_of_unicode_and_twice_is_once() {
        let mut hash = Sha256::new();
        for c in '\0'..=char::MAX {
            let folded = fold(c.encode_utf8(&mut [0; 4]));
            assert_eq!(fold(&folded), folded, "{c:?}");
            hash.update(folded.as_bytes());
            hash.update([0]);
        }
        assert_eq!(hash.finalize()[..8], 0xe9e6_b5a7_d342_3dfd_u64.to_be_bytes());
    }

    #[test]
    fn each_class_has_its_names() {
        for (query, name, expected) in [
            ("burger", "burger", Some(Class::Exact)),
            ("the burger", "burger", Some(Class::Article)),
            ("hot dog", "hotdog", Some(Class::Article)),
            ("chicken", "chicken wings", Some(Class::Start)),
            ("wings", "chicken wings", Some(Class::Phrase)),
            ("wings chicken", "hot chicken wings", Some(Class::Words)),
            ("chiken wigns", "chicken wings", Some(Class::Letters)),
            ("ham", "hamburger", Some(Class::Letters)),
            ("ha", "hamburger", None),
            ("aple", "apple", Some(Class::Letters)),
            ("app", "ape", None),
            ("hambrugesr", "hamburgers", Some(Class::Letters)),
            ("sushi", "burger", None),
            ("", "burger", None),
        ] {
            assert_eq!(Asked::of(query).class(name), expected, "{query} for {name}");
        }
    }

    #[test]
    fn the_best_class_comes_first_and_letters_only_alone() {
        let menu = ["Fried chicken", "Chicken wings", "Chickpea curry", "Hamburger", "Burger"];
        assert_eq!(near("chicken", menu, 3), ["Chicken wings", "Fried chicken"]);
        assert_eq!(near("chick", menu, 3), ["Chicken wings", "Chickpea curry", "Fried chicken"]);
        assert_eq!(near("burgers", menu, 3), ["Burger"]);
        assert_eq!(near("xyzzy", menu, 3), [""; 0]);
    }
}
