//! What a person sees, shown on the real programs: orders survive the loss of any process, names do not survive it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::process::PATIENCE;
use cluster_tests::shop::{Load, audit, failures, names, run};
use common::clock::Clock;
use common::directory::Names;
use common::ids::InstanceId;
use common::names::{
    AnyName, Entry, Expect, LogicalName, Names as Which, Page, Query, Readiness, Removal, Sharing, Stamp,
    Tags, Target, Tenure, WatchId, Weight, What,
};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::transport::within;

#[test]
fn t04_an_order_sent_again_is_the_same_order_and_is_listed_and_cancelled() -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let id = "01997e5c-0000-7000-8000-000000000001";
    let place =
        ["order", "place", "-u", "ann", "--item", "hamburger=2", "--postcode", "DH1 3LE", "--tip", "2"];
    let order = cluster.json(&place)?.remove(0);
    assert_eq!(
        (&order["no"], &order["user"], &order["status"]),
        (&1.into(), &"ann".into(), &"active".into())
    );
    assert_eq!((&order["total_pence"], &order["tip_pence"]), (&1770.into(), &200.into()));
    assert_eq!(order["lines"][0]["qty"], 2);
    assert_ne!(order["request_id"], id);

    let repeated = order["request_id"].as_str().context("an order tells its request")?;
    let again = cluster.json(&[&["--request-id", repeated], &place[..]].concat())?.remove(0);
    assert_eq!(again["no"], 1, "the same request is the same order");
    let second = cluster.json(&place)?.remove(0);
    assert_eq!(second["no"], 2);

    cluster.json(&["--yes", "order", "cancel", "1", "-u", "ann"])?;
    let listed = cluster.json(&["order", "list", "-u", "ann"])?;
    let seen: Vec<_> = listed.iter().map(|order| (&order["no"], &order["status"])).collect();
    assert_eq!(seen, [(&1.into(), &"cancelled".into()), (&2.into(), &"active".into())]);
    Ok(())
}

#[test]
fn a_refused_order_says_why_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::start(Options { replicas: 1, ..Options::default() })?;
    let refusals = [
        (&["--item", "flour=3", "--postcode", "DH1 3LE"][..], 4, "low_stock"),
        (&["--item", "caviar", "--postcode", "DH1 3LE"], 3, "unknown_product"),
        (&["--item", "apple=100", "--postcode", "DH1 3LE"], 2, "invalid"),
        (&["--item", "apple", "--postcode", "nowhere"], 4, "postcode_malformed"),
        (&["--item", "apple"], 4, "no_details"),
    ];
    let menu = cluster.json(&["menu"])?;
    for (args, exit, code) in refusals {
        let output = cluster.client(&[&["--json", "order", "place", "-u", "ann"], args].concat())?;
        let said: serde_json::Value =
            serde_json::from_slice(&output.stderr).context("an error is one JSON object")?;
        assert_eq!(
            (output.status.code(), &said["error"]["code"]),
            (Some(exit), &code.into()),
            "{args:?}: {said}"
        );
    }
    assert_eq!(cluster.json(&["menu"])?, menu);
    assert!(cluster.json(&["order", "list", "-u", "ann"])?.is_empty());
    Ok(())
}

#[test]
fn three_primaries_are_killed_under_load_and_no_order_is_lost_or_placed_twice() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let mut load = Load::start(cluster.name_server.address(), 8);
    load.await_acknowledged(50)?;
    let mut killed = Vec::new();
    for _ in 0..3 {
        let primary = cluster.primary()?;
        cluster.replicas[primary].kill()?;
        load.await_acknowledged(100).context("after the primary was killed")?;
        killed.push(primary);
        cluster.replicas[primary].start_again()?;
        cluster.await_whole(3)?;
        load.await_acknowledged(50).context("after the primary came back")?;
    }
    ensure!(killed.windows(2).all(|pair| pair[0] != pair[1]), "successive primaries: {killed:?}");
    let attempts = load.stop()?;
    assert!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
    cluster.await_whole(3)?;
    audit(&attempts, &cluster.replica_addresses())?;
    same_state_everywhere(&cluster)
}

#[test]
fn all_replicas_are_killed_at_once_and_everything_is_still_there() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let mut load = Load::start(cluster.name_server.address(), 8);
    load.await_acknowledged(200)?;
    for replica in &mut cluster.replicas {
        replica.signal(rustix::process::Signal::KILL)?;
    }
    for replica in &mut cluster.replicas {
        replica.ended()?;
    }
    for replica in &mut cluster.replicas {
        replica.start_again()?;
    }
    load.await_acknowledged(100).context("after everybody came back")?;
    let attempts = load.stop()?;
    cluster.await_whole(3)?;
    audit(&attempts, &cluster.replica_addresses())?;
    same_state_everywhere(&cluster)
}

#[test]
fn the_name_server_is_killed_under_load_and_no_client_notices() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let mut load = Load::start(cluster.name_server.address(), 8);
    load.await_acknowledged(50)?;
    cluster.name_server.kill()?;
    load.await_acknowledged(300).context("without a name server")?;
    cluster.name_server.start_again()?;
    load.await_acknowledged(100).context("with the name server again")?;
    let attempts = load.stop()?;
    assert!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
    cluster.await_whole(3)?;
    audit(&attempts, &cluster.replica_addresses())?;
    // Everybody registers again, or was remembered.
    assert_eq!(
        listed(&cluster)?,
        ["just.hungry", "movies", "ratings", "replica.1", "replica.2", "replica.3"]
    );
    Ok(())
}

#[test]
fn a_frozen_primary_is_replaced_and_acknowledges_nothing_afterwards() -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let mut load = Load::start(cluster.name_server.address(), 4);
    load.await_acknowledged(50)?;
    let frozen = cluster.primary()?;
    cluster.replicas[frozen].signal(rustix::process::Signal::STOP)?;
    load.await_acknowledged(50).context("while the old primary is frozen")?;
    cluster.replicas[frozen].signal(rustix::process::Signal::CONT)?;
    load.await_acknowledged(50).context("after it went on")?;
    let attempts = load.stop()?;
    cluster.await_whole(3)?;
    assert_ne!(cluster.primary()?, frozen);
    audit(&attempts, &cluster.replica_addresses())?;
    same_state_everywhere(&cluster)
}

/// Compares positions and hashes of all members.
fn same_state_everywhere(cluster: &Cluster) -> Result<()> {
    let members = cluster.members()?;
    let state =
        |member: &serde_json::Value| [&member["applied"], &member["state_hash"]].map(ToString::to_string);
    ensure!(
        members.iter().all(|member| state(member) == state(&members[0])),
        "the replicas differ: {members:#?}"
    );
    ensure!(members.iter().all(|member| member["in_sync"] == true), "not all are in sync: {members:#?}");
    Ok(())
}

/// The names that `client ns list` shows, the name server's own left out.
fn listed(cluster: &Cluster) -> Result<Vec<String>> {
    let names = cluster.json(&["ns", "list"])?;
    let names = names.iter().filter_map(|name| name["name"].as_str());
    Ok(names.filter(|name| !name.starts_with("Pyro.")).map(str::to_owned).collect())
}

#[test]
fn a_killed_process_loses_its_name_and_a_stopped_one_at_once() -> Result<()> {
    const TTL: Duration = Duration::from_millis(600);
    let mut cluster = Cluster::start(Options { ttl: TTL, ..Options::default() })?;
    assert_eq!(
        listed(&cluster)?,
        ["just.hungry", "movies", "ratings", "replica.1", "replica.2", "replica.3"]
    );
    let clock = Clock::start();
    run(async {
        let names = names(cluster.name_server.address());
        let since = now(&names).await?;
        let killed = clock.now();
        cluster.replicas[1].kill()?;
        let why = gone(&names, "replica.2", since).await?;
        let waited = clock.now().since(killed);
        println!("a killed replica's name was gone {waited:?} after the kill; its time-to-live is {TTL:?}");
        assert_eq!(why, Removal::Expired);
        // Not at some time later; how exact it is, the next test measures.
        assert!(waited < PATIENCE, "{waited:?}");

        let since = now(&names).await?;
        cluster.replicas[2].stop()?;
        assert_eq!(gone(&names, "replica.3", since).await?, Removal::Revoked);
        Ok(())
    })?;
    assert_eq!(listed(&cluster)?, ["just.hungry", "movies", "ratings", "replica.1"]);
    Ok(())
}

/// How late a name may be removed.
const LATE: Duration = Duration::from_millis(50);

#[test]
fn a_name_ends_with_its_lease_never_before_and_hardly_after() -> Result<()> {
    const TTL: Duration = Duration::from_millis(300);
    let cluster = Cluster::start(Options { replicas: 1, ..Options::default() })?;
    let clock = Clock::start();
    let mut late = Vec::new();
    run(async {
        let names = names(cluster.name_server.address());
        let server = names.server();
        let within = || within(NAME_SERVICE, PATIENCE);
        for n in 0..9 {
            let name: LogicalName = format!("mayfly.{n}").parse()?;
            let lease = server.grant(within(), TTL, InstanceId::random(), None).await??.value;
            server
                .register(within(), Tenure::Leased(lease.lease), name.clone(), mayfly(), Expect::Free)
                .await??;
            let since = now(&names).await?;
            let sent = clock.now();
            server.renew(within(), vec![lease.lease]).await?.value.remove(0)?;
            let answered = clock.now();
            assert_eq!(gone(&names, name.as_str(), since).await?, Removal::Expired);
            let heard = clock.now();
            assert!(heard.since(sent) >= TTL, "early: {:?} of {TTL:?}", heard.since(sent));
            late.push(heard.since(answered).saturating_sub(TTL));
        }
        Ok(())
    })?;
    late.sort();
    println!("names were gone this late: {late:?}");
    // The middle one: a stall of this machine is not the name server's.
    assert!(late[late.len() / 2] <= LATE, "late: {late:?}");
    Ok(())
}

fn mayfly() -> Entry {
    let target = Target::Service {
        address: "127.0.0.1:9".parse().expect("an address"),
        object: common::names::ObjectName::new("").expect("no object"),
        contract: common::names::ContractName::new("mayfly").expect("a contract"),
    };
    let (sharing, readiness) = (Sharing::Exclusive, Readiness::Up);
    Entry { sharing, target, tags: Tags::default(), readiness, weight: Weight::default() }
}

/// The name server's stamp.
async fn now(names: &Names) -> Result<Stamp> {
    let page = Page { after: None, limit: 1 };
    let listing =
        names.server().list(within(NAME_SERVICE, PATIENCE), Query::by_name(Which::Any), page).await??;
    Ok(listing.stamp)
}

/// Watches until `name` is gone, and tells why it is.
async fn gone(names: &Names, name: &str, mut since: Stamp) -> Result<Removal> {
    let query = Query::by_name(Which::Exact(AnyName::from(&name.parse::<LogicalName>()?)));
    loop {
        let watch = vec![(WatchId(0), query.clone())];
        let hold = Duration::from_secs(8);
        let seen = names.server().watch(within(NAME_SERVICE, PATIENCE), watch, since, hold).await??;
        since = seen.stamp;
        for change in seen.value {
            if let What::Removed { why, .. } = change.what {
                return Ok(why);
            }
        }
    }
}
