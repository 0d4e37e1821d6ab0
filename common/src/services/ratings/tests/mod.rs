use super::query::Query;
use super::refusal::{Field, Why};
use super::*;
use crate::services::text::BadText;
use crate::services::{CausalMachine, decode, encode};

mod properties;

pub(super) fn id(millis: u64) -> RequestId {
    RequestId::from_parts(Timestamp::from_millis(millis), 0, 0)
}

pub(super) fn film(title: &str) -> FilmKey {
    FilmKey::new(title, Some(1999))
}

fn rating(text: &str) -> Rating {
    text.parse().unwrap()
}

fn rate(user: &str, stars: &str) -> Update {
    Update::Rate { film: film("The Matrix"), user: user.into(), rating: rating(stars) }
}

fn delete(user: &str) -> Update {
    Update::Delete { film: film("The Matrix"), user: user.into() }
}

fn view(ratings: &Ratings, user: &str) -> Answer {
    CausalStateMachine::query(ratings, Query::View { film: film("The Matrix"), user: user.into() })
}

fn run(ratings: &mut Ratings, at: u64, update: Update) -> Reply {
    CausalStateMachine::apply(ratings, id(at), update)
}

#[test]
fn the_higher_stamp_stands_whichever_comes_first() {
    let mut ratings = Ratings::default();
    let (four, two) = (rating("4"), rating("2"));
    assert_eq!(
        run(&mut ratings, 5, rate("ann", "4")),
        Outcome::Done(Done::Rated { rating: four, previous: None })
    );
    assert_eq!(run(&mut ratings, 4, rate("ann", "1")), Outcome::Done(Done::Superseded { by: id(5) }));
    let over = Done::Rated { rating: two, previous: Some(four) };
    assert_eq!(run(&mut ratings, 6, rate("ann", "2")), Outcome::Done(over));
    assert_eq!(view(&ratings, "ann"), Answer::View { rating: two, stamp: id(6) });
}

#[test]
fn the_same_title_in_two_years_is_two_films() {
    let mut ratings = Ratings::default();
    let film = |year| FilmKey::new("Heat", year);
    for (at, year, stars) in [(1, Some(1995), "5"), (2, Some(1986), "2"), (3, None, "3")] {
        let (film, user) = (film(year), "ann".to_owned());
        let done = run(&mut ratings, at, Update::Rate { film, user, rating: rating(stars) });
        assert_eq!(done, Outcome::Done(Done::Rated { rating: rating(stars), previous: None }));
    }
    let view = |year| {
        let query = Query::View { film: film(year), user: "ann".into() };
        CausalStateMachine::query(&ratings, query)
    };
    assert_eq!(view(Some(1995)), Answer::View { rating: rating("5"), stamp: id(1) });
    assert_eq!(view(Some(1986)), Answer::View { rating: rating("2"), stamp: id(2) });
    assert_eq!(view(None), Answer::View { rating: rating("3"), stamp: id(3) });
}

#[test]
fn a_deleted_rating_stays_deleted_when_an_older_one_comes() {
    let mut ratings = Ratings::default();
    assert_eq!(run(&mut ratings, 5, delete("ann")), Outcome::Refused(Refusal::NotRated));
    assert_eq!(run(&mut ratings, 4, rate("ann", "1")), Outcome::Done(Done::Superseded { by: id(5) }));
    assert_eq!(view(&ratings, "ann"), Answer::Refused(Refusal::NotRated));
    run(&mut ratings, 6, rate("ann", "3"));
    let gone = Done::Deleted { previous: rating("3") };
    assert_eq!(run(&mut ratings, 7, delete("ann")), Outcome::Done(gone));
    assert_eq!(CausalStateMachine::digest(&ratings), Digest::default(), "nothing is shown any more");
}

#[test]
fn deleted_ratings_are_forgotten_once_nothing_older_can_come() {
    let mut ratings = Ratings::default();
    run(&mut ratings, 5, delete("ann"));
    run(&mut ratings, 9, delete("bob"));
    CausalStateMachine::forget(&mut ratings, Timestamp::from_millis(9));
    assert_eq!(ratings.cells, 1);
    CausalStateMachine::forget(&mut ratings, Timestamp::from_millis(10));
    assert_eq!(ratings, Ratings::default());
}

#[test]
fn a_film_has_a_mean_and_a_histogram_and_a_user_a_list() {
    let mut ratings = Ratings::default();
    for (at, (user, stars)) in [("ann", "4"), ("bob", "2.75"), ("cid", "5")].into_iter().enumerate() {
        run(&mut ratings, at as u64, rate(user, stars));
    }
    run(&mut ratings, 9, Update::Rate { film: film("Heat"), user: "ann".into(), rating: rating("1") });
    let ask = |query| CausalStateMachine::query(&ratings, query);
    let Answer::Histogram { mean: Some(mean), buckets } = ask(Query::Histogram { film: film("The Matrix") })
    else {
        panic!("there are ratings")
    };
    assert_eq!((mean.to_string(), mean.count), ("3.92".to_owned(), 3));
    assert_eq!(buckets, [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1]);
    assert_eq!(ask(Query::Average { film: film("Casablanca") }), Answer::Average { mean: None });
    let users = ["dan", "bob"].map(String::from).to_vec();
    assert_eq!(ask(Query::RatedBy { film: film("The Matrix"), users }), Answer::RatedBy(vec![false, true]));
    let mine = |after| ask(Query::Mine { user: "ann".into(), after, limit: 1 });
    let heat = vec![(film("Heat"), rating("1"))];
    assert_eq!(mine(None), Answer::Mine { ratings: heat, more: true });
    let matrix = vec![(film("The Matrix"), rating("4"))];
    assert_eq!(mine(Some(film("Heat"))), Answer::Mine { ratings: matrix, more: false });
}

#[test]
fn an_import_counts_the_rows_that_stand() {
    let mut ratings = Ratings::default();
    run(&mut ratings, 7, rate("ann", "4"));
    let rows = |users: &[&str]| users.iter().map(|user| (user.to_string(), rating("3"))).collect();
    let many = |users| Update::RateMany { film: film("The Matrix"), rows: rows(users) };
    assert_eq!(run(&mut ratings, 5, many(&["ann", "bob"])), Outcome::Done(Done::RatedMany { count: 1 }));
    let none = Refusal::Invalid { field: Field::Rows, why: Why::Count { max: 64 } };
    assert_eq!(run(&mut ratings, 6, many(&[])), Outcome::Refused(none.clone()));
    assert_eq!(run(&mut ratings, 6, many(&["x"; 65])), Outcome::Refused(none));
}

#[test]
fn what_is_no_key_or_no_user_is_refused_and_changes_nothing() {
    let mut ratings = Ratings::default();
    let why = Why::Text(BadText::Blank);
    assert_eq!(
        run(&mut ratings, 5, rate(" ", "4")),
        Outcome::Refused(Refusal::Invalid { field: Field::User, why })
    );
    let unfolded: FilmKey = decode(&encode(&("The MATRIX", Some(1999_u16)))).unwrap();
    let update = Update::Rate { film: unfolded, user: "ann".into(), rating: rating("4") };
    let refused = Refusal::Invalid { field: Field::Film, why: Why::Folded };
    assert_eq!(run(&mut ratings, 5, update), Outcome::Refused(refused));
    // A rating above five stars is none at all.
    let bytes = encode(&(0_u32, ("the matrix", Some(1999_u16)), "ann", 5_000_001_u32));
    assert_eq!(CausalMachine::apply(&mut ratings, id(5), &bytes), encode(&Ratings::malformed_update()));
    let bytes = encode(&(0_u32, ("the matrix", Some(1999_u16)), "ann", 5_000_000_u32));
    assert_ne!(CausalMachine::apply(&mut ratings, id(5), &bytes), encode(&Ratings::malformed_update()));
}

#[test]
fn each_refusal_has_its_code_status_and_sentence() {
    let all = [
        (Refusal::NotRated, "not_rated", 3, "User has not rated that movie."),
        (Refusal::Full { limit: 7 }, "full", 4, "The list of ratings is full (7)."),
        (Refusal::Malformed, "malformed", 1, "The service did not understand the request."),
        (
            Refusal::Invalid { field: Field::User, why: Why::Text(BadText::Blank) },
            "invalid",
            2,
            "user: Don't leave it blank!",
        ),
    ];
    for (refusal, code, status, sentence) in all {
        assert_eq!(
            (refusal.code(), refusal.exit_status(), refusal.sentence().as_str()),
            (code, status, sentence)
        );
    }
}
