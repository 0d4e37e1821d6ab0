//! T5 at the limit of open files. Alone in its process, which has that limit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

#[allow(dead_code, reason = "shared with the other tests of the transport")]
#[path = "transport/house.rs"]
mod house;

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use house::{CALL_ECHO_HI, House, Raw, cluster, preamble, request};
use rustix::process::{Resource, Rlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Low, and enough for the 128 that a server leaves to others.
const OPEN_FILES: u64 = 300;

#[test]
fn t05_with_no_descriptor_left_callers_are_told_so_and_it_passes() {
    let limit = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let house = House::open();
    let mut good = Raw::welcomed(house.address);
    // Sockets of callers to come, and then whatever else there is.
    let callers: Vec<_> = (0..10).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let mut hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let room = 3;
    hoard.truncate(hoard.len() - room);

    let mut callers: Vec<_> = callers.into_iter().map(|socket| connected(socket, house.address)).collect();
    // The first ones have places and say nothing; the next one is refused on the spare descriptor.
    let refused = &mut callers[room];
    assert_eq!(refused.verdict(), (6, "no descriptor is left".to_owned()));
    assert!(refused.rest().is_empty());
    good.say(&request(&[9], &[0], 1, CALL_ECHO_HI));
    assert_eq!(good.hear().0, 1, "who was connected before notices nothing");

    drop((hoard, callers));
    let mut late = Raw::connect(house.address);
    late.say(&preamble(*b"echo", [1, 1], cluster()));
    assert_eq!(late.verdict().0, 0, "as soon as there are descriptors, there is room");
}

fn connected(socket: Socket, address: SocketAddr) -> Raw {
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    Raw(socket.into())
}
