//! The service of the walks: it counts its commands and mixes them, so that a command that ran twice, ran elsewhere,
//! or ran with other facts shows in every later answer.

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::RequestId;
use common::services::{Applied, RestoreError, StateMachine};

/// What has happened to a [`Ledger`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands run.
    pub count: u32,
    /// All of them, mixed in their order.
    pub mix: u32,
}

impl Tally {
    /// With one command more.
    #[must_use]
    pub fn with(self, request: RequestId, facts: u8, command: u8) -> Self {
        let crc = crc32c::crc32c_append(self.mix, &request.to_bytes());
        Self { count: self.count + 1, mix: crc32c::crc32c_append(crc, &[facts, command]) }
    }

    /// As the service says it.
    pub fn encoded(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.mix)
    }
}

/// The service.
#[derive(Clone)]
pub struct Ledger(Tally);

impl StateMachine for Ledger {
    type Facts = u8;
    type Command = u8;
    type Reply = u64;
    type Query = ();
    type Answer = u64;

    fn start(_: Timestamp, _: &[u8]) -> Result<Self, RestoreError> {
        Ok(Self(Tally::default()))
    }

    fn apply(&mut self, applied: Applied, facts: u8, command: u8) -> u64 {
        self.0 = self.0.with(applied.request, facts, command);
        self.0.encoded()
    }

    fn query(&self, (): ()) -> u64 {
        self.0.encoded()
    }

    fn malformed_command() -> u64 {
        u64::MAX
    }

    fn malformed_query() -> u64 {
        u64::MAX
    }

    fn snapshot(&self) -> Bytes {
        common::services::encode(&self.0.encoded())
    }

    fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        let said: u64 =
            common::services::decode(snapshot).map_err(|error| RestoreError { why: error.to_string() })?;
        let [count, mix] = [said >> 32, said & u64::from(u32::MAX)]
            .map(|half| u32::try_from(half).expect("half of 64 bits"));
        Ok(Self(Tally { count, mix }))
    }
}
