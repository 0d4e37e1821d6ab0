//! The judge of sessions: what each person must see, whichever replica answers (D. Terry et al., *Session Guarantees for
//! Weakly Consistent Replicated Data*, PDIS 1994).
//!
//! Every write of a cell bears an id of its own, and of two the higher stands; a view tells the id that it saw. So each
//! person, and each write, has a *past*: of every cell the highest id that was surely seen before. Who sees a write
//! inherits its past. No view may be below its person's past: that is reading one's own writes, never going back, and
//! no effect without its cause, in one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use common::replication::RequestId;

/// A call of one person, in the order in which they made them, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whose.
    pub person: usize,
    /// About what.
    pub cell: usize,
    /// What they did.
    pub what: What,
}

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Sent this write, whose outcome is told later, if ever.
    Sent(RequestId),
    /// It was acknowledged.
    Acknowledged(RequestId),
    /// Saw this write; `None`: nothing there.
    Saw(Option<RequestId>),
}

/// What is wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person does not see their own write.
    OwnWriteMissed,
    /// A person saw something, and later something older.
    WentBack,
    /// A person saw an effect, and not its cause.
    EffectWithoutCause,
    /// Somebody saw what nobody wrote.
    Invented,
}

/// A breach, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Of what kind.
    pub kind: Kind,
    /// The call that shows it: its place in the history.
    pub at: usize,
    /// What was seen.
    pub saw: Option<RequestId>,
    /// What should have been seen, or something later.
    pub due: Option<RequestId>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, at, saw, due } = self;
        write!(f, "{kind:?} at call {at}: saw {saw:?}, due {due:?}")
    }
}

/// Of each cell, the highest id seen, and how it came to be known.
type Past = BTreeMap<usize, (RequestId, Kind)>;

fn learn(past: &mut Past, cell: usize, id: RequestId, how: Kind) {
    let known = past.entry(cell).or_insert((id, how));
    if id > known.0 {
        *known = (id, how);
    }
}

/// A write, and what its person had seen when it was sent; `None`: it was not come to yet.
type Writes = BTreeMap<RequestId, (usize, Option<Past>)>;

/// Judges the calls of all persons. Those of one person stand in their order; how several are mixed does not matter.
pub fn judge(calls: &[Call]) -> Vec<Breach> {
    let sent = calls.iter().filter_map(|call| match call.what {
        What::Sent(id) => Some((id, (call.cell, None))),
        _ => None,
    });
    let mut writes: Writes = sent.collect();
    let mut waiting: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
    for (at, call) in calls.iter().enumerate() {
        waiting.entry(call.person).or_default().push_back(at);
    }
    let mut people: BTreeMap<usize, Past> = BTreeMap::new();
    let mut breaches = Vec::new();
    // Everybody goes on as far as what they saw is known to have been sent. When all wait, time went in a circle: the
    // first one goes on all the same.
    while let Some(first) = waiting.iter().find(|(_, calls)| !calls.is_empty()).map(|(person, _)| *person) {
        let mut all_wait = true;
        for (person, own) in &mut waiting {
            while let Some(&at) = own.front() {
                let known = match calls[at].what {
                    What::Saw(Some(id)) => writes.get(&id).is_none_or(|(_, past)| past.is_some()),
                    _ => true,
                };
                if !known {
                    break;
                }
                own.pop_front();
                take(at, calls[at], people.entry(*person).or_default(), &mut writes, &mut breaches);
                all_wait = false;
            }
        }
        if all_wait && let Some(at) = waiting.get_mut(&first).and_then(VecDeque::pop_front) {
            take(at, calls[at], people.entry(first).or_default(), &mut writes, &mut breaches);
        }
    }
    breaches.sort_by_key(|breach| breach.at);
    breaches
}

fn take(at: usize, call: Call, past: &mut Past, writes: &mut Writes, breaches: &mut Vec<Breach>) {
    let Call { cell, what, .. } = call;
    match what {
        What::Sent(id) => {
            let known = writes.get_mut(&id).expect("all were noted");
            known.1.get_or_insert_with(|| past.clone());
        }
        What::Acknowledged(id) => learn(past, cell, id, Kind::OwnWriteMissed),
        What::Saw(saw) => {
            let due = past.get(&cell).copied();
            if let Some((due, kind)) = due.filter(|(due, _)| saw.is_none_or(|saw| saw < *due)) {
                breaches.push(Breach { kind, at, saw, due: Some(due) });
            }
            let Some(id) = saw else { return };
            match writes.get(&id) {
                Some((of, inherited)) if *of == cell => {
                    for (&cell, &(id, _)) in inherited.iter().flatten() {
                        learn(past, cell, id, Kind::EffectWithoutCause);
                    }
                    learn(past, cell, id, Kind::WentBack);
                }
                _ => breaches.push(Breach { kind: Kind::Invented, at, saw, due: None }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;

    use super::*;

    const A: usize = 0;
    const B: usize = 1;

    fn id(n: u64) -> RequestId {
        RequestId::from_parts(Timestamp::from_millis(n), 0, 0)
    }

    fn wrote(person: usize, cell: usize, n: u64) -> [Call; 2] {
        [What::Sent(id(n)), What::Acknowledged(id(n))].map(|what| Call { person, cell, what })
    }

    fn saw(person: usize, cell: usize, n: u64) -> [Call; 1] {
        [Call { person, cell, what: What::Saw((n > 0).then(|| id(n))) }]
    }

    fn kinds(calls: &[&[Call]]) -> Vec<Kind> {
        judge(&calls.concat()).iter().map(|breach| breach.kind).collect()
    }

    #[test]
    fn who_sees_their_own_writes_and_later_ones_of_others_is_content() {
        assert!(
            kinds(&[&saw(1, A, 0), &wrote(1, A, 5), &wrote(2, A, 7), &saw(1, A, 5), &saw(1, A, 7)])
                .is_empty()
        );
        // A write of unknown outcome may be seen or not.
        let sent = Call { person: 1, cell: A, what: What::Sent(id(9)) };
        assert!(kinds(&[&[sent], &saw(1, A, 0), &saw(2, A, 9), &saw(1, A, 9)]).is_empty());
        // Somebody who has seen nothing of it need not see it yet.
        assert!(kinds(&[&wrote(1, A, 5), &saw(2, A, 0), &saw(2, B, 0)]).is_empty());
    }

    #[test]
    fn an_own_write_that_is_missed_is_noticed() {
        assert_eq!(kinds(&[&wrote(1, A, 5), &saw(1, A, 0)]), [Kind::OwnWriteMissed]);
        assert_eq!(kinds(&[&wrote(2, A, 3), &wrote(1, A, 5), &saw(1, A, 3)]), [Kind::OwnWriteMissed]);
    }

    #[test]
    fn a_person_who_goes_back_is_noticed() {
        let before = [wrote(1, A, 3), wrote(1, A, 5)].concat();
        assert_eq!(kinds(&[&before, &saw(2, A, 5), &saw(2, A, 3)]), [Kind::WentBack]);
        assert_eq!(kinds(&[&before, &saw(2, A, 5), &saw(2, A, 0)]), [Kind::WentBack]);
    }

    #[test]
    fn an_effect_without_its_cause_is_noticed_however_far_it_went() {
        // 1 writes A; 2 sees it and writes B; 3 sees B, and not A.
        let chain = [&wrote(1, A, 3)[..], &saw(2, A, 3), &wrote(2, B, 4)].concat();
        assert_eq!(kinds(&[&chain, &saw(3, B, 4), &saw(3, A, 0)]), [Kind::EffectWithoutCause]);
        assert!(kinds(&[&chain, &saw(3, A, 0), &saw(3, B, 4), &saw(3, A, 3)]).is_empty());
        // And of one person's two writes, the second is the effect.
        let two = [wrote(1, A, 3), wrote(1, B, 4)].concat();
        assert_eq!(kinds(&[&two, &saw(2, B, 4), &saw(2, A, 0)]), [Kind::EffectWithoutCause]);
    }

    #[test]
    fn what_nobody_wrote_is_noticed() {
        assert_eq!(kinds(&[&wrote(1, A, 3), &saw(2, A, 4)]), [Kind::Invented]);
        assert_eq!(kinds(&[&wrote(1, A, 3), &saw(2, B, 3)]), [Kind::Invented], "it is another cell's");
    }
}
