//! Ratings from a list: per film, those that are not there.

use common::services::encode;
pub(super) use common::services::ratings::NAME;
use common::services::ratings::query::PAGE_ENTRIES_MAX;
use common::services::ratings::{FilmKey, ROWS_MAX, Rating, UPDATE_BYTES_MAX};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::reader::{Film, Lists, Rated};
use super::{AT_ONCE, Progress};
use crate::errors::Failure;
use crate::objects::Imported;
use crate::ratings::Ratings;

/// Room for what stands beside the rows in an update.
const HEAD_BYTES: usize = 16;

/// Stores the ratings that are not there, or only says how many those are.
///
/// # Errors
/// When the service does not answer; what was stored stays.
pub(super) async fn store(ratings: &Ratings, lists: &Lists, only_looks: bool) -> Result<Imported, Failure> {
    let rated = lists.films.iter().filter(|film| !film.ratings.is_empty());
    let progress = Progress::of("ratings", rated.clone().map(|film| film.ratings.len() as u64).sum());
    // Film by film: what is there is asked just before what is not is sent.
    let mut stored = stream::iter(rated)
        .map(async |film| {
            let (added, all) = (one_film(ratings, film, only_looks).await?, film.ratings.len());
            Ok::<_, Failure>((added, all))
        })
        .buffer_unordered(AT_ONCE);
    let mut done = Imported::default();
    while let Some((added, all)) = stored.try_next().await? {
        let all = u32::try_from(all).unwrap_or(u32::MAX);
        done.added += added;
        done.unchanged += all.saturating_sub(added);
        progress.advance(all.into());
    }
    Ok(done)
}

/// How many ratings of a film were not there.
async fn one_film(ratings: &Ratings, film: &Film, only_looks: bool) -> Result<u32, Failure> {
    let key = FilmKey::new(&film.movie.title, film.movie.year.map(u16::from));
    let mut added = 0;
    for some in film.ratings.chunks(PAGE_ENTRIES_MAX) {
        let users = some.iter().map(|rated| rated.user.to_string()).collect();
        let there = ratings.rated_by(key.clone(), users).await?;
        let missing = some.iter().zip(there).filter(|(_, there)| !there).map(|(rated, _)| rated);
        for batch in batches(&key, missing) {
            let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            added += if only_looks { count } else { ratings.rate_many(key.clone(), batch).await? };
        }
    }
    Ok(added)
}

/// As few as hold them all, each of them one update.
fn batches<'a>(key: &FilmKey, missing: impl Iterator<Item = &'a Rated>) -> Vec<Vec<(String, Rating)>> {
    let head = encode(key).len() + HEAD_BYTES;
    let mut batches: Vec<(usize, Vec<(String, Rating)>)> = Vec::new();
    for rated in missing {
        let rating = rated.millionths.try_into().expect("the reader takes no other");
        let row = (rated.user.to_string(), rating);
        let bytes = encode(&row).len();
        match batches.last_mut() {
            Some((full, rows)) if rows.len() < ROWS_MAX && *full + bytes <= UPDATE_BYTES_MAX => {
                *full += bytes;
                rows.push(row);
            }
            _ => batches.push((head + bytes, vec![row])),
        }
    }
    batches.into_iter().map(|(_, rows)| rows).collect()
}

#[cfg(test)]
mod tests {
    use common::services::ratings::Update;
    use common::services::user_code::UserCode;

    use super::*;

    #[test]
    fn a_batch_is_one_update_and_all_rows_are_in_one_each() {
        let user = |n: u32| UserCode::read(&format!("{n:0>64}")).unwrap();
        let rated: Vec<_> = (0..300).map(|n| Rated { user: user(n), at: 0, millionths: 4_000_000 }).collect();
        let film = FilmKey::new("The Longest Title That Anybody Has Thought Of So Far", Some(1995));
        let made = batches(&film, rated.iter());
        assert_eq!(made.iter().map(Vec::len).sum::<usize>(), 300);
        for rows in made {
            assert!(rows.len() <= ROWS_MAX);
            let update = encode(&Update::RateMany { film: film.clone(), rows });
            assert!(update.len() <= UPDATE_BYTES_MAX, "{}", update.len());
        }
    }
}
