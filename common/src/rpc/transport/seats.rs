//! Who sits at a listener: how many connections, of which address and contract, and how much memory each holds.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::AbortHandle;

use super::rarely::Rarely;
use crate::rpc::limits::{Contract, HELD_MAX, PER_ADDRESS_MAX, UNDECIDED_MAX};

/// All connections of a listener.
pub(super) struct Seats {
    connections_max: usize,
    taken: RefCell<BTreeMap<u64, Option<AbortHandle>>>,
    /// Those before their preamble, oldest first.
    undecided: RefCell<BTreeSet<u64>>,
    /// Of addresses other than loopback.
    per_address: RefCell<HashMap<IpAddr, usize>>,
    per_contract: RefCell<BTreeMap<&'static str, usize>>,
    /// Bytes held by each; those that hold none are absent.
    held: RefCell<BTreeMap<u64, usize>>,
    held_in_all: Cell<usize>,
    log: Rarely,
}

/// One connection's place; given back when dropped.
pub(super) struct Seat {
    seats: Rc<Seats>,
    pub(super) id: u64,
    address: IpAddr,
    contract: Cell<Option<&'static str>>,
    held: Cell<usize>,
}

impl Seats {
    pub(super) fn new(connections_max: usize) -> Rc<Self> {
        Rc::new(Self {
            connections_max,
            taken: RefCell::default(),
            undecided: RefCell::default(),
            per_address: RefCell::default(),
            per_contract: RefCell::default(),
            held: RefCell::default(),
            held_in_all: Cell::new(0),
            log: Rarely::default(),
        })
    }

    /// A place for connection `id` of `address`.
    ///
    /// # Errors
    /// A sentence, when there is none.
    pub(super) fn take(self: &Rc<Self>, id: u64, address: IpAddr) -> Result<Seat, String> {
        let address = address.to_canonical();
        if self.taken.borrow().len() >= self.connections_max {
            return Err(format!("all {} connections are taken", self.connections_max));
        }
        if !address.is_loopback() {
            let mut per_address = self.per_address.borrow_mut();
            let count = per_address.entry(address).or_default();
            if *count >= PER_ADDRESS_MAX {
                return Err(format!("your address has {PER_ADDRESS_MAX} connections, which is the most"));
            }
            *count += 1;
        }
        self.taken.borrow_mut().insert(id, None);
        self.undecided.borrow_mut().insert(id);
        Ok(Seat { seats: self.clone(), id, address, contract: Cell::new(None), held: Cell::new(0) })
    }

    /// Tells which task sits on a place. Ends the oldest that has not said yet what it wants, when there are too many.
    pub(super) fn occupied_by(&self, id: u64, task: AbortHandle) {
        if let Some(place) = self.taken.borrow_mut().get_mut(&id) {
            *place = Some(task);
        }
        let oldest = {
            let mut undecided = self.undecided.borrow_mut();
            if undecided.len() > UNDECIDED_MAX { undecided.pop_first() } else { None }
        };
        if let Some(oldest) = oldest {
            self.end(oldest);
        }
    }

    fn end(&self, id: u64) {
        if let Some(Some(task)) = self.taken.borrow().get(&id) {
            task.abort();
        }
    }
}

impl Seat {
    /// Notes that the connection speaks `contract` from now on.
    ///
    /// # Errors
    /// A sentence, when too many do.
    pub(super) fn decide(&self, contract: Contract) -> Result<(), String> {
        let mut per_contract = self.seats.per_contract.borrow_mut();
        let count = per_contract.entry(contract.name).or_default();
        if *count >= contract.limits.connections {
            return Err(format!(
                "all {} connections of {} are taken",
                contract.limits.connections, contract.name
            ));
        }
        *count += 1;
        self.contract.set(Some(contract.name));
        self.seats.undecided.borrow_mut().remove(&self.id);
        Ok(())
    }

    /// Notes how many bytes the connection holds. When all together hold too many, the one with most is closed.
    pub(super) fn holds(&self, bytes: usize) {
        let before = self.held.replace(bytes);
        if before == bytes {
            return;
        }
        let seats = &self.seats;
        let mut held = seats.held.borrow_mut();
        if bytes == 0 {
            held.remove(&self.id);
        } else {
            held.insert(self.id, bytes);
        }
        let in_all = seats.held_in_all.get() + bytes - before;
        seats.held_in_all.set(in_all);
        if in_all > HELD_MAX
            && let Some((&most, _)) = held.iter().max_by_key(|(_, bytes)| **bytes)
        {
            // Its bytes count until its task has ended; it is not chosen twice.
            held.remove(&most);
            if seats.log.is_due() {
                tracing::warn!(held = in_all, "connections hold too much; the one that holds most is closed");
            }
            seats.end(most);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.holds(0);
        let seats = &self.seats;
        seats.taken.borrow_mut().remove(&self.id);
        seats.undecided.borrow_mut().remove(&self.id);
        if let Some(name) = self.contract.get() {
            seats.per_contract.borrow_mut().entry(name).and_modify(|count| *count -= 1);
        }
        if !self.address.is_loopback() {
            let mut per_address = seats.per_address.borrow_mut();
            if let Some(count) = per_address.get_mut(&self.address) {
                *count -= 1;
                if *count == 0 {
                    per_address.remove(&self.address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

    use super::*;
    use crate::rpc::limits::PEER;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// Seats with a task each, which holds its seat until it is ended.
    fn occupied(seats: &Rc<Seats>, count: u64) -> Vec<(Rc<Seat>, JoinHandle<()>)> {
        let occupy = |id| {
            let seat = Rc::new(seats.take(id, HERE).unwrap());
            let task = spawn_local(pending());
            seats.occupied_by(id, task.abort_handle());
            (seat, task)
        };
        (0..count).map(occupy).collect()
    }

    #[test]
    fn one_address_other_than_our_own_cannot_take_all_places() {
        let seats = Seats::new(usize::MAX);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let ids = 0..PER_ADDRESS_MAX as u64;
        let mut taken: Vec<_> = ids.map(|id| seats.take(id, ELSEWHERE).unwrap()).collect();
        let refused = seats.take(2000, mapped).err().unwrap();
        assert_eq!(refused, "your address has 1000 connections, which is the most");
        assert!(seats.take(2001, HERE).is_ok());
        taken.pop();
        assert!(seats.take(2002, mapped).is_ok());
    }

    #[tokio::test]
    async fn of_those_that_say_nothing_the_oldest_goes_first() {
        LocalSet::new()
            .run_until(async {
                let seats = Seats::new(usize::MAX);
                let mut occupied = occupied(&seats, UNDECIDED_MAX as u64);
                occupied[0].0.decide(PEER).unwrap();
                let (seat, task) = (seats.take(10_000, HERE).unwrap(), spawn_local(pending::<()>()));
                seats.occupied_by(10_000, task.abort_handle());
                let (another, task) = (seats.take(10_001, HERE).unwrap(), spawn_local(pending::<()>()));
                seats.occupied_by(10_001, task.abort_handle());
                yield_now().await;
                let ended: Vec<_> =
                    occupied.iter().filter(|(_, task)| task.is_finished()).map(|(seat, _)| seat.id).collect();
                assert_eq!(ended, [1], "the first has said what it wants");
                drop((seat, another));
                occupied.clear();
            })
            .await;
    }

    #[test]
    fn a_contract_has_its_own_number_of_places() {
        let seats = Seats::new(usize::MAX);
        let all: Vec<_> = (0..=64).map(|id| seats.take(id, HERE).unwrap()).collect();
        for seat in &all[..64] {
            seat.decide(PEER).unwrap();
        }
        assert_eq!(all[64].decide(PEER), Err("all 64 connections of peer are taken".to_owned()));
        drop(all);
        seats.take(0, HERE).unwrap().decide(PEER).unwrap();
    }

    #[tokio::test]
    async fn t05_when_all_hold_too_much_the_one_that_holds_most_is_ended() {
        LocalSet::new()
            .run_until(async {
                let seats = Seats::new(usize::MAX);
                let occupied = occupied(&seats, 3);
                let mib = 1 << 20;
                for (which, bytes) in [(0, 20 * mib), (1, 40 * mib), (2, 4 * mib), (2, 5 * mib)] {
                    assert!(occupied.iter().all(|(_, task)| !task.is_finished()));
                    occupied[which].0.holds(bytes);
                    yield_now().await;
                }
                let ended: Vec<_> = occupied.iter().map(|(_, task)| task.is_finished()).collect();
                assert_eq!(ended, [false, true, false]);
                drop(occupied);
                assert_eq!(seats.held_in_all.get(), 0);
            })
            .await;
    }
}
