//! The commands about ratings.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use std::time::Duration;

use common::services::movies::{self, Title, Year};
use common::services::ratings::rating::{BUCKETS, Mean};
use common::services::ratings::{FilmKey, NAME, Rating as Stars};
use futures::stream::{self, StreamExt as _};

use crate::desk::Desk;
use crate::errors::{self, Code, Failure};
use crate::grammar::{Global, Rate, RatedFilm, Rating};
use crate::movies::{How, Movies, Places};
use crate::objects;
use crate::output::{Ended, Lean, Output, escaped, table};
use crate::ratings::{Ratings, Written};
use crate::shop::Shop;

/// Runs one of the commands.
///
/// # Errors
/// The command's failure, or what ended it.
pub(crate) async fn run(desk: &Desk, output: Output, global: Global, command: Rating) -> Result<(), Ended> {
    let person = Shop::new(desk, output, global.clone())?;
    let ratings = Ratings::over(desk.service(NAME, output, &global)?);
    let from = person.seen().await?;
    ratings.go_on_from(&from);
    let unasked = Global { request_id: None, ..global.clone() };
    let movies = Movies::over(desk.service(movies::NAME, output, &unasked)?.stale_for(ANY_AGE));
    let booth = Booth { output, ratings, movies, given_id: global.request_id.is_some() };
    let ended = match command {
        Rating::View(film) => booth.view(&person, film).await,
        Rating::Average(film) => booth.average(film).await,
        Rating::Histogram(film) => booth.histogram(film).await,
        Rating::Rate(rate) => booth.rate(&person, rate).await,
        Rating::Delete(film) => booth.delete(&person, film).await,
        Rating::Mine => booth.mine(&person).await,
    };
    person.remember_seen(&from, &booth.ratings.session());
    ended
}

/// A film is never removed and its key never changes, so whoever knows it knows enough.
const ANY_AGE: Duration = Duration::from_hours(24 * 365);
/// Titles looked up at once.
const TITLES_AT_ONCE: usize = 16;

/// Where ratings are given and seen.
struct Booth {
    output: Output,
    ratings: Ratings,
    movies: Movies,
    /// Whether the command must be the same as one before, whatever is known of films by now.
    given_id: bool,
}

/// A film, as it is called.
struct Film {
    title: String,
    year: Option<u16>,
    key: FilmKey,
}

impl Film {
    fn name(&self) -> String {
        match self.year {
            Some(year) => format!("{} ({year})", self.title),
            None => self.title.clone(),
        }
    }
}

impl Booth {
    /// The film that is meant; one that is changed has to be named.
    async fn film(&self, RatedFilm { title, year }: RatedFilm, how: How) -> Result<Film, Failure> {
        let text = title.join(" ");
        if self.given_id {
            let read = Title::read(&text);
            let Some(year) = year.or(read.year.map(u16::from)) else {
                let failure =
                    Failure::new(Code::Usage, "with --request-id, the whole title and --year are needed");
                return Err(failure.hint("they name the same film again, whatever films there are by now"));
            };
            let key = FilmKey::new(&read.title, Some(year));
            return Ok(Film { title: read.title, year: Some(year), key });
        }
        let movie = self.movies.find(&text, year, how, Places::OmdbToo).await?.movie;
        let year = movie.year.map(Year::into);
        let key = FilmKey::new(&movie.title, year);
        Ok(Film { title: movie.title, year, key })
    }

    /// The film of this key, called as the movies call it, if they tell.
    async fn titled(&self, key: FilmKey) -> Film {
        let found = self.movies.find(key.title(), key.year(), How::Naming, Places::Here).await;
        let named =
            found.ok().map(|found| found.movie).filter(|movie| movie.year.map(u16::from) == key.year());
        let title = named.map_or_else(|| key.title().to_owned(), |movie| movie.title);
        Film { title, year: key.year(), key }
    }

    async fn view(&self, person: &Shop, film: RatedFilm) -> Result<(), Ended> {
        let user = person.user().await?;
        let film = self.film(film, How::Reading).await?;
        let stars = self.ratings.view(film.key.clone(), &user).await?;
        let text = format!("The rating that user {user} gave to movie {} was {stars}", film.name());
        self.show(&user, &film, Some(stars), None, None, &text)?;
        person.remember(&user);
        Ok(())
    }

    async fn rate(&self, person: &Shop, Rate { words: mut title, year }: Rate) -> Result<(), Ended> {
        let stars = title.pop().unwrap_or_default();
        let stars: Stars =
            stars.parse().map_err(|error| errors::invalid("stars", format!("{stars:?}: {error}")))?;
        let user = person.user().await?;
        let film = self.film(RatedFilm { title, year }, How::Naming).await?;
        let written = self.ratings.rate(film.key.clone(), &user, stars).await?;
        let rated = |before| {
            let before: Option<Stars> = before;
            let was = before.map_or_else(String::new, |before| format!(", before {before}"));
            format!("Your update has been sent: {} {stars}{was}", film.name())
        };
        self.written(&user, &film, written, Some(stars), "rated", rated)?;
        person.remember(&user);
        Ok(())
    }

    async fn delete(&self, person: &Shop, film: RatedFilm) -> Result<(), Ended> {
        let user = person.user().await?;
        let film = self.film(film, How::Naming).await?;
        let written = self.ratings.delete(film.key.clone(), &user).await?;
        let deleted = |before: Option<Stars>| {
            let was = before.map_or_else(String::new, |before| format!(" {before}"));
            format!("Your update has been sent: {}{was} taken back", film.name())
        };
        self.written(&user, &film, written, None, "deleted", deleted)?;
        person.remember(&user);
        Ok(())
    }

    fn written(
        &self,
        user: &str,
        film: &Film,
        written: Written,
        stars: Option<Stars>,
        done: &'static str,
        text: impl FnOnce(Option<Stars>) -> String,
    ) -> Result<(), Ended> {
        match written {
            Written::Stands(before) => self.show(user, film, stars, before, Some(done), &text(before)),
            Written::Superseded(by) => {
                let text = format!("{}: a later rating of yours stands instead ({by})", film.name());
                self.show(user, film, None, None, Some("superseded"), &text)
            }
        }
    }

    fn show(
        &self,
        user: &str,
        film: &Film,
        rating: Option<Stars>,
        previous: Option<Stars>,
        outcome: Option<&'static str>,
        text: &str,
    ) -> Result<(), Ended> {
        let object = objects::Rating {
            user: user.into(),
            title: film.title.clone(),
            year: film.year,
            rating: rating.map(number),
            previous: previous.map(number),
            outcome,
        };
        self.output.one(&object, |_| escaped(text))
    }

    async fn average(&self, film: RatedFilm) -> Result<(), Ended> {
        let film = self.film(film, How::Reading).await?;
        let mean = self.ratings.average(film.key.clone()).await?;
        self.output.one(&average(&film, mean), |_| escaped(&headline(&film, mean)))
    }

    async fn histogram(&self, film: RatedFilm) -> Result<(), Ended> {
        let film = self.film(film, How::Reading).await?;
        let (mean, buckets) = self.ratings.histogram(film.key.clone()).await?;
        let object = objects::Histogram { average: average(&film, mean), buckets: bars(buckets) };
        let utf8 =
            std::env::var("LC_ALL").or_else(|_| std::env::var("LC_CTYPE")).or_else(|_| std::env::var("LANG"));
        let utf8 = utf8.is_ok_and(|locale| locale.to_lowercase().replace('-', "").contains("utf8"));
        let block = if utf8 && std::io::stdout().is_terminal() { '█' } else { '#' };
        self.output.one(&object, |_| drawn(&escaped(&headline(&film, mean)), buckets, block))
    }

    async fn mine(&self, person: &Shop) -> Result<(), Ended> {
        let user = person.user().await?;
        let mine = stream::iter(self.ratings.mine(&user).await?)
            .map(async |(key, stars)| (self.titled(key).await, stars))
            .buffered(TITLES_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let rating = |(film, stars): &(Film, Stars)| objects::Rating {
            user: user.clone(),
            title: film.title.clone(),
            year: film.year,
            rating: Some(number(*stars)),
            previous: None,
            outcome: None,
        };
        let objects: Vec<_> = mine.iter().map(rating).collect();
        self.output.list(&objects, |screen| match mine.as_slice() {
            [] => "No ratings yet".into(),
            mine => {
                let row = |(film, stars): &(Film, Stars)| vec![film.name(), stars.to_string()];
                table(screen, &[("MOVIE", Lean::Left), ("RATING", Lean::Right)], mine.iter().map(row))
            }
        })?;
        person.remember(&user);
        Ok(())
    }
}

fn number(stars: Stars) -> f64 {
    f64::from(stars.millionths()) / f64::from(Stars::ONE)
}

fn average(film: &Film, mean: Option<Mean>) -> objects::Average {
    objects::Average {
        title: film.title.clone(),
        year: film.year,
        count: mean.map_or(0, |mean| mean.count),
        mean: mean.and_then(|mean| mean.rounded(6).parse().ok()),
    }
}

fn headline(film: &Film, mean: Option<Mean>) -> String {
    match mean {
        None => format!("{}   No ratings yet", film.name()),
        Some(mean) if mean.count == 1 => format!("{}   1 rating   mean {mean}", film.name()),
        Some(mean) => format!("{}   {} ratings   mean {mean}", film.name(), mean.count),
    }
}

fn bars(buckets: [u64; BUCKETS]) -> Vec<objects::Bucket> {
    let halves = (0_u8..).map(|halves| f64::from(halves) / 2.0);
    halves.zip(buckets).map(|(rating, count)| objects::Bucket { rating, count }).collect()
}

/// A row for each half star, the most first.
fn drawn(headline: &str, buckets: [u64; BUCKETS], block: char) -> String {
    /// The longest bar: with the numbers beside it, it fits any terminal.
    const WIDTH: u64 = 40;
    let most = buckets.iter().copied().max().unwrap_or(0).max(1);
    let mut text = headline.to_owned();
    for bucket in bars(buckets).into_iter().rev() {
        // Whoever has a rating has a block.
        let long = usize::try_from((bucket.count * WIDTH).div_ceil(most)).unwrap_or(0);
        let bar: String = std::iter::repeat_n(block, long).collect();
        let _ = write!(text, "\n{:.1} {bar:<40} {:>6}", bucket.rating, bucket.count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_a_row_for_each_half_star_and_a_block_for_whoever_rated() {
        let mut buckets = [0; BUCKETS];
        (buckets[1], buckets[8]) = (1, 82);
        let text = drawn("Toy Story (1995)", buckets, '#');
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 12);
        assert_eq!(rows[3], format!("4.0 {} {:>6}", "#".repeat(40), 82));
        assert_eq!(rows[10], format!("0.5 #{} {:>6}", " ".repeat(39), 1));
        assert!(rows[11].starts_with("0.0 ") && rows[11].ends_with(" 0"));
    }
}
