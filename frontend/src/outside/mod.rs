//! The door: what a command needs to know of the world is found out here, before it is ordered, and put *beside*
//! the client's bytes, which are never edited. So a repeat through another front end, with other facts, is still
//! the same command, and no replica ever waits for anybody outside.
//!
//! What the door itself refuses (a malformed postcode or telephone number, bytes that are no command) is never
//! ordered; the caller gets the service's own refusal, word for word as a replica would encode it. A question about
//! the world, which no replica can answer, it answers itself.
//!
//! **Who is asked**, in reading order: [`postcodes`] decides whom, and what is made of their words
//! (`postcodes_io`, `getthedata`), of what was found out before (`cache`) and of [`data`] of our own, which [`build`]
//! makes; [`films`] decides which film of [`omdb`]'s is the one that was meant. Each service is an [`api`], which is asked with manners and left alone while it is ill ([`breaker`]);
//! [`web`] is the one place that speaks HTTP. Nothing a service says is trusted: lengths are cut, texts checked, and a
//! service that lies can at worst confirm a wrong code.

pub mod api;
pub mod breaker;
pub mod build;
mod cache;
pub mod data;
pub mod films;
mod getthedata;
pub mod omdb;
mod phone;
pub mod postcodes;
mod postcodes_io;
#[cfg(test)]
pub(crate) mod scripted;
pub mod web;

use std::time::Duration;

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::GroupName;
use common::services::just_hungry::{
    self,
    checked::Checked,
    command::{Command, Done, Facts, Verdict},
    query::{Answer, Query},
    refusal::{Field, Refusal, Why},
};
use common::services::movies;
use common::services::phone::Phone;
use common::services::{Outcome, decode, encode};

use films::Films;
use postcodes::Postcodes;
use web::Web;

use crate::meters;

/// What to think of a postcode that nobody could confirm, where the client left it to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes, flagged in the order.
    Lenient,
    /// It is refused.
    Strict,
}

/// Completes commands with facts.
#[derive(Debug)]
pub struct Door<W> {
    postcodes: Postcodes<W>,
    policy: Policy,
    films: Films<W>,
}

/// When somebody comes to the door, and how long they can wait there.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// By the wall clock.
    pub now: Timestamp,
    /// At most.
    pub time: Duration,
}

/// A refusal before ordering: the service's reply, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Bytes);

impl<W: Web> Door<W> {
    /// A door that asks `postcodes` and `films`.
    pub fn new(postcodes: Postcodes<W>, policy: Policy, films: Films<W>) -> Self {
        Self { postcodes, policy, films }
    }

    /// Who knows of films that are not here.
    pub fn films(&self) -> &Films<W> {
        &self.films
    }

    /// Finds the facts for a command of `service`; no bytes when it needs none.
    ///
    /// # Errors
    /// [`Refused`], when it may not be ordered.
    pub async fn complete(
        &self,
        service: &GroupName,
        visit: Visit,
        payload: &[u8],
    ) -> Result<Bytes, Refused> {
        match service.as_str() {
            just_hungry::NAME => self.complete_food(visit, payload).await,
            movies::NAME => allow_film(payload).map(|()| Bytes::new()),
            _ => Ok(Bytes::new()),
        }
    }

    async fn complete_food(&self, visit: Visit, payload: &[u8]) -> Result<Bytes, Refused> {
        let facts = match decode(payload) {
            Ok(command) => self.food(visit, &command).await,
            Err(_) => Err(Refusal::Malformed),
        };
        match facts {
            // The default: nothing was found out.
            Ok(facts) if facts == Facts::default() => Ok(Bytes::new()),
            Ok(facts) => Ok(encode(&facts)),
            Err(refusal) => Err(Refused(encode(&Outcome::<Done, Refusal>::Refused(refusal)))),
        }
    }

    /// Answers a query of `service` that asks about the world; `None`: it is for a replica.
    pub async fn answer(&self, service: &GroupName, visit: Visit, payload: &[u8]) -> Option<Bytes> {
        if service.as_str() != just_hungry::NAME {
            return None;
        }
        let Ok(Query::Postcode { text }) = decode(payload) else { return None };
        let answer = match self.check(visit, &text).await {
            Ok(checked) => Answer::Postcode(checked),
            Err(refusal) => Answer::Refused(refusal),
        };
        Some(encode(&answer))
    }

    async fn food(&self, visit: Visit, command: &Command) -> Result<Facts, Refusal> {
        match command {
            Command::SetDetails { phone, postcode, .. } => Ok(Facts {
                // The number first: it costs no question to anybody.
                phone: phone.as_deref().map(stored_phone).transpose()?,
                verdict: self.verdict(visit, postcode.as_deref()).await?,
                strict: false,
            }),
            Command::PlaceOrder { postcode, .. } => Ok(Facts {
                phone: None,
                verdict: self.verdict(visit, postcode.as_deref()).await?,
                strict: self.policy == Policy::Strict,
            }),
            Command::SetMotd { .. }
            | Command::SetCatalogue { .. }
            | Command::ChangeBasket { .. }
            | Command::CancelOrder { .. } => Ok(Facts::default()),
        }
    }

    async fn verdict(&self, visit: Visit, postcode: Option<&str>) -> Result<Option<Verdict>, Refusal> {
        match postcode {
            Some(text) => self.check(visit, text).await?.verdict().map(Some),
            None => Ok(None),
        }
    }

    /// What is known of what somebody typed. Nobody is asked about what cannot be a postcode.
    async fn check(&self, visit: Visit, text: &str) -> Result<Checked, Refusal> {
        let postcode = text.parse().map_err(|_| {
            meters::postcode_checked("none", "malformed");
            Refusal::postcode_malformed(text)
        })?;
        let checked = self.postcodes.check(postcode, visit.now, visit.time).await;
        meters::postcode_checked(checked.source.as_str(), checked.answer());
        Ok(checked)
    }
}

/// Lets a client's command about films through: what OMDb says is for us to tell.
fn allow_film(payload: &[u8]) -> Result<(), Refused> {
    match decode(payload) {
        Ok(movies::Command::Fill { .. }) | Err(_) => {
            Err(Refused(encode(&movies::Reply::Refused(movies::Refusal::Malformed))))
        }
        Ok(_) => Ok(()),
    }
}

fn stored_phone(text: &str) -> Result<Phone, Refusal> {
    phone::parse(text).ok_or(Refusal::Invalid { field: Field::Phone, at: None, why: Why::Phone })
}

#[cfg(test)]
mod tests;
