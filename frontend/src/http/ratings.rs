//! Ratings of films. Whoever rates sees their own word at once, whichever replica they ask: what a browser has seen
//! goes with it, as a cookie, to every front end.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use common::replication::{RequestId, VectorTimestamp};
use common::rpc::replica::Position;
use common::services::movies::{Movie, Year};
use common::services::ratings::query::{Answer, Query};
use common::services::ratings::rating::{BUCKETS, Mean, Rating};
use common::services::ratings::{FilmKey, NAME, Refusal, Reply, Update};
use common::services::{Outcome, decode, encode};

use super::cookies::{Visitor, cookie, kept};
use super::counter::Failed;
use super::forms::Form;
use super::movies::{named, redraw};
use super::page::{Notice, Problem, see};
use super::site::Site;

/// A browser keeps no longer cookie; a vector of seven members has a tenth of it.
const COOKIE_CHARS_MAX: usize = 4_000;

/// What a browser has seen of the ratings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    vector: VectorTimestamp,
    latest: RequestId,
}

/// How a film is rated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ratings {
    /// `None`: nobody has rated it.
    pub(super) mean: Option<Mean>,
    /// Near 0.0, 0.5, and so on to 5.0.
    pub(super) buckets: [u64; BUCKETS],
    /// The visitor's own.
    pub(super) mine: Option<Rating>,
}

impl Seen {
    /// What these headers say. A damaged cookie says nothing.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let said =
            cookie(headers, "seen").and_then(|text| bytes(&text)).and_then(|bytes| decode(&bytes).ok());
        let (vector, latest) = said.unwrap_or((VectorTimestamp::default(), RequestId::LEAST));
        Self { vector, latest }
    }

    fn take_in(&mut self, position: &Position) {
        if let Position::Causal { vector, latest } = position {
            self.vector.merge(vector);
            self.latest = self.latest.max(*latest);
        }
    }

    /// What makes the browser remember it.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        let bytes = encode(&(&self.vector, self.latest));
        let text = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        (text.len() <= COOKIE_CHARS_MAX).then(|| kept("seen", &text))
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = (0..text.len()).step_by(2);
    digits.then(|| pairs.filter_map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect())
}

fn key(movie: &Movie) -> FilmKey {
    FilmKey::new(&movie.title, movie.year.map(Year::into))
}

impl Ratings {
    /// The rows of the histogram, best first: stars, how many, and how wide the bar is of a hundred.
    pub(super) fn rows(&self) -> Vec<(String, u64, u64)> {
        let most = self.buckets.iter().copied().max().unwrap_or(0).max(1);
        let row = |(half, &count): (usize, &u64)| {
            (format!("{}.{}", half / 2, half % 2 * 5), count, count * 100 / most)
        };
        self.buckets.iter().enumerate().map(row).rev().collect()
    }
}

/// How a film is rated, for somebody who has seen so much.
///
/// # Errors
/// When no member answers.
pub(super) async fn of(site: &Site, user: &str, movie: &Movie, seen: &mut Seen) -> Result<Ratings, Failed> {
    let film = key(movie);
    let all = Query::Histogram { film: film.clone() };
    let mine = Query::View { film, user: user.to_owned() };
    let ((all, first), (mine, second)) = tokio::try_join!(
        site.counter.query_after(NAME, &seen.vector, &all),
        site.counter.query_after(NAME, &seen.vector, &mine),
    )?;
    seen.take_in(&first);
    seen.take_in(&second);
    let Answer::Histogram { mean, buckets } = all else { return Err(Failed::Away) };
    let mine = match mine {
        Answer::View { rating, .. } => Some(rating),
        _ => None,
    };
    Ok(Ratings { mean, buckets, mine })
}

/// `POST /movies/{key}/rating`. Its id is drawn here: only the last word of a person on a film counts, so saying it
/// twice is saying it once.
pub(super) async fn rate(
    State(site): State<Site>,
    visitor: Visitor,
    Path(part): Path<String>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let (movie, path) = match named(&site, &visitor, &part).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    let (film, user) = (key(&movie), visitor.user().to_owned());
    let update = if form.has("delete") {
        Update::Delete { film, user }
    } else {
        let Ok(rating) = form.get("stars").parse() else {
            let error = Notice::at("stars", "Stars: a number from 0 to 5, like 4 or 3.5, please.");
            return redraw(&site, &visitor, &headers, movie, error).await;
        };
        Update::Rate { film, user, rating }
    };
    let mut seen = Seen::of(&headers);
    let request = site.draw_after(seen.latest);
    match site.counter.execute_after::<_, Reply>(NAME, request, &seen.vector, &update).await {
        Ok((Outcome::Done(_), position)) => {
            seen.take_in(&position);
            let word = if form.has("delete") { "deleted" } else { "rated" };
            let cookie = seen.cookie().map(|cookie| [(header::SET_COOKIE, cookie)]);
            (cookie, see(&format!("{path}?{word}"))).into_response()
        }
        Ok((Outcome::Refused(refusal), _)) => {
            let error = match refusal {
                Refusal::NotRated => Notice::error(refusal.to_string()),
                other => Notice::at("stars", other.to_string()),
            };
            redraw(&site, &visitor, &headers, movie, error).await
        }
        Err(failed) => Problem::of(&visitor)(failed).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::replication::ReplicaId;

    use super::*;

    #[test]
    fn what_was_seen_comes_back_from_its_cookie() {
        let mut vector = VectorTimestamp::default();
        (1..=7).for_each(|number| vector.raise(ReplicaId::from_u128(number << 90), 1_000_000));
        let latest = RequestId::from_parts(Timestamp::from_millis(1_700_000_000_000), 3, 9);
        let seen = Seen { vector, latest };
        let cookie = seen.cookie().unwrap().to_str().unwrap().to_owned();
        let pair = cookie.split(';').next().unwrap();
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(pair).unwrap())]);
        assert_eq!(Seen::of(&headers), seen);
        for damaged in ["seen=", "seen=f", "seen=zz", "seen=00"] {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(damaged))]);
            assert_eq!(Seen::of(&headers).latest, RequestId::LEAST, "{damaged}");
        }
    }

    #[test]
    fn bars_are_as_long_as_there_are_ratings_the_best_first() {
        let mut buckets = [0; BUCKETS];
        (buckets[8], buckets[0]) = (4, 1);
        let rows = Ratings { mean: None, buckets, mine: None }.rows();
        assert_eq!(
            (rows.len(), &rows[2], &rows[10]),
            (11, &("4.0".to_owned(), 4, 100), &("0.0".to_owned(), 1, 25))
        );
    }
}
