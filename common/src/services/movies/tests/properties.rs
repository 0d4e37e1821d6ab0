use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::films::Films;
use super::super::matching::{Rank, Wanted};
use super::*;
use crate::services::laws::Step;
use crate::services::matching::Class;
use crate::services::{Machine, encode};

/// Titles of few words, so that films meet.
fn title() -> impl Strategy<Value = String> {
    let word = select(vec!["the", "ring", "Rings", "lord", "spider", "man", "Spider-Man", "2001"]);
    let words = vec(word, 1..3).prop_map(|words| words.join(" "));
    let around = select(vec!["", "", "", " (1995)", ", The", " (a.k.a. Ring, The)"]);
    prop_oneof![20 => (words, around).prop_map(|(words, around)| words + around), 1 => ".{0,9}"]
}

fn a_year() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![9 => Just(None), 9 => select(vec![1995, 2001]).prop_map(Some), 1 => any::<u16>().prop_map(Some)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![20 => select(vec!["", "About something."]).prop_map(String::from), 1 => ".{0,9}"]
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![20 => select(vec!["", "https://films.example"]).prop_map(String::from), 1 => ".{0,9}"]
}

prop_compose! {
    fn new_movie()(
        title in title(), year in a_year(), aliases in vec(title(), 0..2), url in url(), description in text(),
        genres in vec(select(vec!["Drama", "Crime"]), 0..3), imdb in option::of(1..99_u64),
    ) -> NewMovie {
        let genres = genres.into_iter().map(String::from).collect();
        NewMovie { title, year, aliases, url, description, genres, imdb: imdb.and_then(|imdb| imdb.try_into().ok()) }
    }
}

fn command() -> impl Strategy<Value = Command> {
    let edit = (title(), a_year(), option::of(url()), option::of(text())).prop_map(
        |(title, year, url, description)| Command::Edit { title, year, url, description, genres: None },
    );
    prop_oneof![
        3 => new_movie().prop_map(|movie| Command::Add { movie }),
        3 => edit,
        1 => new_movie().prop_map(|record| Command::Fill { record }),
        1 => vec(new_movie(), 0..4).prop_map(|movies| Command::AddMany { movies }),
    ]
}

fn facts() -> impl Strategy<Value = Facts> {
    select(vec![Sender::Client, Sender::Door]).prop_map(|sender| Facts { sender })
}

fn queries() -> impl Strategy<Value = Vec<Query>> {
    let how = select(vec![How::Reading, How::Naming]);
    let one = (title(), a_year(), how, 0..4_u32).prop_map(|(text, year, how, limit)| {
        let key = FilmKey::of(&text, Year::new(1995));
        vec![
            Query::Find { text: text.clone(), year, how, places: Places::Here },
            Query::Search { text: text.clone(), limit },
            Query::List { prefix: text.chars().take(2).collect(), after: Some(key.clone()), limit },
            Query::Have { keys: vec![key] },
        ]
    });
    vec(one, 4).prop_map(|lists| lists.concat())
}

/// The rule, film by film, without an index.
fn ranked_plainly<'a>(films: &'a Films, wanted: &Wanted) -> Vec<(&'a Movie, Class)> {
    let keyed: Vec<_> = films
        .all()
        .map(|movie| {
            let aliases: Vec<_> =
                movie.aliases.iter().map(|alias| crate::services::matching::key(alias)).collect();
            (movie, movie.key(), aliases)
        })
        .collect();
    let mut ranked: Vec<(Rank<'_>, &Movie)> =
        keyed.iter().filter_map(|(movie, key, aliases)| Some((wanted.rank(key, aliases)?, *movie))).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    let letters_only = ranked.iter().all(|(rank, _)| rank.class() == Class::Letters);
    ranked.retain(|(rank, _)| letters_only || rank.class() > Class::Letters);
    ranked.into_iter().map(|(rank, movie)| (movie, rank.class())).collect()
}

#[test]
fn generated_commands_mostly_do_something() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut added, mut changed, mut ambiguous) = (0, 0, 0);
    for _ in 0..20 {
        let commands = vec((facts(), command()), 40).new_tree(&mut runner).unwrap().current();
        let mut library = Library::empty();
        for (facts, command) in commands {
            match library.run_with(facts, command) {
                Ok(Done::Added { .. } | Done::Filled(Filled::Added)) => added += 1,
                Ok(Done::Updated { .. } | Done::Filled(Filled::Completed)) => changed += 1,
                Err(Refusal::MovieAmbiguous { .. }) => ambiguous += 1,
                _ => {}
            }
        }
    }
    assert!(
        added > 200 && changed > 50 && ambiguous > 5,
        "{added} added, {changed} changed, {ambiguous} ambiguous"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_laws_of_every_service_hold(
        commands in vec((facts(), command()), 1..40),
        queries in queries(),
    ) {
        let steps: Vec<_> = commands.iter().map(|(facts, command)| Step::new::<Movies>(facts, command)).collect();
        let queries: Vec<_> = queries.iter().map(encode).collect();
        laws::check::<Movies>(&start_bytes(Start::Demo), &steps, &queries);
    }

    #[test]
    fn the_index_finds_what_the_rule_says(
        commands in vec((facts(), command()), 1..40),
        asked in vec((title(), a_year()), 8),
    ) {
        let mut library = Library::empty();
        for (facts, command) in commands {
            let _ = library.run_with(facts, command);
        }
        let restored: Movies = StateMachine::restore(&Machine::snapshot(&library.state)).unwrap();
        for (text, year) in asked {
            let Ok(title) = super::super::reading::read_title(&text, year, None) else { continue };
            let wanted = Wanted::new(&title);
            let expected = ranked_plainly(&library.state.films, &wanted);
            let best = expected.iter().filter(|(_, class)| *class == expected[0].1).count();
            for state in [&library.state, &restored] {
                let ranking = state.films.ranked(&wanted, 3);
                prop_assert_eq!(ranking.as_good as usize, best);
                prop_assert_eq!(&ranking.films[..], &expected[..expected.len().min(3)]);
            }
        }
    }

    #[test]
    fn films_stay_and_keys_never_change(commands in vec((facts(), command()), 1..60)) {
        let mut library = Library::demo();
        let mut keys = Vec::new();
        for (facts, command) in commands {
            let _ = library.run_with(facts, command);
            let now: Vec<_> = library.state.films.all().map(Movie::key).collect();
            prop_assert!(keys.iter().all(|key| now.contains(key)));
            prop_assert!(now.is_sorted());
            keys = now;
        }
        let restored: Movies = StateMachine::restore(&Machine::snapshot(&library.state)).unwrap();
        prop_assert_eq!(restored, library.state);
    }

    #[test]
    fn no_bytes_end_the_service(facts in vec(any::<u8>(), 0..4), payload in vec(any::<u8>(), 0..200)) {
        let mut library = Library::demo();
        Machine::apply(&mut library.state, laws::applied(0), &facts, &payload);
        Machine::query(&library.state, &payload);
        let _ = <Movies as StateMachine>::restore(&payload);
        let _ = Movies::start(Timestamp::from_millis(0), &payload);
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_another_state(at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let mut bytes = Machine::snapshot(&Library::demo().state).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if let Ok(state) = <Movies as StateMachine>::restore(&bytes) {
            let again: Movies = StateMachine::restore(&Machine::snapshot(&state)).unwrap();
            prop_assert_eq!(again, state);
        }
    }
}

#[test]
fn a_snapshot_of_another_format_or_order_is_refused() {
    let newer = <Movies as StateMachine>::restore(&[2, 0]).unwrap_err();
    assert_eq!(newer.why, "written in format 2, this program reads 1");
    // Format 1, then 2^62 films.
    let lie = [&[1, 253][..], &(1_u64 << 62).to_le_bytes()].concat();
    assert!(<Movies as StateMachine>::restore(&lie).is_err());
    let two = Library::of(&["A film (1999)", "B film (1999)"]).state;
    let [a, b] = [0, 1].map(|at| encode(two.films.all().nth(at).unwrap()));
    assert_eq!(<Movies as StateMachine>::restore(&[&[1, 2], &a[..], &b].concat()), Ok(two));
    for wrong in [[&b, &a], [&a, &a]] {
        let error =
            <Movies as StateMachine>::restore(&[&[1, 2], &wrong[0][..], wrong[1]].concat()).unwrap_err();
        assert_eq!(error.why, "keys out of order");
    }
}
