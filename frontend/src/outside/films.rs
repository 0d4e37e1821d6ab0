//! Films that are not here, or of which too little is known: what of OMDb's is the film that was meant.
//!
//! The group is asked first. Only when its best is no film called so, or one that is incomplete, OMDb is; what it
//! offers is ranked by the same rule as what is here, and must fit *better* than anything here does, so that "The
//! Ring" never becomes "The Lord of the Rings". What is taken becomes a command, and so is on every replica; whoever
//! asks for the same at the same time waits for the same call. It goes on when nobody waits any more.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::services::matching::{self, Class};
use common::services::movies::bounds::{CANDIDATES_MAX, NEAR_MAX};
use common::services::movies::command::NewMovie;
use common::services::movies::matching::Wanted;
use common::services::movies::movie::Source;
use common::services::movies::query::{Found, How, Near, Omdb as Part, Places};
use common::services::movies::refusal::Unasked;
use common::services::movies::{Answer, FilmKey, ImdbId, Query, Refusal, Title, Year};
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::cache::Cache;
use super::omdb::{self, Entry, Omdb, Said};
use super::web::Web;
use crate::meters;

/// Three calls; nobody wants to wait longer for a film.
const CALLS_TIME: Duration = Duration::from_secs(4);
/// A film that OMDb does not know today it may know in an hour.
const ABSENT_FOR: Duration = Duration::from_hours(1);
/// What OMDb does not know of a film it will hardly know tomorrow.
const INCOMPLETE_FOR: Duration = Duration::from_hours(24);

/// Finds films at OMDb.
#[derive(Debug)]
pub struct Films<W> {
    clock: Clock,
    omdb: Option<Rc<Omdb<W>>>,
    /// What was asked for in vain, and what was nearest to it.
    vain: Rc<RefCell<Cache<Need, Vec<Near>>>>,
    under_way: RefCell<BTreeMap<Need, watch::Receiver<Progress>>>,
}

/// What is wanted of OMDb.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The title that is meant.
    title: String,
    year: Option<Year>,
    /// Its number, when it is known.
    imdb: Option<ImdbId>,
    /// How well a film has to fit, at least.
    least: Class,
    /// Whether the film is here, and only to be completed.
    completes: bool,
}

/// How far a question to OMDb has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is being asked.
    Asking,
    /// It knows the film, which is being stored.
    Storing(NewMovie),
    /// It knew the film, and that is stored, or could not be.
    Taken {
        /// As it told it.
        record: NewMovie,
        /// Whether it is stored.
        stored: bool,
    },
    /// It does not know one film that was meant.
    Absent {
        /// Films of it that fit less, best first.
        near: Vec<Near>,
    },
    /// Several films of it fit as well.
    Several(Vec<Near>),
    /// It could not be asked, or did not answer.
    Unasked(Unasked),
}

impl Need {
    /// What is wanted of OMDb, after the group's own answer to a question; `None`: nothing.
    pub fn of(query: &Query, here: &Answer) -> Option<Self> {
        let Query::Find { text, year, how, places: Places::OmdbToo } = query else { return None };
        let least = match how {
            How::Reading => Class::Start,
            How::Naming => Class::Alias,
        };
        let mut title = Title::read(text);
        title.year = year.and_then(Year::new).or(title.year);
        let Title { title, year, .. } = title;
        let of_class = |least| Some(Self { title, year, imdb: None, least, completes: false });
        match here {
            Answer::Found(found) if found.class >= Class::Alias => {
                let Found { movie, .. } = &**found;
                let incomplete = !movie.is_complete();
                incomplete.then(|| Self {
                    title: movie.title.clone(),
                    year: movie.year,
                    imdb: movie.imdb,
                    least: Class::Alias,
                    completes: true,
                })
            }
            // What is here goes before what fits no better.
            Answer::Found(_) => of_class(Class::Alias),
            Answer::Refused(Refusal::MovieUnknown { .. }) => of_class(least),
            Answer::Refused(Refusal::MovieAmbiguous { candidates, .. })
                if candidates.first().is_some_and(|film| film.class < Class::Alias) =>
            {
                of_class(Class::Alias)
            }
            _ => None,
        }
    }

    fn wanted(&self) -> Wanted {
        Wanted::new(&Title { title: self.title.clone(), aliases: vec![], year: self.year })
    }

    /// How well a film fits.
    fn class(&self, title: &str, year: Option<Year>) -> Option<Class> {
        let Title { title, aliases, .. } = Title::read(title);
        let aliases: Vec<String> = aliases.iter().map(|alias| matching::key(alias)).collect();
        self.wanted().rank(&FilmKey::of(&title, year), &aliases).map(|rank| rank.class())
    }

    /// The film as it is to be stored, when it is the one that is meant.
    fn taken(&self, mut record: NewMovie) -> Option<NewMovie> {
        let class = self.class(&record.title, record.year.and_then(Year::new));
        class.filter(|class| *class >= self.least)?;
        record.read(Source::Omdb, None).ok()?;
        if self.completes {
            // Under the name that it has here.
            record.title.clone_from(&self.title);
            record.year = self.year.map(u16::from);
        }
        Some(record)
    }
}

impl<W: Web + 'static> Films<W> {
    /// Asks `omdb`; without it nobody.
    pub fn new(omdb: Option<Omdb<W>>) -> Self {
        let omdb = omdb.map(Rc::new);
        Self { clock: Clock::start(), omdb, vain: Rc::default(), under_way: RefCell::default() }
    }

    /// Whether there is somebody to ask.
    pub const fn can_ask(&self) -> bool {
        self.omdb.is_some()
    }

    /// Asks for what is needed, and has `store` store what is found; what is known of it after `time`.
    pub async fn look_up(
        &self,
        need: Need,
        time: Duration,
        store: impl AsyncFnOnce(NewMovie) -> bool + 'static,
    ) -> Progress {
        let now = self.clock.now();
        let Some(omdb) = &self.omdb else { return Progress::Unasked(Unasked::NoKey) };
        if let Some(near) = self.vain.borrow().get(now, &need) {
            meters::answered_from_memory(omdb::NAME, 1);
            return Progress::Absent { near: near.clone() };
        }
        let mut told = self.told(omdb, need, store);
        let over = told.wait_for(|progress| !matches!(progress, Progress::Asking | Progress::Storing(_)));
        // Out of time: what is known by now is what there is to say.
        let _ = timeout_at(self.clock.instant(now + time), over).await;
        let progress = told.borrow().clone();
        match progress {
            Progress::Asking => Progress::Unasked(Unasked::Unavailable),
            Progress::Storing(record) => Progress::Taken { record, stored: false },
            over => over,
        }
    }

    /// Where the progress of a question is told: of one that is under way, or else of a new one.
    fn told(
        &self,
        omdb: &Rc<Omdb<W>>,
        need: Need,
        store: impl AsyncFnOnce(NewMovie) -> bool + 'static,
    ) -> watch::Receiver<Progress> {
        let mut under_way = self.under_way.borrow_mut();
        // Whoever tells no more is at the end.
        under_way.retain(|_, told| told.has_changed().is_ok());
        if let Some(told) = under_way.get(&need) {
            meters::answered_from_memory(omdb::NAME, 1);
            return told.clone();
        }
        let (tell, told) = watch::channel(Progress::Asking);
        under_way.insert(need.clone(), told.clone());
        let (omdb, clock, vain) = (Rc::clone(omdb), self.clock, Rc::clone(&self.vain));
        tokio::task::spawn_local(async move {
            let found = ask(&omdb, &need, clock.now() + CALLS_TIME).await;
            if let Some((time, near)) = in_vain(&need, &found) {
                vain.borrow_mut().put(clock.now(), time, need, near);
            }
            if let Progress::Storing(record) = &found {
                tell.send_replace(found.clone());
                let stored = store(record.clone()).await;
                tell.send_replace(Progress::Taken { record: record.clone(), stored });
            } else {
                tell.send_replace(found);
            }
        });
        told
    }
}

/// For how long it need not be asked again, and what was nearest.
fn in_vain(need: &Need, found: &Progress) -> Option<(Duration, Vec<Near>)> {
    match found {
        Progress::Absent { near } => Some((ABSENT_FOR, near.clone())),
        Progress::Storing(record) if need.completes => {
            let complete = !record.url.is_empty() && !record.description.is_empty();
            (!complete).then(|| (INCOMPLETE_FOR, vec![]))
        }
        _ => None,
    }
}

/// At most three calls: the film of the number; or of the title; or, when that is another one, the best of those whose
/// titles hold the words.
async fn ask<W: Web>(omdb: &Omdb<W>, need: &Need, until: Moment) -> Progress {
    const UNAVAILABLE: Progress = Progress::Unasked(Unasked::Unavailable);
    let none = || Progress::Absent { near: vec![] };
    let take = |record| need.taken(record).map(Progress::Storing);
    if let Some(id) = need.imdb {
        return match omdb.by_number(id, until).await {
            None => UNAVAILABLE,
            Some(Said::Absent) => none(),
            Some(Said::That(record)) => take(record).unwrap_or_else(none),
        };
    }
    match omdb.by_title(&need.title, need.year, until).await {
        None => return UNAVAILABLE,
        Some(Said::Absent) => {}
        Some(Said::That(record)) => {
            let class = need.class(&record.title, record.year.and_then(Year::new));
            if class >= Some(Class::Alias)
                && let Some(taken) = take(record)
            {
                return taken;
            }
        }
    }
    match omdb.search(&need.title, need.year, until).await {
        None => UNAVAILABLE,
        Some(Said::Absent) => none(),
        Some(Said::That(entries)) => match best(need, &entries) {
            Best::One(id) => match omdb.by_number(id, until).await {
                None => UNAVAILABLE,
                Some(Said::Absent) => none(),
                Some(Said::That(record)) => take(record).unwrap_or_else(none),
            },
            Best::Several(films) => Progress::Several(films),
            Best::None { near } => Progress::Absent { near },
        },
    }
}

/// Which film of a page of titles is meant.
enum Best {
    One(ImdbId),
    Several(Vec<Near>),
    None { near: Vec<Near> },
}

fn best(need: &Need, entries: &[Entry]) -> Best {
    let wanted = need.wanted();
    let keys: Vec<FilmKey> = entries.iter().map(|film| FilmKey::of(&film.title, film.year)).collect();
    let ranked = keys.iter().zip(entries).filter_map(|(key, film)| Some((wanted.rank(key, &[""; 0])?, film)));
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    let near = |most: usize| {
        let near = ranked.iter().take(most).map(|(rank, film)| Near {
            title: film.title.clone(),
            year: film.year,
            class: rank.class(),
        });
        near.collect::<Vec<_>>()
    };
    let class = ranked.first().map(|(rank, _)| rank.class()).filter(|class| *class >= need.least);
    let Some(class) = class else { return Best::None { near: near(NEAR_MAX) } };
    match ranked.iter().take_while(|(rank, _)| rank.class() == class).count() {
        1 => Best::One(ranked[0].1.imdb),
        as_good => Best::Several(near(as_good.min(CANDIDATES_MAX))),
    }
}

/// The answer to a question, of what is known here by now and what OMDb has told.
pub fn answer(need: &Need, here: Answer, told: Progress) -> Answer {
    let (part, near, several) = match told {
        Progress::Taken { record, stored } => {
            return Answer::Found(Box::new(from_omdb(need, here, &record, stored)));
        }
        Progress::Absent { near } => (Part::Absent, near, vec![]),
        Progress::Several(films) => (Part::Absent, vec![], films),
        Progress::Unasked(Unasked::NoKey) => (Part::NoKey, vec![], vec![]),
        Progress::Unasked(Unasked::Unavailable) | Progress::Asking | Progress::Storing(_) => {
            (Part::Unavailable, vec![], vec![])
        }
    };
    let title = || need.title.clone();
    match here {
        Answer::Found(found) => Answer::Found(Box::new(Found { omdb: part, ..*found })),
        Answer::Refused(Refusal::MovieUnknown { near: ours }) => Answer::Refused(match part {
            Part::NoKey => Refusal::MovieUnchecked { title: title(), why: Unasked::NoKey, near: ours },
            Part::Unavailable => {
                Refusal::MovieUnchecked { title: title(), why: Unasked::Unavailable, near: ours }
            }
            _ if several.is_empty() => Refusal::MovieUnknown { near: nearest(ours, near) },
            _ => {
                let count = u32::try_from(several.len()).unwrap_or(u32::MAX);
                Refusal::MovieAmbiguous { title: title(), count, candidates: several }
            }
        }),
        other => other,
    }
}

/// A film that OMDb has told of: as it is here, or as OMDb tells it while it is not stored.
fn from_omdb(need: &Need, here: Answer, record: &NewMovie, stored: bool) -> Found {
    let class = need.class(&record.title, record.year.and_then(Year::new)).unwrap_or(need.least);
    let movie = record.read(Source::Omdb, None).expect("what breaks a rule was not taken");
    match here {
        Answer::Found(found) if found.movie.key() == movie.key() => {
            let mut found = Found { omdb: Part::Asked, stored, ..*found };
            found.movie.fill(movie);
            found
        }
        _ => Found { movie, class, near: vec![], omdb: Part::Asked, stored },
    }
}

/// The nearest films of ours and theirs, ours first where both fit as well.
fn nearest(ours: Vec<Near>, theirs: Vec<Near>) -> Vec<Near> {
    let key = |film: &Near| FilmKey::of(&film.title, film.year);
    let known: Vec<FilmKey> = ours.iter().map(key).collect();
    let theirs = theirs.into_iter().filter(|film| !known.contains(&key(film)));
    let mut all: Vec<Near> = ours.into_iter().chain(theirs).collect();
    // Stable: what fits as well stays in its order.
    all.sort_by_key(|film| Reverse(film.class));
    all.truncate(NEAR_MAX);
    all
}

#[cfg(test)]
mod tests;
