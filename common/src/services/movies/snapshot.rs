//! The whole state as bytes: `[format u8 = 1]`, then how many films, and they, in the order of keys. What is made of
//! them (keys, index) is made anew.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::Movies;
use super::movie::Movie;
use crate::services::RestoreError;
use crate::services::records::{self, damaged};

/// Raised by anything that makes another state of the same commands: also by another folding, or another article.
const FORMAT: u8 = 1;

struct Written<'a>(&'a Movies);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.films.all())
    }
}

pub(super) fn write(state: &Movies) -> Bytes {
    records::write(FORMAT, &Written(state))
}

pub(super) fn read(snapshot: &[u8]) -> Result<Movies, RestoreError> {
    let mut rest = records::body(FORMAT, snapshot)?;
    let mut state = Movies::default();
    let mut last = None;
    for _ in 0..records::take::<u64>(&mut rest)? {
        let movie: Movie = records::take(&mut rest)?;
        let key = Some(movie.key());
        if last >= key {
            return Err(damaged("keys out of order"));
        }
        last = key;
        state.films.insert(movie);
    }
    if rest.is_empty() { Ok(state) } else { Err(damaged("bytes left over")) }
}
