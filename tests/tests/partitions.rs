//! Links that are cut, in one direction or both, between real processes with an address each: nothing acknowledged is
//! lost or done twice, never do two replicas answer in one epoch, no read is stale, and whoever can be served is served.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::faults::callers::{Callers, answered, epochs, judge, longest_silence};
use cluster_tests::faults::network::{NEEDS, Network};
use cluster_tests::faults::world::in_own_world;
use cluster_tests::shop::{Load, audit};

/// In which an in-sync member, the name server and a front end that reach each other serve again.
const SERVED_AGAIN_WITHIN: Duration = Duration::from_secs(5);
/// Orders acknowledged during a fault: enough to see that service goes on, and not only what was under way.
const MEANWHILE: u64 = 150;

/// Who is who when the links are cut.
struct Roles {
    primary: String,
    backups: [String; 2],
}

/// What a story may cost.
#[derive(Clone, Copy)]
enum Cost {
    /// Nobody notices.
    NoChangeOfPrimary,
    /// At most so many changes of primary: no flapping.
    Changes(usize),
}

/// Runs a story: customers and callers at work, links cut, served meanwhile, links healed, whole again.
fn story(name: &str, cost: Cost, cut: impl FnOnce(&Network, &Roles) -> Result<()>) -> Result<()> {
    in_own_world(name, NEEDS, || {
        let names = ["nameserver", "replica.1", "replica.2", "replica.3", "frontend.1", "frontend.2"];
        let network = Network::new(&names)?;
        let options = Options { front_ends: 2, ..Options::default() };
        let cluster = Cluster::start_in(options, |name| network.place(name))?;
        let mut load = Load::start(cluster.name_server.address(), 4);
        let callers = Callers::start(cluster.replica_addresses(), load.clock());
        load.await_acknowledged(50)?;

        let named = |number: usize| cluster.replicas[number].name().to_owned();
        let primary = cluster.primary()?;
        let backups = [named((primary + 1) % 3), named((primary + 2) % 3)];
        let from = load.clock().now();
        cut(&network, &Roles { primary: named(primary), backups })?;
        load.await_acknowledged(MEANWHILE).context("while links are cut")?;
        let to = load.clock().now();
        network.heal()?;
        cluster.await_whole(3).context("after the links were healed")?;
        let whole = load.clock().now().since(to);
        load.await_acknowledged(50).context("after the links were healed")?;

        let attempts = load.stop()?;
        let calls = callers.stop()?;
        judge(&calls)?;
        cluster.await_whole(3)?;
        audit(&attempts, &cluster.replica_addresses())?;
        let (silence, changes) = (longest_silence(&calls, from, to), epochs(&calls).len() - 1);
        println!(
            "{name}: {} orders, {} of {} calls answered, silent for {silence:?} of {:?}, {changes} changes of \
             primary, whole again after {whole:?}",
            attempts.len(),
            answered(&calls),
            calls.len(),
            to.since(from)
        );
        ensure!(silence <= SERVED_AGAIN_WITHIN, "nobody was served for {silence:?}");
        match cost {
            Cost::NoChangeOfPrimary => ensure!(changes == 0, "{changes} changes of primary for nothing"),
            Cost::Changes(most) => ensure!(changes <= most, "{changes} changes of primary, at most {most}"),
        }
        Ok(())
    })
}

#[test]
fn a_primary_cut_off_with_clients_and_a_front_end_is_replaced() -> Result<()> {
    let name = "a_primary_cut_off_with_clients_and_a_front_end_is_replaced";
    story(name, Cost::Changes(2), |network, roles| {
        for island in [&*roles.primary, "frontend.2"] {
            network.part(island, &[&roles.backups[0], &roles.backups[1], "nameserver", "frontend.1"])?;
        }
        Ok(())
    })
}

#[test]
fn a_primary_cut_from_its_backups_only_serves_alone_or_is_replaced() -> Result<()> {
    let name = "a_primary_cut_from_its_backups_only_serves_alone_or_is_replaced";
    story(name, Cost::Changes(2), |network, roles| {
        network.part(&roles.primary, &[&roles.backups[0], &roles.backups[1]])
    })
}

#[test]
fn a_primary_cut_from_the_name_server_only_goes_on() -> Result<()> {
    let name = "a_primary_cut_from_the_name_server_only_goes_on";
    story(name, Cost::NoChangeOfPrimary, |network, roles| network.part(&roles.primary, &["nameserver"]))
}

#[test]
fn a_primary_that_hears_its_backups_but_is_not_heard_loses_or_drops_them() -> Result<()> {
    let name = "a_primary_that_hears_its_backups_but_is_not_heard_loses_or_drops_them";
    story(name, Cost::Changes(2), |network, roles| {
        roles.backups.iter().try_for_each(|backup| network.cut(&roles.primary, backup))
    })
}

#[test]
fn a_primary_that_is_heard_but_hears_no_backup_loses_or_drops_them() -> Result<()> {
    let name = "a_primary_that_is_heard_but_hears_no_backup_loses_or_drops_them";
    story(name, Cost::Changes(2), |network, roles| {
        roles.backups.iter().try_for_each(|backup| network.cut(backup, &roles.primary))
    })
}

#[test]
fn a_backup_that_does_not_hear_the_primary_while_another_does_is_dropped_without_flapping() -> Result<()> {
    let name = "a_backup_that_does_not_hear_the_primary_while_another_does_is_dropped_without_flapping";
    story(name, Cost::Changes(1), |network, roles| network.cut(&roles.primary, &roles.backups[0]))
}

#[test]
fn a_backup_cut_from_the_primary_only_is_dropped_without_flapping() -> Result<()> {
    let name = "a_backup_cut_from_the_primary_only_is_dropped_without_flapping";
    story(name, Cost::Changes(1), |network, roles| network.part(&roles.primary, &[&roles.backups[0]]))
}
