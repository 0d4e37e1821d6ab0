//! When a web service is worth asking: one that does not answer is left alone for a while, so that an offline machine
//! waits once per half minute and not once per order. A core: it is given `now`, and counts calls by what became of
//! them. (M. Nygard, *Release It!*, "Circuit Breaker".)

use std::time::Duration;

use common::clock::Moment;

/// One failure may be a dropped connection; a second in a row is an outage.
const FAILURES_MAX: u32 = 2;
/// Short enough that a service which is back is soon used again.
const REST: Duration = Duration::from_secs(30);

/// Whether one service may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Counts the rests: a call that began before one tells nothing about the time after it.
    round: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everybody may ask; so many calls in a row have failed.
    Works { failed: u32 },
    /// Nobody may ask before this.
    Rests { until: Moment },
    /// The rest is over, and one call is finding out.
    IsTried,
}

/// Leave to make one call; it is given back with what became of that.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    round: u64,
}

/// What became of a call that brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It took too long: nobody should have to wait like that again.
    TimedOut,
    /// It failed at once, or what came is no answer.
    Broken,
}

/// What changed, for a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not asked any more.
    Rests,
    /// It is asked again.
    Works,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Works { failed: 0 }, round: 0 }
    }
}

impl Breaker {
    /// Leave for a call now, if the service may be asked. After a rest, one call has it until it is given back.
    pub fn leave(&mut self, now: Moment) -> Option<Leave> {
        match self.state {
            State::Works { .. } => {}
            State::Rests { until } if until <= now => self.state = State::IsTried,
            State::Rests { .. } | State::IsTried => return None,
        }
        Some(Leave { round: self.round })
    }

    /// The call was answered.
    pub fn answered(&mut self, leave: &Leave) -> Option<Change> {
        if leave.round != self.round {
            return None;
        }
        let before = std::mem::replace(&mut self.state, State::Works { failed: 0 });
        (before == State::IsTried).then_some(Change::Works)
    }

    /// The call failed.
    pub fn failed(&mut self, now: Moment, leave: &Leave, failure: Failure) -> Option<Change> {
        match self.state {
            _ if leave.round != self.round => return None,
            State::Works { failed } if failure == Failure::Broken && failed + 1 < FAILURES_MAX => {
                self.state = State::Works { failed: failed + 1 };
                return None;
            }
            _ => {}
        }
        let before = std::mem::replace(&mut self.state, State::Rests { until: now + REST });
        self.round += 1;
        (before != State::IsTried).then_some(Change::Rests)
    }

    /// The call was given up before anything became of it: somebody else may find out.
    pub fn given_up(&mut self, now: Moment, leave: &Leave) {
        if leave.round == self.round && self.state == State::IsTried {
            self.state = State::Rests { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(seconds))
    }

    fn fail(breaker: &mut Breaker, now: Moment, failure: Failure) -> Option<Change> {
        let leave = breaker.leave(now).expect("it may be asked");
        breaker.failed(now, &leave, failure)
    }

    #[test]
    fn a_timeout_or_two_failures_in_a_row_are_a_rest_of_half_a_minute() {
        let mut slow = Breaker::default();
        assert_eq!(fail(&mut slow, at(0), Failure::TimedOut), Some(Change::Rests));
        let mut broken = Breaker::default();
        assert_eq!(fail(&mut broken, at(0), Failure::Broken), None);
        assert_eq!(fail(&mut broken, at(0), Failure::Broken), Some(Change::Rests));
        for mut breaker in [slow, broken] {
            assert_eq!(breaker.leave(at(29)), None);
            assert!(breaker.leave(at(30)).is_some());
        }
    }

    #[test]
    fn an_answer_between_them_makes_two_failures_none() {
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            assert_eq!(fail(&mut breaker, at(0), Failure::Broken), None);
            let leave = breaker.leave(at(0)).unwrap();
            assert_eq!(breaker.answered(&leave), None);
        }
    }

    #[test]
    fn breaker_recovers() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, at(0), Failure::TimedOut);
        let trial = breaker.leave(at(30)).unwrap();
        assert_eq!(breaker.leave(at(31)), None, "one call finds out");
        assert_eq!(breaker.failed(at(31), &trial, Failure::Broken), None, "it rests as before");
        assert_eq!(breaker.leave(at(60)), None);
        let trial = breaker.leave(at(61)).unwrap();
        assert_eq!(breaker.answered(&trial), Some(Change::Works));
        assert!(breaker.leave(at(61)).is_some() && breaker.leave(at(61)).is_some());
    }

    #[test]
    fn a_call_from_before_the_rest_changes_nothing() {
        let mut breaker = Breaker::default();
        let (first, second, third) =
            (breaker.leave(at(0)).unwrap(), breaker.leave(at(0)).unwrap(), breaker.leave(at(0)).unwrap());
        assert_eq!(breaker.failed(at(1), &first, Failure::TimedOut), Some(Change::Rests));
        assert_eq!(breaker.failed(at(20), &second, Failure::TimedOut), None);
        assert_eq!(breaker.answered(&third), None);
        assert_eq!(breaker.leave(at(30)), None, "the rest began when the first call failed");
        assert!(breaker.leave(at(31)).is_some());
    }

    #[test]
    fn a_trial_that_is_given_up_is_the_next_callers() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, at(0), Failure::TimedOut);
        let trial = breaker.leave(at(30)).unwrap();
        breaker.given_up(at(31), &trial);
        let trial = breaker.leave(at(31)).unwrap();
        assert_eq!(breaker.answered(&trial), Some(Change::Works));
        breaker.given_up(at(31), &trial);
        assert!(breaker.leave(at(31)).is_some(), "giving up what works changes nothing");
    }
}
