//! The door: what a command needs to know of the world is found out here, before it is ordered, and put *beside*
//! the client's bytes, which are never edited. So a repeat through another front end, with other facts, is still
//! the same command, and no replica ever waits for anybody outside.
//!
//! What the door itself refuses (a malformed postcode or telephone number, bytes that are no command) is never
//! ordered; the caller gets the service's own refusal, word for word as a replica would encode it.

mod phone;
pub mod postcodes;

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::GroupName;
use common::services::just_hungry::{
    self,
    command::{Command, Done, Facts, Verdict},
    refusal::{Field, Refusal, Why},
};
use common::services::phone::Phone;
use common::services::postcode::INPUT_CHARS_MAX;
use common::services::{Outcome, decode, encode};

use postcodes::PostcodeCheck;

/// What to think of a postcode that nobody could confirm, where the client left it to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes, flagged in the order.
    Lenient,
    /// It is refused.
    Strict,
}

/// Completes commands with facts.
#[derive(Clone, Debug)]
pub struct Door<P> {
    postcodes: P,
    policy: Policy,
}

/// A refusal before ordering: the service's reply, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Bytes);

impl<P: PostcodeCheck> Door<P> {
    /// A door that asks `postcodes`.
    pub fn new(postcodes: P, policy: Policy) -> Self {
        Self { postcodes, policy }
    }

    /// Finds the facts for a command of `service` that came at `now`; no bytes when it needs none.
    ///
    /// # Errors
    /// [`Refused`], when it may not be ordered.
    pub async fn complete(
        &self,
        service: &GroupName,
        now: Timestamp,
        payload: &[u8],
    ) -> Result<Bytes, Refused> {
        if service.as_str() != just_hungry::NAME {
            return Ok(Bytes::new());
        }
        let facts = match decode(payload) {
            Ok(command) => self.food(now, &command).await,
            Err(_) => Err(Refusal::Malformed),
        };
        match facts {
            // The default: nothing was found out.
            Ok(facts) if facts == Facts::default() => Ok(Bytes::new()),
            Ok(facts) => Ok(encode(&facts)),
            Err(refusal) => Err(Refused(encode(&Outcome::<Done, Refusal>::Refused(refusal)))),
        }
    }

    async fn food(&self, now: Timestamp, command: &Command) -> Result<Facts, Refusal> {
        match command {
            Command::SetDetails { phone, postcode, .. } => Ok(Facts {
                // The number first: it costs no question to anybody.
                phone: phone.as_deref().map(stored_phone).transpose()?,
                verdict: self.verdict(now, postcode.as_deref()).await?,
                strict: false,
            }),
            Command::PlaceOrder { postcode, .. } => Ok(Facts {
                phone: None,
                verdict: self.verdict(now, postcode.as_deref()).await?,
                strict: self.policy == Policy::Strict,
            }),
            Command::SetMotd { .. }
            | Command::SetCatalogue { .. }
            | Command::ChangeBasket { .. }
            | Command::CancelOrder { .. } => Ok(Facts::default()),
        }
    }

    async fn verdict(&self, now: Timestamp, postcode: Option<&str>) -> Result<Option<Verdict>, Refusal> {
        let Some(text) = postcode else { return Ok(None) };
        let Ok(postcode) = text.parse() else {
            return Err(Refusal::PostcodeMalformed { text: text.chars().take(INPUT_CHARS_MAX).collect() });
        };
        self.postcodes.check(postcode, now).await.map(Some)
    }
}

fn stored_phone(text: &str) -> Result<Phone, Refusal> {
    phone::parse(text).ok_or(Refusal::Invalid { field: Field::Phone, at: None, why: Why::Phone })
}

#[cfg(test)]
mod tests;
