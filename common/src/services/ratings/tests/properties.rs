use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::rating::{BUCKETS, Mean};
use super::*;
use crate::services::causal_laws;

fn user() -> impl Strategy<Value = String> {
    prop_oneof![20 => select(vec!["ann", "bob", "cid"]).prop_map(String::from), 1 => ".{0,4}"]
}

fn a_film() -> impl Strategy<Value = FilmKey> {
    let known = select(vec!["Heat", "Alien"]).prop_map(film);
    prop_oneof![20 => known, 1 => ".{0,4}".prop_map(|title| FilmKey::new(&title, None))]
}

fn a_rating() -> impl Strategy<Value = Rating> {
    (0..=5_000_000_u32).prop_map(|millionths| millionths.try_into().unwrap())
}

fn update() -> impl Strategy<Value = Update> {
    let rows = vec((user(), a_rating()), 0..4);
    prop_oneof![
        4 => (a_film(), user(), a_rating()).prop_map(|(film, user, rating)| Update::Rate { film, user, rating }),
        2 => (a_film(), user()).prop_map(|(film, user)| Update::Delete { film, user }),
        1 => (a_film(), rows).prop_map(|(film, rows)| Update::RateMany { film, rows }),
    ]
}

/// Each has a stamp of its own; their order is drawn.
fn updates() -> impl Strategy<Value = Vec<(RequestId, Bytes)>> {
    vec(update(), 0..24)
        .prop_map(|updates| updates.iter().zip(1..).map(|(update, at)| (id(at), encode(update))).collect())
        .prop_shuffle()
}

fn queries() -> Vec<Bytes> {
    let mut all = Vec::new();
    for film in ["Heat", "Alien"].map(film) {
        for user in ["ann", "bob", "cid"].map(String::from) {
            all.push(Query::View { film: film.clone(), user: user.clone() });
            all.push(Query::Mine { user, after: None, limit: 1 });
        }
        all.push(Query::Average { film: film.clone() });
        all.push(Query::Histogram { film: film.clone() });
        let users = ["bob", "dan"].map(String::from).to_vec();
        all.push(Query::RatedBy { film, users });
    }
    all.iter().map(encode).collect()
}

proptest! {
    #[test]
    fn the_laws_of_causal_services_hold((first, second) in updates().prop_flat_map(|first| {
        (Just(first.clone()), Just(first).prop_shuffle())
    }), settled in 0..26_u64) {
        causal_laws::check::<Ratings>(&first, &second, Timestamp::from_millis(settled), &queries());
    }

    #[test]
    fn sums_and_buckets_are_those_of_the_cells(updates in updates()) {
        let mut ratings = Ratings::default();
        for (stamp, payload) in &updates {
            CausalMachine::apply(&mut ratings, *stamp, payload);
            let restored: Ratings = CausalStateMachine::restore(&CausalMachine::snapshot(&ratings)).unwrap();
            prop_assert_eq!(&restored, &ratings, "tallies, indexes and digest are recomputed");
        }
        for film in ratings.films.values() {
            let live: Vec<_> = film.cells.values().filter_map(|cell| cell.rating).collect();
            let mut buckets = [0; BUCKETS];
            for rating in &live {
                buckets[rating.bucket()] += 1;
            }
            let sum = live.iter().map(|rating| u64::from(rating.millionths())).sum();
            let mean = (!live.is_empty()).then_some(Mean { sum, count: live.len() as u64 });
            prop_assert_eq!((film.tally.mean(), film.tally.buckets), (mean, buckets));
        }
    }

    #[test]
    fn no_bytes_end_the_service(payload in vec(any::<u8>(), 0..200)) {
        let mut ratings = Ratings::default();
        CausalMachine::apply(&mut ratings, id(1), &payload);
        CausalMachine::query(&ratings, &payload);
        let _ = <Ratings as CausalStateMachine>::restore(&payload);
    }
}
