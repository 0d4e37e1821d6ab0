//! What was found out about postcodes lately. A core: it is given `now`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::clock::Moment;
use common::services::just_hungry::checked::{Checked, Finding};
use common::services::postcode::Postcode;

/// As many codes as a city orders from, in a megabyte.
const CODES_MAX: usize = 10_000;
/// A postcode in use is in use tomorrow.
const VALID_FOR: Duration = Duration::from_hours(24);
/// A new street may be known an hour from now.
const REFUSED_FOR: Duration = Duration::from_hours(1);

/// Findings, each kept for its time. When there are too many, the one that would go first goes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    found: BTreeMap<Postcode, (Moment, Checked)>,
    ends: BTreeSet<(Moment, Postcode)>,
}

impl Cache {
    pub(super) fn get(&self, now: Moment, postcode: Postcode) -> Option<&Checked> {
        self.found.get(&postcode).filter(|(until, _)| now < *until).map(|(_, checked)| checked)
    }

    /// Keeps a finding; "nobody could say" is none.
    pub(super) fn put(&mut self, now: Moment, checked: &Checked) {
        let time = match checked.finding {
            Finding::Valid => VALID_FOR,
            Finding::Unknown { .. } | Finding::Retired { .. } => REFUSED_FOR,
            Finding::Unconfirmed { .. } => return,
        };
        let (postcode, until) = (checked.postcode, now + time);
        if let Some((before, _)) = self.found.insert(postcode, (until, checked.clone())) {
            self.ends.remove(&(before, postcode));
        }
        self.ends.insert((until, postcode));
        if self.found.len() > CODES_MAX
            && let Some((_, first)) = self.ends.pop_first()
        {
            self.found.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::services::just_hungry::checked::Doubt;
    use common::services::just_hungry::command::Source;

    use super::*;

    fn at(hours: u64) -> Moment {
        Moment::after_origin(Duration::from_hours(hours))
    }

    fn checked(code: &str, finding: Finding) -> Checked {
        let (postcode, source) = (code.parse().unwrap(), Source::PostcodesIo);
        Checked { postcode, finding, source, town: None, checked: Timestamp::default() }
    }

    #[test]
    fn a_finding_is_kept_for_its_time_and_a_doubt_not_at_all() {
        let mut cache = Cache::default();
        let findings = [
            checked("DH1 3LE", Finding::Valid),
            checked("DH1 9ZZ", Finding::Unknown { near: vec![] }),
            checked("AB1 0AA", Finding::Retired { since: None }),
            checked("BT35 8GE", Finding::Unconfirmed { doubt: Doubt::NobodyKnew }),
        ];
        for one in &findings {
            cache.put(at(0), one);
        }
        let kept = |cache: &Cache, now| findings.each_ref().map(|one| cache.get(now, one.postcode).is_some());
        assert_eq!(kept(&cache, at(0)), [true, true, true, false]);
        assert_eq!(kept(&cache, at(1)), [true, false, false, false]);
        assert_eq!(kept(&cache, at(24)), [false; 4]);
        // What was found out last counts.
        cache.put(at(24), &checked("DH1 3LE", Finding::Retired { since: None }));
        assert_eq!(cache.get(at(24), "DH1 3LE".parse().unwrap()).unwrap().answer(), "retired");
        assert_eq!(cache.ends.len(), cache.found.len());
    }

    #[test]
    fn ten_thousand_codes_are_kept_and_the_first_to_end_goes_for_one_more() {
        const LETTERS: &[u8] = b"ABDEFGHJLNPQRSTUWXYZ";
        let mut cache = Cache::default();
        let code = |n: usize| {
            let [first, second] = [n / 20 % 20, n % 20].map(|at| char::from(LETTERS[at]));
            format!("M{} {}{first}{second}", n / 4000 + 1, n / 400 % 10)
        };
        for n in 0..=CODES_MAX {
            cache.put(
                Moment::after_origin(Duration::from_millis(n as u64)),
                &checked(&code(n), Finding::Valid),
            );
        }
        assert_eq!((cache.found.len(), cache.ends.len()), (CODES_MAX, CODES_MAX));
        assert!(cache.get(at(1), code(0).parse().unwrap()).is_none());
        assert!(cache.get(at(1), code(1).parse().unwrap()).is_some());
    }
}
