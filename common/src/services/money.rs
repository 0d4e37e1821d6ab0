//! Amounts of money.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount in pence. Never a float: totals must agree bit for bit on every replica.
///
/// Arithmetic stops at the greatest amount. The services' bounds keep sums far below it; a state restored from
/// foreign bytes must not end a process either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pence(u64);

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is written like 12, 12.5 or £12.50")]
pub struct BadPence;

impl Pence {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// This many pence.
    pub const fn new(pence: u64) -> Self {
        Self(pence)
    }

    /// How many pence.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Add for Pence {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u32> for Pence {
    type Output = Self;

    fn mul(self, times: u32) -> Self {
        Self(self.0.saturating_mul(times.into()))
    }
}

impl Sum for Pence {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl FromStr for Pence {
    type Err = BadPence;

    /// Reads pounds with at most two decimals: `12`, `12.5`, `12.50`, each with or without `£`. No sign, exponent
    /// or thousands comma.
    fn from_str(text: &str) -> Result<Self, BadPence> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let text = text.trim();
        let text = text.strip_prefix('£').unwrap_or(text);
        let (pounds, decimals) = text.split_once('.').unwrap_or((text, "00"));
        if !digits(pounds) || !digits(decimals) || decimals.len() > 2 {
            return Err(BadPence);
        }
        let pounds: u64 = pounds.parse().map_err(|_| BadPence)?;
        let pence: u64 = format!("{decimals:0<2}").parse().map_err(|_| BadPence)?;
        pounds.checked_mul(100).and_then(|sum| sum.checked_add(pence)).map(Self).ok_or(BadPence)
    }
}

impl fmt::Display for Pence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("£{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_in_pounds_and_shown_with_two_decimals() {
        for (text, pence) in [
            ("12", 1200),
            ("12.5", 1250),
            ("12.50", 1250),
            ("£12.50", 1250),
            (" 0.07 ", 7),
            ("0", 0),
            ("007", 700),
        ] {
            assert_eq!(text.parse(), Ok(Pence(pence)), "{text}");
        }
        assert_eq!(Pence(1250).to_string(), "£12.50");
        assert_eq!(Pence(7).to_string(), "£0.07");
        assert_eq!(format!("{:>7}", Pence(685)), "  £6.85");
    }

    #[test]
    fn signs_exponents_words_commas_and_third_decimals_are_no_amounts() {
        for text in [
            "",
            "£",
            "-1",
            "+1",
            "1e3",
            "nan",
            "inf",
            "1,000",
            "1.005",
            "1.",
            ".5",
            "1.5.0",
            "££1",
            "1 0",
            "٣",
            "1.٣",
            "184467440737095517",
            "99999999999999999999999",
        ] {
            assert_eq!(text.parse::<Pence>(), Err(BadPence), "{text}");
        }
    }

    #[test]
    fn the_greatest_amount_is_where_sums_stop() {
        assert_eq!(Pence(u64::MAX) + Pence(1), Pence(u64::MAX));
        assert_eq!(Pence(u64::MAX) * 2, Pence(u64::MAX));
    }
}
