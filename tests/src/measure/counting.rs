//! What counting costs: the same customers at a cluster that shows its numbers, read each second as a Prometheus would, and
//! at one that does not, in turn.

use std::time::Duration;

use anyhow::Result;

use super::crowd::{Crowd, Door, judge, open_shop, wait};
use super::usage::Cpu;
use super::{figure, per_second};
use crate::browser::Browser;
use crate::cluster::{Cluster, Options, Place};

/// Before it counts: connections, caches, a file that has grown.
const WARM_UP: Duration = Duration::from_secs(2);
/// Enough to keep both processors busy.
const CUSTOMERS: usize = 64;
/// How often each is measured, in turn: a machine's speed drifts.
const TURNS: usize = 3;

/// Measures both, each turn for this long.
///
/// # Errors
/// When the cluster does not serve.
pub fn cost(seconds: u32) -> Result<()> {
    for turn in 0..TURNS * 2 {
        let (shows, http) =
            if turn % 2 == 0 { ("off", "off") } else { ("on, read each second", "127.0.0.1:0") };
        let mut cluster = Cluster::start_in(Options::default(), |name| {
            let args = if name == "nameserver" { vec![] } else { vec!["--http".to_owned(), http.to_owned()] };
            Place { args, ..Place::default() }
        })?;
        let door = Door::FrontEnd(cluster.front_ends[0].address());
        open_shop(door)?;
        let crowd = Crowd::start(door, CUSTOMERS, Duration::ZERO, u64::MAX);
        wait(WARM_UP)?;
        let primary = cluster.primary()?;
        let used = |cluster: &Cluster| -> Result<[Cpu; 2]> {
            Ok([Cpu::of(&cluster.replicas[primary])?, Cpu::of(&cluster.front_ends[0])?])
        };
        let clock = crowd.clock();
        let (from, count, before) = (clock.now(), crowd.acknowledged(), used(&cluster)?);
        for _ in 0..seconds {
            wait(Duration::from_secs(1))?;
            let places = cluster.replicas.iter().chain(&cluster.front_ends).filter(|_| http != "off");
            for place in places {
                Browser::at(place.told("http")).get("/metrics")?;
            }
        }
        let (to, count, after) = (clock.now(), crowd.acknowledged() - count, used(&cluster)?);
        let (waits, _) = judge(&crowd.stop()?, from, to);
        let each = |which: usize| 1e6 / per_second(count.max(1), after[which].since(&before[which]).whole);
        figure(
            format!("{CUSTOMERS} clients, numbers {shows}"),
            format!(
                "{:.0} orders/s, {waits}; CPU per order: primary {:.1} us, front end {:.1} us",
                per_second(count, to.since(from)),
                each(0),
                each(1)
            ),
        );
        cluster.front_ends[0].stop()?;
    }
    Ok(())
}
