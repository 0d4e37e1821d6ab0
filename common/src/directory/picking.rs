use std::sync::Arc;

use crate::names::{Address, Readiness, Record, Standing};

/// The providers of a shared name that can be dialled, in the order in which to try them: those up and confirmed
/// first, then those up, then those draining. Within a class the first is the less burdened of two drawn at random,
/// by calls in flight ÷ weight (M. Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, IEEE TPDS
/// 12(10), 2001): nearly as even as asking all, and no herd runs to the one that looked idle a moment ago.
///
/// `in_flight` tells how many calls the caller has under way there; `chance` is 64 random bits.
pub fn in_order(
    records: &[Arc<Record>],
    in_flight: impl Fn(&Address) -> u32,
    chance: u64,
) -> Vec<Arc<Record>> {
    let mut order: Vec<_> =
        records.iter().filter(|record| record.target.address().is_some()).cloned().collect();
    let mut chance = chance;
    for last in (1..order.len()).rev() {
        order.swap(last, draw(&mut chance, last + 1));
    }
    // Stable: within a class the shuffled order stays.
    order.sort_by_key(|record| class(record));
    let burden = |record: &Record| {
        let calls = record.target.address().map_or(0, &in_flight);
        // A call that is about to be made counts: of two idle ones the heavier gets it. Scaled, since weights go
        // up to 1,000.
        (u64::from(calls) + 1) * 1_000_000 / u64::from(record.weight.get())
    };
    for class in order.chunk_by_mut(|one, other| class(one) == class(other)) {
        if let [first, second, ..] = class
            && burden(second) < burden(first)
        {
            std::mem::swap(first, second);
        }
    }
    order
}

/// Lower is better.
fn class(record: &Record) -> u8 {
    match (record.readiness, record.standing) {
        (Readiness::Up, Standing::Confirmed) => 0,
        (Readiness::Up, Standing::Unconfirmed) => 1,
        (Readiness::Draining, _) => 2,
    }
}

/// A number below `below`; uses up some of the chance (D. Knuth's MMIX generator, taken from the high bits).
fn draw(chance: &mut u64, below: usize) -> usize {
    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from((*chance >> 33) % below as u64).expect("below a length")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{record, service};
    use super::*;
    use crate::names::Weight;

    fn provider(port: u16, change: impl FnOnce(&mut Record)) -> Arc<Record> {
        let mut record = record("just.hungry", u128::from(port), 1);
        record.target = service(port);
        change(&mut record);
        Arc::new(record)
    }

    fn ports(order: &[Arc<Record>]) -> Vec<u16> {
        order.iter().map(|record| record.target.address().unwrap().port).collect()
    }

    #[test]
    fn the_draining_and_the_unconfirmed_come_last() {
        let records = [
            provider(1, |record| record.readiness = Readiness::Draining),
            provider(2, |record| record.standing = Standing::Unconfirmed),
            provider(3, |_| {}),
        ];
        for chance in 0..50 {
            assert_eq!(ports(&in_order(&records, |_| 0, chance)), [3, 2, 1]);
        }
    }

    #[test]
    fn of_two_the_less_burdened_by_weight_comes_first() {
        let records = [provider(1, |record| record.weight = Weight::new(200).unwrap()), provider(2, |_| {})];
        let with = |first: u32, second: u32| {
            let order = in_order(&records, |at| if at.port == 1 { first } else { second }, 7);
            ports(&order)[0]
        };
        assert_eq!(with(9, 3), 2);
        assert_eq!(with(3, 3), 1);
        assert_eq!(with(5, 3), 1);
    }

    #[test]
    fn every_one_of_many_idle_providers_gets_its_share() {
        let records: Vec<_> = (1..=4).map(|port| provider(port, |_| {})).collect();
        let mut first = [0; 5];
        for chance in 0..1000_u64 {
            let order = in_order(&records, |_| 0, chance.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            assert_eq!(order.len(), 4);
            first[usize::from(ports(&order)[0])] += 1;
        }
        assert!(first[1..].iter().all(|&times| times > 150), "{first:?}");
    }
}
