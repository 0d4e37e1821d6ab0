//! What is asked of OMDb, when, and what is made of it, against the real database and in virtual time.

use std::cell::Cell;

use common::clock::Timestamp;
use common::replication::{Epoch, LogIndex, LogPoint, RequestId};
use common::services::movies::command::{Facts, Sender};
use common::services::movies::{self, Command, Movies, Reply, Start, start_bytes};
use common::services::{Applied, StateMachine as _};
use futures::future::join_all;
use tokio::task::LocalSet;
use url::Url;

use super::*;
use crate::outside::omdb::Secret;
use crate::outside::scripted::{Says, World};

const LONG: Duration = Duration::from_secs(30);

/// Title, year, number and plot of OMDb's films.
const KNOWN: &[(&str, &str, &str, &str)] = &[
    ("Alien", "1979", "tt0078748", "Not alone."),
    ("Inception", "2010", "tt1375666", "Dreams."),
    ("Brazil", "1985", "tt0088846", "N/A"),
    ("The Lord of the Rings: The Two Towers", "2002", "tt0167261", "Second."),
    ("The Lord of the Rings: The Return of the King", "2003", "tt0167260", "Third."),
    ("Solaris", "1972", "tt0069293", "An ocean."),
    ("Solaris", "2002", "tt0307479", "Again."),
    ("Groundhog Night", "2020", "tt9999999", "Another day."),
];

fn film((title, year, id, plot): &(&str, &str, &str, &str)) -> String {
    format!(
        r#"{{"Title":"{title}","Year":"{year}","imdbID":"{id}","Plot":"{plot}","Type":"movie","Response":"True"}}"#
    )
}

/// OMDb as its page says, over the films above.
fn omdb(url: &Url) -> Says {
    let given =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.to_lowercase());
    assert_eq!(given("apikey").as_deref(), Some("secret"));
    assert_eq!((given("r").as_deref(), given("type").as_deref()), (Some("json"), Some("movie")));
    let known = KNOWN.iter().filter(|known| given("y").is_none_or(|year| known.1 == year));
    let holds = |title: &str, words: &str| words.split(' ').all(|word| title.to_lowercase().contains(word));
    let mut found: Vec<String> = if let Some(id) = given("i") {
        known.filter(|known| known.2 == id).map(film).collect()
    } else if let Some(title) = given("t") {
        known.filter(|known| holds(known.0, &title)).map(film).collect()
    } else {
        let words = given("s").unwrap();
        let found: Vec<_> = known.filter(|known| holds(known.0, &words)).map(film).collect();
        let page = format!(r#"{{"Search":[{}],"Response":"True"}}"#, found.join(","));
        (!found.is_empty()).then_some(page).into_iter().collect()
    };
    let absent = || r#"{"Response":"False","Error":"Movie not found!"}"#.to_owned();
    Says::Page(200, if found.is_empty() { absent() } else { found.swap_remove(0) })
}

const APPLIED: Applied = Applied {
    at: LogPoint { epoch: Epoch(1), index: LogIndex(1) },
    time: Timestamp::from_millis(0),
    request: RequestId::LEAST,
};

/// The database, OMDb, and the door between them.
struct House {
    movies: Rc<RefCell<Movies>>,
    world: World,
    films: Films<World>,
    stored: Rc<Cell<u32>>,
    /// How long it takes to store; `None`: it cannot be done.
    storing: Option<Duration>,
}

impl House {
    fn new(says: impl Fn(&Url) -> Says + 'static) -> Self {
        let movies = Movies::start(Timestamp::default(), &start_bytes(Start::Demo)).unwrap();
        let world = World::new(says);
        let (base, key) = ("https://omdb".parse().unwrap(), Secret::of("secret"));
        let omdb = Omdb::new(Rc::new(world.clone()), base, key, Clock::start());
        Self {
            movies: Rc::new(RefCell::new(movies)),
            world,
            films: Films::new(Some(omdb)),
            stored: Rc::default(),
            storing: Some(Duration::ZERO),
        }
    }

    /// Adds a film of which nothing but the name is known.
    fn add(&self, title: &str) {
        let movie = NewMovie { title: title.into(), ..NewMovie::default() };
        let done = self.movies.borrow_mut().apply(APPLIED, Facts::default(), Command::Add { movie });
        assert!(matches!(done, Reply::Done(_)), "{done:?}");
    }

    /// As a front end finds a film.
    async fn find(&self, text: &str, how: How, time: Duration) -> Answer {
        let query = Query::Find { text: text.into(), year: None, how, places: Places::OmdbToo };
        let here = self.movies.borrow().query(query.clone());
        let Some(need) = Need::of(&query, &here) else { return here };
        let (movies, stored, storing) = (Rc::clone(&self.movies), Rc::clone(&self.stored), self.storing);
        let store = async move |record| {
            let Some(time) = storing else { return false };
            tokio::time::sleep(time).await;
            stored.set(stored.get() + 1);
            let facts = Facts { sender: Sender::Door };
            let reply = movies.borrow_mut().apply(APPLIED, facts, Command::Fill { record });
            matches!(reply, Reply::Done(_))
        };
        let told = self.films.look_up(need.clone(), time, store).await;
        let here = match told {
            Progress::Taken { stored: true, .. } => self.movies.borrow().query(query),
            _ => here,
        };
        answer(&need, here, told)
    }

    /// What comes of a find, in a few words, and what OMDb was asked.
    async fn told(&self, text: &str) -> (String, Vec<String>) {
        let answer = self.find(text, How::Reading, LONG).await;
        let asked = self.world.asked();
        let asked = asked.iter().map(|asked| asked.split("type=movie&").last().unwrap().to_owned());
        (in_words(&answer), asked.collect())
    }
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Found(found) => {
            let Found { movie, class, omdb, stored, .. } = &**found;
            let year = movie.year.map_or(0, u16::from);
            let complete = if movie.is_complete() { "" } else { ", incomplete" };
            let stored = if *stored { "" } else { ", not stored" };
            format!("{} ({year}) {} {}{complete}{stored}", movie.title, class.as_str(), omdb.as_str())
        }
        Answer::Refused(refusal) => {
            let near = match refusal {
                Refusal::MovieUnknown { near } | Refusal::MovieUnchecked { near, .. } => near.as_slice(),
                Refusal::MovieAmbiguous { candidates, .. } => candidates,
                _ => &[],
            };
            let near: Vec<&str> = near.iter().map(|film| film.title.as_str()).collect();
            format!("{} [{}]", refusal.code(), near.join("; ")).replace(" []", "")
        }
        other => panic!("{other:?}"),
    }
}

async fn local<T>(work: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(work).await
}

#[tokio::test(start_paused = true)]
async fn fault_the_ring_is_the_ring_and_each_find_asks_what_it_must() {
    for (text, expected, asked) in [
        // Complete here: nobody is asked.
        ("the ring", "The Ring (2002) exact not_needed", &[][..]),
        ("se7en", "Seven (1995) alias not_needed", &[]),
        ("jane eyre", "movie_ambiguous [Jane Eyre; Jane Eyre]", &[]),
        // Here, and completed: by its number.
        ("alien", "Alien (1979) exact asked", &["i=tt0078748"]),
        // Not here.
        ("inception", "Inception (2010) exact asked", &["t=inception"]),
        ("solaris (1972)", "Solaris (1972) exact asked", &["t=solaris&y=1972"]),
        (
            "return of the king",
            "movie_unknown [The Lord of the Rings: The Return of the King]",
            &["t=return+of+the+king", "s=return+of+the+king"],
        ),
        ("brazil", "Brazil (1985) exact asked", &["t=brazil"]),
        // What begins so here goes before what begins so there; and several that do are none.
        (
            "the lord of the rings",
            "The Lord of the Rings: The Fellowship of the Ring (2001) start absent",
            &["t=the+lord+of+the+rings", "s=the+lord+of+the+rings"],
        ),
        ("groundhog", "Groundhog Day (1993) start absent", &["t=groundhog", "s=groundhog"]),
        ("xyzzy", "movie_unknown", &["t=xyzzy", "s=xyzzy"]),
        // Text is one value, whatever is in it.
        (
            "?a=1&apikey=x#/../%2f",
            "movie_unknown",
            &["t=%3Fa%3D1%26apikey%3Dx%23%2F..%2F%252f", "s=%3Fa%3D1%26apikey%3Dx%23%2F..%2F%252f"],
        ),
        ("", "invalid", &[]),
    ] {
        let house = House::new(omdb);
        let (told, was) = local(house.told(text)).await;
        assert_eq!(
            (told.as_str(), was),
            (expected, asked.iter().map(|&one| one.to_owned()).collect()),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_film_that_was_fetched_is_here_and_is_not_asked_for_again() {
    let house = House::new(omdb);
    local(async {
        house.told("inception").await;
        assert_eq!(house.told("inception").await, ("Inception (2010) exact not_needed".into(), vec![]));
        house.told("alien").await;
        let movies = house.movies.borrow();
        let Answer::Have(held) =
            movies.query(Query::Have { keys: vec![FilmKey::of("Alien", Year::new(1979))] })
        else {
            panic!("keys are answered")
        };
        assert!(held[0].as_ref().is_some_and(movies::query::Held::is_complete));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_film_is_completed_under_the_name_that_it_has_here() {
    let house = House::new(omdb);
    house.add("Lord of the Rings: The Two Towers");
    let expected = "Lord of the Rings: The Two Towers (0) exact asked";
    assert_eq!(local(house.told("lord of the rings: the two towers")).await.0, expected);
    let all = Query::List { prefix: String::new(), after: None, limit: 0 };
    let Answer::List(films) = house.movies.borrow().query(all) else { panic!("it is a list") };
    assert_eq!(films.entries.len(), 21, "and there is no second one");
}

#[test]
fn the_nearest_are_ours_and_theirs_each_once_and_ours_first_where_both_fit_as_well() {
    let near = |title: &str, class| Near { title: title.into(), year: None, class };
    let ours = vec![near("A", Class::Words), near("B", Class::Letters)];
    let theirs = vec![near("C", Class::Phrase), near("a", Class::Words), near("D", Class::Words)];
    let both: Vec<_> = nearest(ours, theirs).into_iter().map(|film| film.title).collect();
    assert_eq!(both, ["C", "A", "D", "B"]);
}

#[tokio::test(start_paused = true)]
async fn another_film_than_the_one_that_was_meant_fills_nothing() {
    // It lies: whatever is asked for, it is Solaris.
    let house = House::new(|_| Says::Page(200, film(&KNOWN[5])));
    local(async {
        assert_eq!(house.told("alien").await.0, "Alien (1979) exact absent, incomplete");
        assert_eq!(house.told("inception").await.0, "movie_unchecked");
        assert_eq!(house.stored.get(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_names_what_they_did_not_name() {
    let house = House::new(omdb);
    let naming = async |text: &str| in_words(&house.find(text, How::Naming, LONG).await);
    local(async {
        assert_eq!(
            naming("the lord of the rings: the return").await,
            "movie_unknown [The Lord of the Rings: The Return of the King]"
        );
        assert_eq!(naming("inception").await, "Inception (2010) exact asked");
        let reading = house.told("the lord of the rings: the return").await.0;
        assert_eq!(reading, "The Lord of the Rings: The Return of the King (2003) start asked");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_call_for_twenty_finds() {
    let house = House::new(|url| {
        let Says::Page(status, body) = omdb(url) else { unreachable!() };
        Says::Late(Duration::from_secs(1), status, body)
    });
    local(async {
        let all = join_all((0..20).map(|_| house.find("inception", How::Reading, LONG))).await;
        assert!(all.iter().all(|one| in_words(one) == "Inception (2010) exact asked"));
    })
    .await;
    assert_eq!((house.world.asked().len(), house.stored.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_it_does_not_know_is_asked_again_in_an_hour_and_what_it_cannot_complete_in_a_day() {
    let house = House::new(omdb);
    let hours = async |hours| tokio::time::sleep(Duration::from_hours(hours)).await;
    local(async {
        let (unknown, asked) = house.told("return of the king").await;
        assert_eq!(asked.len(), 2);
        assert_eq!(
            house.told("return of the king").await,
            (unknown, vec![]),
            "and what is near is remembered, too"
        );
        hours(1).await;
        assert_eq!(house.told("return of the king").await.1.len(), 2);

        house.movies.replace(Movies::new(Start::Empty));
        assert_eq!(house.told("brazil").await.0, "Brazil (1985) exact asked");
        let added =
            Command::Add { movie: NewMovie { title: "Solaris (1972)".into(), ..NewMovie::default() } };
        let at = LogPoint { epoch: Epoch(1), index: LogIndex(1) };
        let applied = Applied { at, time: Timestamp::default(), request: RequestId::LEAST };
        house.movies.borrow_mut().apply(applied, Facts::default(), added);
        house.world.change(|_| {
            Says::Page(200, r#"{"Title":"Solaris","Year":"1972","imdbID":"","Response":"True"}"#.into())
        });
        assert_eq!(house.told("solaris").await.0, "Solaris (1972) exact asked, incomplete");
        assert_eq!(house.told("solaris").await, ("Solaris (1972) exact absent, incomplete".into(), vec![]));
        hours(23).await;
        assert_eq!(house.told("solaris").await.1.len(), 0);
        hours(1).await;
        assert_eq!(house.told("solaris").await.1.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_asked_is_named_and_what_is_here_is_told_all_the_same() {
    for says in [Says::Hangs, Says::Refuses, Says::Page(522, "<html>".into()), Says::Page(200, String::new())]
    {
        let house = House::new(move |_| says.clone());
        local(async {
            let clock = Clock::start();
            assert_eq!(house.told("alien").await.0, "Alien (1979) exact unavailable, incomplete");
            assert!(clock.now().since_origin() <= Duration::from_secs(2));
            assert_eq!(house.told("xyzzy").await.0, "movie_unchecked");
            assert_eq!(house.told("matirx").await.0, "movie_unchecked [The Matrix]");
        })
        .await;
    }
    let house = House { films: Films::new(None), ..House::new(omdb) };
    local(async {
        assert_eq!(house.told("alien").await.0, "Alien (1979) exact no_key, incomplete");
        assert_eq!(house.told("heat").await.0, "Heat (1995) exact not_needed");
        assert_eq!(house.told("inception").await, ("movie_unchecked".into(), vec![]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_rests_an_hour_and_a_refused_key_for_ever() {
    let says = |error: &str| Says::Page(401, format!(r#"{{"Response":"False","Error":"{error}"}}"#));
    let house = House::new(move |_| says("Request limit reached!"));
    local(async {
        house.told("inception").await;
        house.world.change(omdb);
        assert_eq!(house.told("inception").await, ("movie_unchecked".into(), vec![]));
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(house.told("inception").await.0, "Inception (2010) exact asked");

        house.world.change(move |_| says("Invalid API key!"));
        house.told("brazil").await;
        house.world.change(omdb);
        tokio::time::sleep(Duration::from_hours(1000)).await;
        assert_eq!(house.told("brazil").await, ("movie_unchecked".into(), vec![]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_in_time_is_told_all_the_same_and_stored_when_nobody_waits() {
    let cannot = House { storing: None, ..House::new(omdb) };
    let slow = House { storing: Some(Duration::from_secs(3)), ..House::new(omdb) };
    local(async {
        for text in ["inception", "alien"] {
            assert!(cannot.told(text).await.0.ends_with("exact asked, not stored"));
            let second = Duration::from_secs(1);
            let told = in_words(&slow.find(text, How::Reading, second).await);
            assert!(told.ends_with("exact asked, not stored"), "{told}");
        }
        // Whoever asked has gone.
        let asked = slow.find("brazil", How::Reading, LONG);
        assert!(tokio::time::timeout(Duration::ZERO, asked).await.is_err());
        tokio::time::sleep(LONG).await;
    })
    .await;
    assert_eq!((cannot.stored.get(), slow.stored.get()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn two_of_one_title_are_told_apart_by_the_year() {
    let several = |url: &Url| {
        let titles = url.query_pairs().any(|(key, _)| key == "s");
        let both = format!(r#"{{"Search":[{},{}],"Response":"True"}}"#, film(&KNOWN[5]), film(&KNOWN[6]));
        let none = r#"{"Response":"False","Error":"Movie not found!"}"#.to_owned();
        Says::Page(200, if titles { both } else { none })
    };
    let house = House::new(several);
    local(async {
        assert_eq!(house.told("solaris").await.0, "movie_ambiguous [Solaris; Solaris]");
    })
    .await;
}
