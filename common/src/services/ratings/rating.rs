//! How many stars.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A rating from 0 to 5 stars, in millionths of one. Never a float: sums must agree bit for bit on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Rating(u32);

/// Why something is no [`Rating`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rating is a number from 0 to 5, like 4, 2.5 or 3.14159")]
pub struct BadRating;

/// Of a histogram: 0.0, 0.5, and so on to 5.0.
pub const BUCKETS: usize = 11;

impl Rating {
    /// Five stars.
    pub const MAX: Self = Self(5 * Self::ONE);
    /// Millionths of a star.
    pub const ONE: u32 = 1_000_000;

    /// In millionths of a star.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// The bucket of a histogram whose half star is nearest; halfway it is the next one.
    pub const fn bucket(self) -> usize {
        ((self.0 + Self::ONE / 4) / (Self::ONE / 2)) as usize
    }
}

impl TryFrom<u32> for Rating {
    type Error = BadRating;

    fn try_from(millionths: u32) -> Result<Self, BadRating> {
        if millionths <= Self::MAX.0 { Ok(Self(millionths)) } else { Err(BadRating) }
    }
}

impl From<Rating> for u32 {
    fn from(rating: Rating) -> Self {
        rating.0
    }
}

impl FromStr for Rating {
    type Err = BadRating;

    /// Reads a decimal number from 0 to 5; what is beyond six decimals is rounded, half up.
    fn from_str(text: &str) -> Result<Self, BadRating> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let text = text.trim();
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(whole) || !digits(decimals) {
            return Err(BadRating);
        }
        let whole: u32 = whole.parse().map_err(|_| BadRating)?;
        let six: u32 = format!("{decimals:0<6.6}").parse().map_err(|_| BadRating)?;
        let up = u32::from(decimals.as_bytes().get(6).is_some_and(|digit| *digit >= b'5'));
        whole.checked_mul(Self::ONE).and_then(|sum| sum.checked_add(six + up)).ok_or(BadRating)?.try_into()
    }
}

impl fmt::Display for Rating {
    /// Without needless zeros, but for one: `4.0`, `2.5`, `3.14159`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % Self::ONE);
        let kept = decimals.trim_end_matches('0').len().max(1);
        f.pad(&format!("{}.{}", self.0 / Self::ONE, &decimals[..kept]))
    }
}

/// The mean of some ratings, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mean {
    /// All of them together, in millionths of a star.
    pub sum: u64,
    /// How many; at least one.
    pub count: u64,
}

impl Mean {
    /// With so many decimals, six at most, rounded half up.
    pub fn rounded(self, decimals: u32) -> String {
        let scale = 10_u128.pow(decimals.min(6));
        let (sum, count) = (u128::from(self.sum), u128::from(self.count.max(1)));
        let per = count * u128::from(Rating::ONE);
        let scaled = (sum * scale * 2 + per) / (per * 2);
        match decimals {
            0 => scaled.to_string(),
            _ => format!("{}.{:0width$}", scaled / scale, scaled % scale, width = decimals.min(6) as usize),
        }
    }
}

impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.rounded(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_any_decimal_number_from_0_to_5() {
        for (text, millionths, shown) in [
            ("4", 4_000_000, "4.0"),
            ("2.5", 2_500_000, "2.5"),
            ("3.14159", 3_141_590, "3.14159"),
            ("0", 0, "0.0"),
            (" 5.000000 ", 5_000_000, "5.0"),
            ("0.0000005", 1, "0.000001"),
            ("0.00000049", 0, "0.0"),
            ("4.9999999", 5_000_000, "5.0"),
        ] {
            assert_eq!(text.parse(), Ok(Rating(millionths)), "{text}");
            assert_eq!(Rating(millionths).to_string(), shown);
        }
        for text in
            ["", "-1", "+1", "5.000001", "5.0000005", "6", "1e0", "nan", "inf", "1,5", ".5", "1.", "٣", "1 0"]
        {
            assert_eq!(text.parse::<Rating>(), Err(BadRating), "{text}");
        }
    }

    #[test]
    fn each_rating_has_its_bucket() {
        for (text, bucket) in [("0.249999", 0), ("0.25", 1), ("2.75", 6), ("4.749999", 9), ("5", 10)] {
            assert_eq!(text.parse::<Rating>().unwrap().bucket(), bucket, "{text}");
        }
        assert_eq!(Rating::MAX.bucket(), BUCKETS - 1);
    }

    #[test]
    fn a_mean_is_rounded_half_up_and_only_when_it_is_shown() {
        let mean = |sum, count| Mean { sum, count };
        // Toy Story (1995) in the MovieLens data: 215 ratings, 843 stars.
        assert_eq!(mean(843_000_000, 215).rounded(6), "3.920930");
        assert_eq!(mean(843_000_000, 215).to_string(), "3.92");
        assert_eq!(mean(7_010_000, 2).to_string(), "3.51");
        assert_eq!(mean(4_000_000, 1).rounded(0), "4");
        assert_eq!(mean(5_000_000, 3).to_string(), "1.67");
    }
}
