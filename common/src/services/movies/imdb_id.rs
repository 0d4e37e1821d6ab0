//! The number by which the world knows a film.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A film's number at IMDb, shown as `tt0133093`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ImdbId(u64);

/// Why a text or number is no [`ImdbId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an IMDb id is tt and 7 to 10 digits, like tt0133093")]
pub struct BadImdbId;

impl ImdbId {
    /// Ten digits.
    const MAX: u64 = 9_999_999_999;

    /// The film's page.
    pub fn url(self) -> String {
        format!("https://www.imdb.com/title/{self}/")
    }
}

impl TryFrom<u64> for ImdbId {
    type Error = BadImdbId;

    fn try_from(number: u64) -> Result<Self, BadImdbId> {
        if (1..=Self::MAX).contains(&number) { Ok(Self(number)) } else { Err(BadImdbId) }
    }
}

impl From<ImdbId> for u64 {
    fn from(id: ImdbId) -> Self {
        id.0
    }
}

impl FromStr for ImdbId {
    type Err = BadImdbId;

    fn from_str(text: &str) -> Result<Self, BadImdbId> {
        let digits = text.strip_prefix("tt").ok_or(BadImdbId)?;
        if !(7..=10).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadImdbId);
        }
        digits.parse::<u64>().map_err(|_| BadImdbId)?.try_into()
    }
}

impl fmt::Display for ImdbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tt{:07}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        for text in ["tt0000001", "tt0133093", "tt12345678", "tt9999999999"] {
            assert_eq!(text.parse::<ImdbId>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "tt",
            "0133093",
            "tt013309",
            "tt12345678901",
            "tt01330a3",
            "tt+133093",
            "tt0000000",
            "TT0133093",
        ] {
            assert_eq!(bad.parse::<ImdbId>(), Err(BadImdbId), "{bad}");
        }
        assert_eq!(ImdbId(133_093).url(), "https://www.imdb.com/title/tt0133093/");
    }
}
