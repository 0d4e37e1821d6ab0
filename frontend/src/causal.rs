//! Which member of a gossip group is asked next: any will do. This connection's last one first, so that it need not
//! fetch what its caller has seen; then the others, in the order of their names.
//!
//! A [`Round`] asks each member once. When all have refused, that is the answer: they have too much to do, or a person
//! has set them so, and waiting would not be asked for. When nobody could be reached, it begins again, until the
//! caller's deadline.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Moment;
use common::names::{Address, Record};
use common::replication::GroupName;
use common::rpc::Outcome;

use crate::failure::Failure;
use crate::router::{GivenUp, Setback};

/// Before everybody is asked again when nobody was there.
const PAUSE: Duration = Duration::from_millis(50);

/// The members of a gossip group, by the name server's word, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    name: GroupName,
    places: Vec<Place>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    address: Address,
    /// Whether it says that it takes calls. Those that do not are asked last: the word may be old.
    online: bool,
}

impl Members {
    /// A group that nothing is known of yet.
    pub fn unknown(name: GroupName) -> Self {
        Self { name, places: Vec::new() }
    }

    /// Its name, which is its service's.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// Takes in the names of all replicas; whether any of this group's changed.
    pub fn name_places(&mut self, records: &[Arc<Record>]) -> bool {
        let tag = format!("id.{}", self.name);
        let ours = records.iter().filter(|record| record.tags.value(&tag).is_some());
        let mut places: Vec<_> = ours
            .filter_map(|record| {
                let online = record.tags.value("status").is_none_or(|status| status == "online");
                Some((record.name.clone(), Place { address: record.target.address()?.clone(), online }))
            })
            .collect();
        places.sort_by(|(a, _), (b, _)| a.cmp(b));
        let places: Vec<_> = places.into_iter().map(|(_, place)| place).collect();
        let news = places != self.places;
        self.places = places;
        news
    }

    /// Every address that may be asked.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.places.iter().map(|place| &place.address)
    }

    /// Whom to ask, in turn, when `last` answered last.
    fn in_turn(&self, last: Option<&Address>) -> Vec<Address> {
        let mut turn: Vec<_> = self.places.iter().collect();
        turn.sort_by_key(|place| (!place.online, Some(&place.address) != last));
        turn.into_iter().map(|place| place.address.clone()).collect()
    }
}

/// One call on its way round a group's members.
#[derive(Debug)]
pub struct Round<E> {
    started: Moment,
    deadline: Moment,
    /// Still to be asked, the next one last.
    turn: Vec<Address>,
    /// What a member refused with, in this turn.
    refused: Option<E>,
    /// Whether a try may have been taken in.
    uncertain: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Ask this member, until then.
    Ask(Address, Moment),
    /// Wait until then, or until more is known of the group; then begin again.
    Wait(Moment),
    /// Answer this.
    End(E),
}

impl<E: Failure> Round<E> {
    /// The round of a call that arrived at `now` over a connection that `last` answered last.
    pub fn new(now: Moment, deadline: Moment, members: &Members, last: Option<&Address>) -> Self {
        let mut round = Self { started: now, deadline, turn: Vec::new(), refused: None, uncertain: false };
        round.begin(members, last);
        round
    }

    /// Begins again.
    pub fn begin(&mut self, members: &Members, last: Option<&Address>) {
        self.turn = members.in_turn(last);
        self.turn.reverse();
        self.refused = None;
    }

    /// The next step.
    pub fn step(&mut self, now: Moment, service: &GroupName) -> Step<E> {
        if now >= self.deadline {
            return Step::End(match self.refused.take() {
                Some(refused) => self.conclude(now, service, refused),
                None => E::given_up(service, &self.given_up(now)),
            });
        }
        if let Some(next) = self.turn.pop() {
            // Whoever waits in vain for what its caller has seen leaves time for the others.
            let share = self.deadline.since(now) / u32::try_from(self.turn.len() + 1).unwrap_or(u32::MAX);
            return Step::Ask(next, now + share);
        }
        match self.refused.take() {
            Some(refused) => Step::End(self.conclude(now, service, refused)),
            None => Step::Wait(self.deadline.min(now + PAUSE)),
        }
    }

    /// Takes in that a try failed.
    pub fn failed(&mut self, setback: &Setback, error: Option<E>) {
        match setback {
            Setback::Lost => self.uncertain = true,
            Setback::Refused | Setback::Busy { .. } => self.refused = error.or(self.refused.take()),
            Setback::Away | Setback::NotPrimary { .. } => {}
        }
    }

    /// What to answer when a member's own error ends the round.
    pub fn conclude(&self, now: Moment, service: &GroupName, error: E) -> E {
        if self.uncertain && error.outcome() == Outcome::NoEffect && !error.speaks_for_all_copies() {
            return E::given_up(service, &self.given_up(now));
        }
        error
    }

    fn given_up(&self, now: Moment) -> GivenUp {
        GivenUp { waited: now.since(self.started), uncertain: self.uncertain, busy: None }
    }
}

#[cfg(test)]
mod tests {
    use common::rpc::replica::SubmitError;

    use super::*;

    fn at(port: u16) -> Address {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    fn members(online: &[bool]) -> Members {
        let place = |(n, online): (usize, &bool)| Place {
            address: at(u16::try_from(n).unwrap() + 1),
            online: *online,
        };
        let places = online.iter().enumerate().map(place).collect();
        Members { name: "ratings".parse().unwrap(), places }
    }

    fn round(members: &Members, last: Option<u16>) -> Round<SubmitError> {
        let last = last.map(at);
        Round::new(Moment::ORIGIN, Moment::ORIGIN + Duration::from_secs(3), members, last.as_ref())
    }

    fn asked(round: &mut Round<SubmitError>, members: &Members) -> (Address, Duration) {
        match round.step(Moment::ORIGIN, members.name()) {
            Step::Ask(address, until) => (address, until.since(Moment::ORIGIN)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_one_is_asked_first_then_by_name_and_those_not_online_at_the_end() {
        let members = members(&[true, false, true]);
        assert_eq!(members.in_turn(None), [at(1), at(3), at(2)]);
        assert_eq!(members.in_turn(Some(&at(3))), [at(3), at(1), at(2)]);
        assert_eq!(members.in_turn(Some(&at(2))), [at(1), at(3), at(2)]);
    }

    #[test]
    fn when_all_have_refused_that_is_the_answer_at_once() {
        let members = members(&[true, true]);
        let mut round = round(&members, None);
        for (port, share) in [(1, 1500), (2, 3000)] {
            assert_eq!(asked(&mut round, &members), (at(port), Duration::from_millis(share)));
            round.failed(&Setback::Refused, Some(SubmitError::Overloaded));
        }
        assert_eq!(round.step(Moment::ORIGIN, members.name()), Step::End(SubmitError::Overloaded));
    }

    #[test]
    fn when_nobody_is_there_all_are_asked_again() {
        let members = members(&[true]);
        let mut round = round(&members, None);
        asked(&mut round, &members);
        round.failed(&Setback::Away, None);
        assert_eq!(round.step(Moment::ORIGIN, members.name()), Step::Wait(Moment::ORIGIN + PAUSE));
        round.begin(&members, None);
        asked(&mut round, &members);
        let late = Moment::ORIGIN + Duration::from_secs(3);
        let service = members.name().clone();
        assert_eq!(
            round.step(late, &service),
            Step::End(SubmitError::NoPrimary { service: service.clone() })
        );
    }

    #[test]
    fn no_refusal_makes_a_lost_try_certain() {
        let members = members(&[true, true]);
        let mut round = round(&members, None);
        asked(&mut round, &members);
        round.failed(&Setback::Lost, None);
        asked(&mut round, &members);
        round.failed(&Setback::Refused, Some(SubmitError::Offline));
        let end = round.step(Moment::ORIGIN, members.name());
        assert!(matches!(end, Step::End(SubmitError::Unacknowledged { .. })), "{end:?}");
    }
}
