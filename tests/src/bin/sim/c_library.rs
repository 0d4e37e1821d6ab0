//! The C library's clocks and chance, answered from the seed; while no simulation runs, questions are passed on to the
//! kernel.
#![allow(unsafe_code, reason = "the C library's functions are answered, which is a matter of raw pointers")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cluster_tests::sim::world;

/// From now on this process simulates, by chance from `seed`.
pub(crate) fn simulate(seed: u64) {
    CHANCE.store(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51_3d, Ordering::Relaxed);
    SIMULATED.store(true, Ordering::Relaxed);
}

/// Whether this process simulates.
static SIMULATED: AtomicBool = AtomicBool::new(false);
/// The state of all chance.
static CHANCE: AtomicU64 = AtomicU64::new(0);

/// When a simulation begins, by the monotonic clock: never near zero, since programs subtract.
const BEGIN: u64 = 1_000_000 * SECOND;
/// And by the wall clock: 2026-06-01 12:00 UTC.
const BEGIN_WALL: u64 = 1_780_315_200 * SECOND;
const SECOND: u64 = 1_000_000_000;
/// The C library's number of the wall clock.
const CLOCK_REALTIME: i32 = 0;
const CLOCK_REALTIME_COARSE: i32 = 5;

/// The C library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

#[cfg(target_arch = "x86_64")]
const SYSTEM_CALLS: (i64, i64) = (228, 318);
#[cfg(target_arch = "aarch64")]
const SYSTEM_CALLS: (i64, i64) = (113, 278);

unsafe extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

/// Since [`BEGIN`], by the clock of the host that asks; outside all hosts, by the simulation's.
fn simulated_nanoseconds() -> u64 {
    use std::cell::Cell;
    thread_local! {
        static ASKING: Cell<bool> = const { Cell::new(false) };
        static ORIGIN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
    }
    let outside = u64::try_from(world::now_outside().as_nanos()).unwrap_or(u64::MAX);
    // Whom we ask may ask us.
    if ASKING.replace(true) {
        return outside;
    }
    let inside = tokio::runtime::Handle::try_current().ok().map(|_| {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what the ban's clock stands on, in a simulation"
        )]
        let now = tokio::time::Instant::now();
        // A paused runtime counts from what this function told it when it was made.
        let origin = ORIGIN.get().unwrap_or_else(|| {
            let origin = origin();
            ORIGIN.set(Some(origin));
            origin
        });
        u64::try_from(now.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX)
    });
    ASKING.set(false);
    inside.unwrap_or(outside)
}

/// The instant of [`BEGIN`].
fn origin() -> tokio::time::Instant {
    // While somebody asks, the clock outside all hosts answers: the standard library's instant of this moment.
    #[expect(clippy::disallowed_methods, reason = "this is what the ban's clock stands on, in a simulation")]
    let now = std::time::Instant::now();
    let begin =
        now.checked_sub(world::now_outside()).expect("a simulation begins long after its clock's zero");
    tokio::time::Instant::from_std(begin)
}

/// Tells the time.
///
/// # Safety
/// As the C library's: `to` points to room for the answer.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: i32, to: *mut Timespec) -> i32 {
    if !SIMULATED.load(Ordering::Relaxed) {
        // SAFETY: the kernel writes where the caller said.
        return i32::try_from(unsafe { syscall(SYSTEM_CALLS.0, clock, to) }).unwrap_or(-1);
    }
    let since = simulated_nanoseconds();
    let nanoseconds = if matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE) {
        let ahead = common::machine::simulated::wall_offset().saturating_mul(1_000_000);
        (BEGIN_WALL + since).saturating_add_signed(ahead)
    } else {
        BEGIN + since
    };
    let time = Timespec {
        seconds: i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX),
        nanoseconds: i64::try_from(nanoseconds % SECOND).unwrap_or(0),
    };
    // SAFETY: the caller has made room there.
    unsafe { to.write(time) };
    0
}

/// Gives random bytes.
///
/// # Safety
/// As the C library's: there is room for `length` bytes at `to`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(to: *mut u8, length: usize, flags: u32) -> isize {
    if !SIMULATED.load(Ordering::Relaxed) {
        // SAFETY: the kernel writes where the caller said.
        return isize::try_from(unsafe { syscall(SYSTEM_CALLS.1, to, length, flags) }).unwrap_or(-1);
    }
    for at in 0..length {
        // SAFETY: below the length for which there is room.
        unsafe { to.add(at).write(chance()) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// The next random byte (G. Steele et al., *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014).
fn chance() -> u8 {
    let state = CHANCE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()[0]
}

/// Says that there is one processor, whatever the machine has: how some maps are cut in pieces follows from it.
///
/// # Safety
/// As the C library's: there is room for `length` bytes at `mask`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sched_getaffinity(_: i32, length: usize, mask: *mut u8) -> i32 {
    for at in 0..length {
        // SAFETY: below the length for which there is room.
        unsafe { mask.add(at).write(u8::from(at == 0)) };
    }
    0
}
