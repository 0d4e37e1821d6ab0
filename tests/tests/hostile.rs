//! No input from the network ends a process, takes its memory or starves its other callers. Each listener of the real
//! programs gets it all; then a good caller is served as promptly as ever. Numbers are those of the threats.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::hostile::{
    framed, good_request, listeners, never_read, preamble, say, until_closed, with_deadline,
};
use cluster_tests::process::PATIENCE;
use cluster_tests::shop::{self, Load, audit, names, run};
use common::clock::{Clock, Timestamp};
use common::ids::{ClusterId, InstanceId};
use common::names::{
    AnyName, BootCount, ContractName, Entry, Expect, Freshness, Holder, LeaseId, LogicalName, ObjectName,
    Readiness, Revision, Sharing, Stamp, Tags, Target, Tenure, Weight,
};
use common::replication::{RequestId, VectorTimestamp};
use common::rpc::frontend::FrontendClient;
use common::rpc::limits::{FRONTEND, NAME_SERVICE};
use common::rpc::name_service::{
    GrantError, Hello, NameServiceClient, RegisterError, RenewError, UpdateError,
};
use common::rpc::replica::SubmitError;
use common::rpc::transport::{Reconnecting, within};
use common::services::encode;
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::{Command, Delivery, Item, Lines};
use common::services::money::Pence;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

/// How long a good caller may wait, whatever goes on.
const PROMPT: Duration = Duration::from_secs(1);

/// What a process may hold, whatever goes on.
const MEMORY_MAX: u64 = 128 * 1024 * 1024;

fn cluster() -> Result<Cluster> {
    Cluster::start(Options { replicas: 1, ..Options::default() })
}

/// Every process lives, within its bounds, has not panicked, and serves; an order can be placed.
fn unharmed(cluster: &mut Cluster) -> Result<()> {
    for listener in listeners(cluster) {
        let waited = listener.probe()?;
        ensure!(waited <= PROMPT, "{} answered after {waited:?}", listener.contract.name);
    }
    for process in cluster.processes() {
        ensure!(process.is_alive(), "{} has ended", process.name());
        ensure!(process.memory()? <= MEMORY_MAX, "{} holds {} bytes", process.name(), process.memory()?);
        ensure!(!process.log().contains("panicked"), "{} panicked", process.name());
    }
    let mut load = Load::start(cluster.name_server.address(), 1);
    load.await_acknowledged(1)?;
    audit(&load.stop()?, &cluster.replica_addresses())
}

#[test]
fn t05_floods_and_slow_readers_are_held_off_and_nobody_else_waits() -> Result<()> {
    const IDLE: usize = 500;
    const HALF_SAID: usize = 40;
    const HASTY: usize = 1_000;
    const NEVER_READ_MAX: usize = 64 * 1024 * 1024;
    let mut cluster = cluster()?;
    for listener in listeners(&cluster) {
        let name = listener.contract.name;
        let request = good_request(listener.contract)?;
        let frame = framed(&request.numbered(0));
        let prompt = |what: &str| -> Result<()> {
            let waited = listener.probe().with_context(|| what.to_owned())?;
            ensure!(waited <= PROMPT, "{name}, {what}: answered after {waited:?}");
            Ok(())
        };
        let idle: Vec<_> = (0..IDLE).map(|_| listener.connect()).collect::<Result<_>>()?;
        prompt("500 idle connections")?;
        drop(idle);

        let mut half = Vec::new();
        for _ in 0..HALF_SAID {
            let mut begun = listener.connect()?;
            begun.write_all(&preamble(name, 1, 1)[..20])?;
            let mut agreed = listener.agree()?;
            agreed.write_all(&frame[..frame.len() / 2])?;
            half.extend([begun, agreed]);
        }
        prompt("half a preamble, half a frame")?;
        drop(half);

        for _ in 0..HASTY {
            drop(listener.connect()?);
        }
        prompt("connected and gone")?;

        let mut deaf = listener.agree()?;
        let sent = never_read(&mut deaf, &request, NEVER_READ_MAX)?;
        ensure!(sent < NEVER_READ_MAX, "{name} takes requests for ever from a caller that never reads");
        prompt("a caller that never reads")?;
    }
    unharmed(&mut cluster)
}

#[test]
fn t06_no_bytes_end_a_process_or_take_its_memory() -> Result<()> {
    let mut cluster = cluster()?;
    let mut random = StdRng::seed_from_u64(6);
    for listener in listeners(&cluster) {
        let contract = listener.contract;
        let verdict =
            |bytes: &[u8]| -> Result<Option<u8>> { Ok(say(listener.connect()?, bytes)?.get(4).copied()) };
        let mut other_magic = preamble(contract.name, 1, 1);
        other_magic[0] = 0x8B;
        let mut other_layout = preamble(contract.name, 1, 1);
        other_layout[4] = 2;
        assert_eq!(verdict(&other_magic)?, Some(1), "{}", contract.name);
        assert_eq!(verdict(&other_layout)?, Some(2), "{}", contract.name);
        assert_eq!(verdict(&preamble("", 1, 1))?, Some(2), "{}", contract.name);
        assert_eq!(verdict(&preamble(contract.name, 900, 901))?, Some(3), "{}", contract.name);
        assert_eq!(verdict(&preamble("another", 1, 1))?, Some(4), "{}", contract.name);
        say(listener.connect()?, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        say(
            listener.connect()?,
            b"PYRO\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        )?;
        say(listener.connect()?, &[0x16, 3, 1, 0xff, 0xff, 1])?;
        for _ in 0..50 {
            let mut noise = [0; 256];
            random.fill_bytes(&mut noise);
            say(listener.connect()?, &noise)?;
            say(listener.agree()?, &noise)?;
        }

        // The other end has to close these; we leave the way open.
        let good = good_request(contract)?.numbered(0);
        let limit = u32::try_from(contract.limits.frame_in)?;
        let head = &with_deadline(&good, 1, 0)[..15];
        let mut bent: Vec<_> =
            [limit + 1, 1 << 31, u32::MAX].iter().map(|length| length.to_be_bytes().to_vec()).collect();
        bent.extend([
            framed(&[]),
            framed(&with_deadline(&good, 300 * 365 * 86_400, 0)),
            framed(&with_deadline(&good, 1 << 63, 0)),
            framed(&with_deadline(&good, u64::MAX, u32::MAX)),
            framed(&with_deadline(&good, 1, 1_000_000_000)),
            framed(&[&good[..], &[0]].concat()),
            framed(&[head, &[0xff; 64]].concat()),
            framed(&[head, &[253].repeat(4096)].concat()),
            framed(&[7; 40]),
        ]);
        for bytes in &bent {
            let mut stream = listener.agree()?;
            stream.write_all(bytes)?;
            until_closed(stream)
                .with_context(|| format!("{}: {:x?}", contract.name, &bytes[..bytes.len().min(24)]))?;
        }
        // These may mean something else by chance; what matters is that nobody minds.
        let frame = framed(&good);
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            say(listener.agree()?, &flipped)?;
        }
        for length in 0..frame.len() {
            say(listener.agree()?, &frame[..length])?;
        }
    }
    unharmed(&mut cluster)
}

#[test]
fn t13_no_forged_time_and_no_forged_lease_is_believed() -> Result<()> {
    let mut cluster = cluster()?;
    let name: LogicalName = "replica.1".parse()?;
    let address = cluster.front_ends[0].address();
    run(async {
        let names = names(cluster.name_server.address());
        let server = names.server();
        let soon = || within(NAME_SERVICE, PATIENCE);
        let before = server.lookup(soon(), AnyName::from(&name), Freshness::Local).await??.value;

        for ttl in
            [Duration::ZERO, Duration::from_millis(99), Duration::from_hours(300 * 365 * 24), Duration::MAX]
        {
            let granted = server.grant(soon(), ttl, InstanceId::random(), None).await?;
            ensure!(matches!(granted, Err(GrantError::TtlOutOfRange { .. })), "{ttl:?}: {granted:?}");
        }
        let forged = LeaseId::from_random(0x5eed);
        ensure!(server.renew(soon(), vec![forged]).await?.value == [Err(RenewError::UnknownLease)]);
        ensure!(server.revoke(soon(), forged).await??.value == 0);
        let mine = server.grant(soon(), Duration::from_secs(5), InstanceId::random(), None).await??.value;
        for holder in [Holder::Lease(forged), Holder::Lease(mine.lease)] {
            let removed = server.unregister(soon(), holder, AnyName::from(&name)).await?;
            ensure!(
                matches!(removed, Err(UpdateError::NotYours { .. } | UpdateError::Denied)),
                "{removed:?}"
            );
        }
        for expect in [Expect::Free, Expect::Whatever] {
            let tenure = Tenure::Leased(mine.lease);
            let taken = server.register(soon(), tenure, name.clone(), elsewhere(), expect).await?;
            ensure!(matches!(taken, Err(RegisterError::Held { .. })), "{taken:?}");
        }
        ensure!(
            server.lookup(soon(), AnyName::from(&name), Freshness::Local).await??.value == before,
            "the record has changed"
        );

        // A stamp from the future would make the true record look old.
        let direct =
            Reconnecting::new(cluster.name_server.address().into(), NAME_SERVICE, ClusterId::UNSTATED);
        let direct = NameServiceClient::from(direct);
        let seen =
            Stamp { cluster: names.cluster().await, boot: BootCount(u64::MAX), rev: Revision(u64::MAX) };
        let hello = Hello { cluster: None, seen: Some(seen), program: "x".into(), version: "0".into() };
        ensure!(direct.hello(soon(), hello).await?.is_err());

        let front_end = Reconnecting::new(address.into(), FRONTEND, ClusterId::UNSTATED);
        let front_end = FrontendClient::from(front_end);
        let year = Duration::from_hours(365 * 24);
        let motd = encode(&Command::SetMotd { text: "forged".into() });
        for ahead in [Duration::from_mins(11), year, 75 * year] {
            let id = RequestId::from_parts(Clock::wall().plus(ahead), 0, 1);
            let sent = front_end.execute(
                within(FRONTEND, PATIENCE),
                NAME.parse()?,
                id,
                VectorTimestamp::default(),
                motd.clone(),
            );
            let sent = sent.await?;
            ensure!(matches!(sent, Err(SubmitError::FromTheFuture { .. })), "{ahead:?}: {sent:?}");
        }
        // An old date is no lie that could be told: such an id counts once, like any other, or never.
        let id = RequestId::from_parts(Timestamp::from_millis(1), 0, 1);
        let lines = Lines::Given(vec![Item { item: "Pizza".into(), qty: 1 }]);
        let order = Command::PlaceOrder {
            user: "ann".into(),
            lines,
            delivery: Delivery::NextDay,
            tip: Pence::ZERO,
            postcode: Some("DH1 3LE".into()),
            strict: false,
            expected: None,
        };
        for _ in 0..2 {
            let prev = VectorTimestamp::default();
            front_end.execute(within(FRONTEND, PATIENCE), NAME.parse()?, id, prev, encode(&order)).await??;
        }
        let shop = client::just_hungry::JustHungry::over(shop::service(&names));
        ensure!(shop.motd().await.is_ok_and(|text| text != "forged"));
        ensure!(shop.orders("ann", false, 0, None).await.is_ok_and(|orders| orders.len() == 1));
        Ok(())
    })?;
    unharmed(&mut cluster)
}

fn elsewhere() -> Entry {
    let target = Target::Service {
        address: "127.0.0.1:9".parse().expect("an address"),
        object: ObjectName::new("").expect("no object"),
        contract: ContractName::new("replica").expect("a contract"),
    };
    let (sharing, readiness) = (Sharing::Exclusive, Readiness::Up);
    Entry { sharing, target, tags: Tags::default(), readiness, weight: Weight::default() }
}
