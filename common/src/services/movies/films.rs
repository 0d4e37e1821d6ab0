//! The films, and how they are found.
//!
//! A film is never removed and its key never changes, so films are numbered as they come, and the index, which is
//! made of them, only grows. What is found does not depend on the numbers: two replicas that count differently,
//! because one was restored, answer alike.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::film_key::FilmKey;
use super::matching::{Rank, Wanted};
use super::movie::Movie;
use crate::services::matching::{self, Class};

/// Which film, in the order they came.
type Number = u32;

/// All films.
#[derive(Clone, Debug, Default)]
pub(super) struct Films {
    arrived: Vec<Film>,
    by_key: BTreeMap<FilmKey, Number>,
    /// By each of their names without article and blanks.
    by_bare_name: Index,
    /// By each word of their names.
    by_word: Index,
}

type Index = BTreeMap<Box<str>, Vec<Number>>;

#[derive(Clone, Debug)]
struct Film {
    movie: Movie,
    key: FilmKey,
    /// As they are compared.
    aliases: Vec<Box<str>>,
}

/// The films that fit, best first.
#[derive(Debug)]
pub(super) struct Ranking<'a> {
    /// At most as many as were wanted.
    pub(super) films: Vec<(&'a Movie, Class)>,
    /// How many fit as well as the first, in all.
    pub(super) as_good: u32,
}

impl PartialEq for Films {
    fn eq(&self, other: &Self) -> bool {
        self.all().eq(other.all())
    }
}

impl Eq for Films {}

impl Films {
    pub(super) fn len(&self) -> usize {
        self.arrived.len()
    }

    pub(super) fn get(&self, key: &FilmKey) -> Option<&Movie> {
        self.by_key.get(key).map(|&number| &self.film(number).movie)
    }

    /// By key.
    pub(super) fn all(&self) -> impl Iterator<Item = &Movie> {
        self.by_key.values().map(|&number| &self.film(number).movie)
    }

    /// By key, those past `after` whose key's title begins so.
    pub(super) fn from<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a FilmKey>,
    ) -> impl Iterator<Item = &'a Movie> {
        let first = FilmKey::first(prefix);
        let begin = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        let range = self.by_key.range((begin, Bound::Unbounded));
        let within = range.take_while(move |(key, _)| key.title().starts_with(prefix));
        within.map(|(_, &number)| &self.film(number).movie)
    }

    /// Those of this title, of whatever year.
    pub(super) fn titled<'a>(&'a self, title: &'a str) -> impl Iterator<Item = &'a Movie> {
        let range = self.by_key.range(FilmKey::first(title)..);
        range.take_while(move |(key, _)| key.title() == title).map(|(_, &number)| &self.film(number).movie)
    }

    /// Adds a film whose key is new.
    pub(super) fn insert(&mut self, movie: Movie) {
        let number = Number::try_from(self.arrived.len()).expect("a bound of the service is far below");
        let key = movie.key();
        let before = self.by_key.insert(key.clone(), number);
        assert!(before.is_none(), "{key:?} was there before");
        self.index(number, key.title());
        self.arrived.push(Film { movie, key, aliases: Vec::new() });
        self.index_aliases(number);
    }

    /// Changes a film that is there; its title and year stay.
    pub(super) fn change<T>(&mut self, key: &FilmKey, change: impl FnOnce(&mut Movie) -> T) -> Option<T> {
        let number = *self.by_key.get(key)?;
        let done = change(&mut self.film_mut(number).movie);
        self.index_aliases(number);
        Some(done)
    }

    /// The films that fit, best first, at most `most`; those that fit by letters only when no other does.
    pub(super) fn ranked(&self, wanted: &Wanted, most: usize) -> Ranking<'_> {
        let ranking = self.best_of(&self.with_words(wanted), wanted, Class::Words, most);
        if ranking.films.is_empty() {
            return self.best_of(&self.with_nearly(wanted), wanted, Class::Letters, most);
        }
        ranking
    }

    fn best_of(&self, numbers: &BTreeSet<Number>, wanted: &Wanted, least: Class, most: usize) -> Ranking<'_> {
        let mut best = BTreeSet::new();
        let mut as_good = 0;
        let mut class = None;
        for &number in numbers {
            let film = self.film(number);
            let rank = wanted.rank(&film.key, &film.aliases);
            let Some(rank) = rank.filter(|rank| rank.class() >= least) else { continue };
            if class < Some(rank.class()) {
                (class, as_good) = (Some(rank.class()), 0);
            }
            as_good += u32::from(class == Some(rank.class()));
            best.insert((rank, number));
            if best.len() > most {
                best.pop_last();
            }
        }
        let shown = |(rank, number): (Rank<'_>, Number)| (&self.film(number).movie, rank.class());
        Ranking { films: best.into_iter().map(shown).collect(), as_good }
    }

    /// All that fit better than by letters, and others: those called so but for article and blanks, and those with
    /// the rarest of the words.
    fn with_words(&self, wanted: &Wanted) -> BTreeSet<Number> {
        let called = self.by_bare_name.get(wanted.title.bare());
        let films = wanted.title.words().map(|word| self.by_word.get(word).map_or(&[][..], Vec::as_slice));
        let rarest = films.min_by_key(|films| films.len()).unwrap_or_default();
        called.into_iter().flatten().chain(rarest).copied().collect()
    }

    /// All that fit by letters, and others: those that have, for each of the words, one that is nearly it.
    fn with_nearly(&self, wanted: &Wanted) -> BTreeSet<Number> {
        let mut words: Vec<_> = wanted.title.words().collect();
        // The longest are the rarest, so that little is left to look at.
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        let mut left: Option<BTreeSet<Number>> = None;
        for word in words {
            let near = self.by_word.iter().filter(|(of, _)| matching::is_nearly(word, of));
            let films: BTreeSet<_> = near.flat_map(|(_, films)| films).copied().collect();
            let both = left.map_or_else(|| films.clone(), |left| &left & &films);
            if both.is_empty() {
                return both;
            }
            left = Some(both);
        }
        left.unwrap_or_default()
    }

    /// Makes the film found by what else it is called.
    fn index_aliases(&mut self, number: Number) {
        let film = self.film_mut(number);
        let aliases: Vec<Box<str>> =
            film.movie.aliases.iter().map(|alias| matching::key(alias).into()).collect();
        let known = std::mem::replace(&mut film.aliases, aliases.clone());
        for alias in aliases.iter().filter(|alias| !known.contains(alias)) {
            self.index(number, alias);
        }
    }

    fn index(&mut self, number: Number, name: &str) {
        let add = |index: &mut Index, word: &str| {
            let films = match index.get_mut(word) {
                Some(films) => films,
                None => index.entry(word.into()).or_default(),
            };
            if let Err(at) = films.binary_search(&number) {
                films.insert(at, number);
            }
        };
        add(&mut self.by_bare_name, &matching::bare(name));
        name.split(' ').for_each(|word| add(&mut self.by_word, word));
    }

    fn film(&self, number: Number) -> &Film {
        &self.arrived[number as usize]
    }

    fn film_mut(&mut self, number: Number) -> &mut Film {
        &mut self.arrived[number as usize]
    }
}
