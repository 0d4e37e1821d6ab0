//! What of a list of films is to be sent: what is not there, and what is there and lacks something that the list knows.

use common::rpc::replica::PAYLOAD_BYTES_MAX;
use common::services::encode;
use common::services::movies::Movie;
use common::services::movies::bounds::BATCH_MAX;
use common::services::movies::command::NewMovie;
use common::services::movies::query::Held;

use crate::movies::Many;

/// Room for what stands beside the films in a command.
const HEAD_BYTES: usize = 16;

/// What is to be sent, and what need not be.
#[derive(Debug, Default)]
pub struct Plan {
    /// Each fits into one command.
    pub batches: Vec<Batch>,
    /// What is there as it should be.
    pub many: Many,
}

/// The films of one command, and whether each is there, and only to be completed.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the list's order.
    pub films: Vec<(NewMovie, bool)>,
    bytes: usize,
}

impl Batch {
    /// The films alone.
    pub fn movies(self) -> Vec<NewMovie> {
        self.films.into_iter().map(|(movie, _)| movie).collect()
    }
}

impl Plan {
    /// The plan for these films, by what the database has of them.
    pub fn new<'a>(films: impl IntoIterator<Item = (&'a Movie, Option<Held>)>) -> Self {
        let mut plan = Self::default();
        for (film, held) in films {
            let gains = held.as_ref().is_none_or(|held| held.lacks.iter().any(|&part| !film.lacks(part)));
            if gains {
                plan.send(film.clone().into(), held.is_some());
            } else {
                plan.many.unchanged += 1;
            }
        }
        plan
    }

    fn send(&mut self, movie: NewMovie, known: bool) {
        let bytes = encode(&movie).len();
        let fits = |batch: &Batch| {
            batch.films.len() < BATCH_MAX && batch.bytes + bytes + HEAD_BYTES <= PAYLOAD_BYTES_MAX
        };
        if !self.batches.last().is_some_and(fits) {
            self.batches.push(Batch::default());
        }
        let batch = self.batches.last_mut().expect("one was pushed");
        batch.films.push((movie, known));
        batch.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use common::services::movies::command::Command;
    use common::services::movies::movie::{Part, Source};

    use super::*;

    fn film(title: &str, description: &str) -> Movie {
        let new = NewMovie { title: title.into(), description: description.into(), ..NewMovie::default() };
        new.read(Source::Local, None).unwrap()
    }

    #[test]
    fn only_what_would_change_something_is_sent() {
        let (new, known, poor) = (film("A (1990)", ""), film("B (1990)", ""), film("C (1990)", "Told."));
        let lacks = |lacks: &[Part]| Some(Held { lacks: lacks.to_vec() });
        let films = [(&new, None), (&known, lacks(&Part::ALL)), (&poor, lacks(&[Part::Description]))];
        let plan = Plan::new(films);
        let sent: Vec<_> = plan.batches[0].films.iter().map(|(film, known)| (&*film.title, *known)).collect();
        assert_eq!((sent, plan.many.unchanged), (vec![("A", false), ("C", true)], 1));
        assert!(Plan::new([(&poor, lacks(&[]))]).batches.is_empty());
    }

    #[test]
    fn a_batch_fits_into_a_command() {
        let many: Vec<Movie> = (0..250).map(|number| film(&format!("{number} (1990)"), "")).collect();
        let long: Vec<Movie> =
            (0..40).map(|number| film(&format!("{number} (1991)"), &"é".repeat(2_000))).collect();
        let plan = Plan::new(many.iter().chain(&long).map(|film| (film, None)));
        assert_eq!(plan.batches.iter().map(|batch| batch.films.len()).sum::<usize>(), 290);
        assert_eq!(plan.batches[0].films.len(), BATCH_MAX);
        for batch in plan.batches {
            assert!(encode(&Command::AddMany { movies: batch.movies() }).len() <= PAYLOAD_BYTES_MAX);
        }
    }
}
