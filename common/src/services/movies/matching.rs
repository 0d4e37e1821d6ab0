//! Which films are meant: one rule for what is here, and for what OMDb offers.

use std::cmp::Reverse;

use super::film_key::FilmKey;
use super::title::Title;
use super::year::Year;
use crate::services::matching::{Asked, Class};

/// A film that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By this title.
    pub title: Asked,
    /// Of this year, if it was told.
    pub year: Option<Year>,
}

/// How well a film fits; the best is the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank<'a> {
    class: Reverse<Class>,
    /// Words that it has more.
    extra: usize,
    /// The newest first, and then those of no year.
    year: Reverse<Option<Year>>,
    title: &'a str,
}

impl Rank<'_> {
    /// How well, without the order inside.
    pub const fn class(&self) -> Class {
        self.class.0
    }
}

impl Wanted {
    /// The film that is called so.
    pub fn new(title: &Title) -> Self {
        Self { title: Asked::of(&title.title), year: title.year }
    }

    /// The same title, of whatever year.
    #[must_use]
    pub fn of_any_year(&self) -> Self {
        Self { title: self.title.clone(), year: None }
    }

    /// How well a film fits, whose other names are given as they are compared; by the best of its names.
    pub fn rank<'a>(&self, key: &'a FilmKey, aliases: &[impl AsRef<str>]) -> Option<Rank<'a>> {
        if self.year.is_some() && self.year != key.year() {
            return None;
        }
        let as_title = self.title.class(key.title()).map(|class| (class, key.title()));
        let as_alias = aliases.iter().filter_map(|alias| {
            let class = self.title.class(alias.as_ref())?;
            Some((if class > Class::Alias { Class::Alias } else { class }, alias.as_ref()))
        });
        let ranked = as_title.into_iter().chain(as_alias).map(|(class, name)| Rank {
            class: Reverse(class),
            extra: self.title.extra(name),
            year: Reverse(key.year()),
            title: key.title(),
        });
        ranked.min()
    }
}
