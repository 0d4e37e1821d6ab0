use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;

/// Identity of one command, made by the client before the first send and kept for every retry: a UUIDv7
/// (RFC 9562 §5.7), so later ids are greater. Order is that of the 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RequestId(Uuid);

/// Why a text is no [`RequestId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is a UUID of version 7, like 01997e5c-0000-7000-8000-000000000000")]
pub struct BadRequestId;

impl RequestId {
    /// Below every id that a client can make.
    pub const LEAST: Self = Self(Uuid::nil());

    /// The id with this time, this count within its millisecond (12 bits) and these random bits (62).
    pub const fn from_parts(time: Timestamp, count: u16, random: u64) -> Self {
        const TIME_BITS: u64 = (1 << 48) - 1;
        let high = ((time.millis() & TIME_BITS) << 16) | 0x7000 | (count as u64 & 0x0fff);
        let low = (0b10 << 62) | (random & (u64::MAX >> 2));
        Self(Uuid::from_u64_pair(high, low))
    }

    /// When its client says that it was made.
    pub const fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0.as_u64_pair().0 >> 16)
    }

    /// Its 16 bytes, in the order that it is compared by.
    pub const fn to_bytes(self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    /// Where it stands on its client's clock: the time and the count within it, as one number.
    pub const fn ticks(self) -> u64 {
        (self.time().millis() << 12) | self.count() as u64
    }

    const fn count(self) -> u16 {
        (self.0.as_u64_pair().0 & 0x0fff) as u16
    }
}

impl TryFrom<Uuid> for RequestId {
    type Error = BadRequestId;

    fn try_from(uuid: Uuid) -> Result<Self, BadRequestId> {
        let good = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
        // The nil id is what a request table's floor starts from.
        if good || uuid.is_nil() { Ok(Self(uuid)) } else { Err(BadRequestId) }
    }
}

impl FromStr for RequestId {
    type Err = BadRequestId;

    fn from_str(text: &str) -> Result<Self, BadRequestId> {
        match Uuid::try_parse(text).map_err(|_| BadRequestId)?.try_into() {
            Ok(Self::LEAST) | Err(_) => Err(BadRequestId),
            Ok(id) => Ok(id),
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::try_from(Uuid::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Makes request ids that rise within a process and above all that it has observed: a hybrid logical clock
/// (S. Kulkarni et al., *Logical Physical Clocks*, OPODIS 2014, §3). It is told the time and given random bits.
#[derive(Clone, Debug)]
pub struct RequestIdSource {
    last: RequestId,
}

impl Default for RequestIdSource {
    fn default() -> Self {
        Self { last: RequestId::LEAST }
    }
}

impl RequestIdSource {
    /// The next id, above every earlier one.
    pub fn next(&mut self, now: Timestamp, random: u64) -> RequestId {
        /// What 12 bits hold.
        const COUNT_MAX: u16 = 0x0fff;
        let (last, count) = (self.last.time(), self.last.count());
        let (time, count) = match now > last {
            true => (now, 0),
            false if count < COUNT_MAX => (last, count + 1),
            false => (Timestamp::from_millis(last.millis() + 1), 0),
        };
        self.last = RequestId::from_parts(time, count, random);
        self.last
    }

    /// Makes the following ids greater than `seen`.
    pub fn observe(&mut self, seen: RequestId) {
        self.last = self.last.max(seen);
    }

    /// Forgets a clock that ran ahead: the following ids are dated from `now` again.
    pub fn reset(&mut self) {
        self.last = RequestId::LEAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_even_when_the_clock_stands_or_falls() {
        let mut source = RequestIdSource::default();
        let mut last = RequestId::LEAST;
        for now in [5, 5, 4, 5, 6, 1].into_iter().chain(std::iter::repeat_n(1, 10_000)) {
            let id = source.next(Timestamp::from_millis(now), 7);
            assert!(id > last, "{id} after {last}");
            last = id;
        }
    }

    #[test]
    fn the_next_id_is_above_all_that_was_observed_and_no_farther_than_needed() {
        let (mut source, now) = (RequestIdSource::default(), Timestamp::from_millis(5));
        let ahead = RequestId::from_parts(Timestamp::from_millis(9), 7, u64::MAX);
        source.observe(ahead);
        assert_eq!(source.next(now, 0), RequestId::from_parts(Timestamp::from_millis(9), 8, 0));
        source.observe(RequestId::LEAST);
        let full = RequestId::from_parts(Timestamp::from_millis(9), 0x0fff, 0);
        source.observe(full);
        assert_eq!(source.next(now, 0).ticks(), full.ticks() + 1, "the millisecond is full");
        assert_eq!(source.next(Timestamp::from_millis(12), 0).time().millis(), 12);
    }

    #[test]
    fn an_id_reads_back_and_other_uuids_do_not() {
        let id = RequestId::from_parts(Timestamp::from_millis(1_700_000_000_000), 3, 9);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.time().millis(), 1_700_000_000_000);
        assert_eq!(Uuid::nil().to_string().parse::<RequestId>(), Err(BadRequestId));
        assert_eq!(Uuid::new_v4().to_string().parse::<RequestId>(), Err(BadRequestId));
    }
}
