//! The whole value as bytes: `[format u8 = 1]`, then the cells in the order of films and users. Sums, indexes and the
//! digest are made anew.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::film::FilmKey;
use super::state::{Cell, Ratings};
use crate::services::RestoreError;
use crate::services::user_code::UserCode;

/// Raised by anything that makes another value of the same updates.
const FORMAT: u8 = 1;
/// Ten times the largest cell: foreign bytes that lie about a length are refused before memory is taken for it.
const CELL_BYTES_MAX: usize = 16 * 1024;

pub(super) fn write(ratings: &Ratings) -> Bytes {
    let mut bytes = vec![FORMAT];
    add(&mut bytes, &(ratings.cells as u64));
    for (film, entry) in &ratings.films {
        for (user, cell) in &entry.cells {
            add(&mut bytes, &(film, user, cell));
        }
    }
    bytes.into()
}

fn add<T: Serialize>(bytes: &mut Vec<u8>, part: &T) {
    bincode::serde::encode_into_std_write(part, bytes, bincode::config::standard())
        .expect("plain data always encodes into memory");
}

pub(super) fn read(snapshot: &[u8]) -> Result<Ratings, RestoreError> {
    let (format, mut rest) = snapshot.split_first().ok_or_else(|| damaged("no bytes"))?;
    if *format != FORMAT {
        return Err(RestoreError { why: format!("written in format {format}, this program reads {FORMAT}") });
    }
    let count: u64 = part(&mut rest)?;
    let mut ratings = Ratings::default();
    let mut last = None;
    for _ in 0..count {
        let (film, user, cell): (FilmKey, UserCode, Cell) = part(&mut rest)?;
        if last.as_ref().is_some_and(|last| *last >= (film.clone(), user.clone())) {
            return Err(damaged("cells out of order"));
        }
        ratings.insert(&film, &user, cell);
        last = Some((film, user));
    }
    if rest.is_empty() { Ok(ratings) } else { Err(damaged("bytes left over")) }
}

/// Reads one part off the front.
fn part<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, RestoreError> {
    let config = bincode::config::standard().with_limit::<CELL_BYTES_MAX>();
    let (part, length) =
        bincode::serde::decode_from_slice(rest, config).map_err(|error| damaged(&error.to_string()))?;
    *rest = &rest[length..];
    Ok(part)
}

fn damaged(why: &str) -> RestoreError {
    RestoreError { why: why.into() }
}
