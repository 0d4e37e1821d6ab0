//! Simulated machines: many on one thread, each with its own sockets, disk, wall clock and signals.
//!
//! Who runs a simulation makes a [`Machine`] for each host and calls [`Machine::power_on`] first thing in the host's
//! software. What a process then asks of "the machine" is that one's: a host has a runtime of its own, whose id tells
//! which machine asks.
//!
//! The monotonic and the wall clock and all chance are not here: the simulation's program answers the C library's
//! `clock_gettime` and `getrandom` in its own way, so that dependencies follow too; it asks [`wall_offset`].

pub mod disk;
pub mod fs;
pub mod net;
pub mod process;
pub mod thread;
pub mod trace;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::watch;

use self::disk::Disk;

/// A simulated machine.
#[derive(Debug)]
pub struct Machine {
    /// For a person.
    pub name: &'static str,
    /// Its address.
    pub ip: IpAddr,
    /// What outlives a crash.
    pub disk: Disk,
    /// How often its processes were asked to stop.
    pub signals: watch::Sender<u32>,
    /// The exit code of a process that ended itself; whoever runs the simulation then takes it away.
    pub ended: Cell<Option<i32>>,
    /// How far its wall clock is ahead, in milliseconds.
    pub wall_ahead: Cell<i64>,
    /// How long its disk takes for one commit: at least, and at most.
    pub disk_time: Cell<(Duration, Duration)>,
}

thread_local! {
    /// Runtimes of all hosts, past ones too: ids are not used again. A vector, since it is asked for each clock.
    static MACHINES: RefCell<Vec<(Id, Rc<Machine>)>> = const { RefCell::new(Vec::new()) };
    static BY_ADDRESS: RefCell<BTreeMap<IpAddr, Rc<Machine>>> = const { RefCell::new(BTreeMap::new()) };
}

impl Machine {
    /// A new one, switched off.
    pub fn new(name: &'static str, ip: IpAddr) -> Rc<Self> {
        let machine = Rc::new(Self {
            name,
            ip,
            disk: Disk::new(name),
            signals: watch::Sender::new(0),
            ended: Cell::new(None),
            wall_ahead: Cell::new(0),
            disk_time: Cell::new((Duration::from_micros(200), Duration::from_millis(2))),
        });
        BY_ADDRESS.with_borrow_mut(|all| all.insert(ip, Rc::clone(&machine)));
        machine
    }

    /// From now on the current runtime is this machine's.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn power_on(self: &Rc<Self>) {
        let id = Handle::current().id();
        MACHINES.with_borrow_mut(|all| {
            all.retain(|(_, machine)| !Rc::ptr_eq(machine, self));
            all.push((id, Rc::clone(self)));
        });
        self.ended.set(None);
        self.disk.power_on();
    }
}

/// The machine that asks, if one does.
pub fn asking() -> Option<Rc<Machine>> {
    let id = Handle::try_current().ok()?.id();
    MACHINES.with_borrow(|all| all.iter().find(|(of, _)| *of == id).map(|(_, machine)| Rc::clone(machine)))
}

/// The machine that asks.
fn here() -> Rc<Machine> {
    asking().expect("asked by a simulated host, whose software was powered on")
}

/// How far the wall clock of whoever asks is ahead, in milliseconds.
pub fn wall_offset() -> i64 {
    asking().map_or(0, |machine| machine.wall_ahead.get())
}
