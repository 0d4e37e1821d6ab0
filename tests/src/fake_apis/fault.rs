//! What can go wrong with a web service.

use std::convert::Infallible;
use std::future::pending;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use tokio::time::sleep;

use super::listeners::Twin;
use super::text;

/// A misfortune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// None.
    #[default]
    None,
    /// This status, with an empty body.
    Status(u16),
    /// The question is taken and never answered.
    Hang,
    /// The answer comes late.
    Slow(Duration),
    /// Half a body, then a reset.
    Cut,
    /// A byte a second.
    Drip,
    /// 200, and JSON that ends too early.
    BadJson,
    /// 200, and a web page.
    Html,
    /// 200, and ten megabytes.
    Huge,
    /// The answer about another postcode, another film.
    Lie,
    /// To another address of this server.
    Redirect,
    /// Nobody listens at the service's own address; elsewhere, and for a number of calls, the connection is reset.
    Refuse,
}

/// A word that is no [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no fault {0}; there are none, status:CODE, hang, slow:TIME (like slow:300ms), cut, drip, bad_json, html, huge, lie, \
     redirect, refuse"
)]
pub struct BadFault(String);

impl Fault {
    /// One of each, for tests that go through all of them.
    pub const EACH: [Self; 14] = [
        Self::Status(404),
        Self::Status(429),
        Self::Status(500),
        Self::Status(522),
        Self::Hang,
        Self::Slow(Duration::from_mins(1)),
        Self::Cut,
        Self::Drip,
        Self::BadJson,
        Self::Html,
        Self::Huge,
        Self::Lie,
        Self::Redirect,
        Self::Refuse,
    ];

    /// Lets it befall a call whose true answer `answer` would be.
    pub(super) async fn befall(self, twin: &Twin, answer: impl Future<Output = Response>) -> Response {
        /// Far over what anybody reads.
        const HUGE: usize = 10 * 1024 * 1024;
        match self {
            Self::None | Self::Lie => answer.await,
            Self::Status(status) => text(status, String::new()),
            Self::Hang => pending().await,
            Self::Slow(time) => {
                sleep(time).await;
                answer.await
            }
            Self::Cut => {
                let whole = body(answer.await).await;
                let half = whole.slice(..whole.len() / 2);
                twin.reset_at_the_end();
                let broken = stream::iter([Ok(half), Err("cut")]).then(async |part| {
                    // The half is on its way before the end is.
                    sleep(Duration::from_millis(20)).await;
                    part
                });
                Body::from_stream(broken).into_response()
            }
            Self::Drip => {
                let bytes = stream::iter(body(answer.await).await).then(async |byte| {
                    sleep(Duration::from_secs(1)).await;
                    Ok::<_, Infallible>(Bytes::from(vec![byte]))
                });
                Body::from_stream(bytes).into_response()
            }
            Self::BadJson => {
                let whole = body(answer.await).await;
                text(200, String::from_utf8_lossy(&whole[..whole.len() / 2]).into_owned())
            }
            Self::Html => (
                [("content-type", "text/html")],
                "<!doctype html><title>Just a moment…</title><p>Are you a person?",
            )
                .into_response(),
            Self::Huge => text(200, format!("[{}]", " ".repeat(HUGE))),
            Self::Redirect => {
                (axum::http::StatusCode::FOUND, [("location", "/postcodes/M1%201AE")]).into_response()
            }
            Self::Refuse => {
                twin.reset_at_the_end();
                Body::from_stream(stream::iter([Err::<Bytes, _>("refused")])).into_response()
            }
        }
    }
}

async fn body(response: Response) -> Bytes {
    to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default()
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(word: &str) -> Result<Self, BadFault> {
        let bad = || BadFault(word.to_owned());
        Ok(match word.split_once(':') {
            Some(("status", code)) => {
                Self::Status(code.parse().ok().filter(|code| (200..600).contains(code)).ok_or_else(bad)?)
            }
            Some(("slow", time)) => Self::Slow(duration(time).ok_or_else(bad)?),
            None => match word {
                "none" => Self::None,
                "hang" => Self::Hang,
                "cut" => Self::Cut,
                "drip" => Self::Drip,
                "bad_json" => Self::BadJson,
                "html" => Self::Html,
                "huge" => Self::Huge,
                "lie" => Self::Lie,
                "redirect" => Self::Redirect,
                "refuse" => Self::Refuse,
                _ => return Err(bad()),
            },
            Some(_) => return Err(bad()),
        })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..unit_at].parse().ok()?;
    match &text[unit_at..] {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_word_with_a_number_where_it_needs_one() {
        for (word, fault) in [
            ("none", Fault::None),
            ("status:522", Fault::Status(522)),
            ("slow:300ms", Fault::Slow(Duration::from_millis(300))),
            ("slow:2s", Fault::Slow(Duration::from_secs(2))),
            ("bad_json", Fault::BadJson),
        ] {
            assert_eq!(word.parse(), Ok(fault));
        }
        for word in ["", "hangs", "status", "status:99", "slow:", "slow:3", "hang:1"] {
            assert!(word.parse::<Fault>().is_err(), "{word}");
        }
    }
}
