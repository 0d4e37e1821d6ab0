//! One question to a web service and its answer, over HTTP.

use std::cell::OnceCell;
use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::redirect;
use url::{Host, Url};

/// Ten times the longest true answer.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// A service that cannot be reached in a second is not worth the rest of a person's patience.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// Who asks.
const USER_AGENT: &str = concat!("just-hungry-", env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Asks the world. Whoever calls it bounds the time.
pub trait Web {
    /// What is at `url`.
    ///
    /// # Errors
    /// [`Broken`], when there is no whole answer.
    fn get(&self, url: &Url) -> impl Future<Output = Result<Page, Broken>>;
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// All of its body.
    pub body: Bytes,
}

/// Why there is no answer. No text of it names the address that was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Refused, or cut off: worth one more try.
    #[error("connection refused or cut: {why}")]
    Connection {
        /// In the library's words.
        why: String,
    },
    /// Over 64 KiB.
    #[error("the answer is longer than 64 KiB")]
    TooLong,
    /// We cannot ask anybody: this machine has no root certificates, for example.
    #[error("no HTTP client: {why}")]
    NoClient {
        /// In the library's words.
        why: String,
    },
}

/// The real world. A client is made at the first question: a front end that never asks needs no certificates, and
/// one that finds none serves all the same.
#[derive(Debug, Default)]
pub struct Http {
    far: OnceCell<Result<reqwest::Client, Broken>>,
    near: OnceCell<Result<reqwest::Client, Broken>>,
}

impl Http {
    fn client(&self, url: &Url) -> Result<&reqwest::Client, Broken> {
        let client = if is_this_machine(url) {
            // A proxy would look for the address on its own machine.
            self.near.get_or_init(|| client(reqwest::ClientBuilder::no_proxy))
        } else {
            self.far.get_or_init(|| client(|builder| builder))
        };
        client.as_ref().map_err(Clone::clone)
    }
}

/// Whether what is asked for never leaves this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

impl Web for Http {
    async fn get(&self, url: &Url) -> Result<Page, Broken> {
        let mut response = self.client(url)?.get(url.clone()).send().await.map_err(cut)?;
        if response.content_length().is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(Broken::TooLong);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(cut)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Broken::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Page { status: response.status().as_u16(), body: body.freeze() })
    }
}

fn client(proxy: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<reqwest::Client, Broken> {
    // Another library of this process may have chosen one before; there is only ring to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIME);
    proxy(builder).build().map_err(|error| Broken::NoClient { why: in_words(error) })
}

fn cut(error: reqwest::Error) -> Broken {
    Broken::Connection { why: in_words(error) }
}

/// The error and its causes, without the address: a key may stand in it.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
