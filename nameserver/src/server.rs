//! The shell: opens the store, restores what it holds, listens, says so, serves, and stops.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use common::clock::{Clock, Moment};
use common::ids::{ClusterId, InstanceId};
use common::machine::{self, Signals, TcpListener};
use common::names::{Address, BootCount, Revision};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::NameService as _;
use common::rpc::transport::{Route, ServeOptions, serve_with};
use common::telemetry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, PyroSecret, StorePlace};
use crate::groups::{GroupRow, Groups};
use crate::handlers::{Desk, Handlers};
use crate::leases::{Heard, LeaseRow, Leases};
use crate::metrics::Metered;
use crate::pages;
use crate::probes::Probes;
use crate::pyro;
use crate::pyro::frame::Key;
use crate::registry::{BOOTS_AHEAD_MAX, REVISIONS_AHEAD_MAX, Registry};
use crate::store::file::{FileStore, OpenError};
use crate::store::{Committer, Image, Store as _, Write, file};
use crate::watch::{RING_EVENTS, Ring};
use crate::writer::{MAILBOX, Message, Shared, Writer};

/// The cluster of a memory store that was told none.
const MEMORY_CLUSTER: &str = "dev";

/// Why the name server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("cannot listen at {address}: {error}\n  try: --listen 127.0.0.1:0, or stop what listens there")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store cannot be written.
    #[error("the store cannot be written: {0}")]
    Disk(String),
    /// The secret of Pyro 4 programs cannot be read.
    #[error(
        "the secret of Pyro 4 programs cannot be read from {path}: {error}\n  try: --pyro4-hmac-key-file FILE with a file that this user may read"
    )]
    Secret {
        /// Where it should be.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// Our fault.
    #[error("the writer failed: {0:?}")]
    Writer(Option<tokio::task::JoinError>),
    /// Something of the system's failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl ServerError {
    /// The process's exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } | Self::Secret { .. } | Self::Store(OpenError::OtherCluster { .. }) => 2,
            Self::Store(OpenError::InUse { .. }) => 75,
            Self::Store(OpenError::Damaged { .. } | OpenError::Io { .. }) | Self::Disk(_) => 74,
            Self::Writer(_) | Self::System(_) => 1,
        }
    }
}

/// Serves until `stop` is cancelled, and leaves cleanly. For a `LocalRuntime`.
///
/// # Errors
/// Why it could not begin.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ServerError> {
    let clock = Clock::start();
    let key = config.pyro.secret.as_ref().map(read_key).transpose()?;
    let cluster = config.cluster;
    let (store, image, store_name) = match &config.store {
        StorePlace::Memory => {
            let cluster = cluster.unwrap_or_else(|| MEMORY_CLUSTER.parse().expect("three letters"));
            warn!("nothing outlives this process: after a restart all groups are frozen");
            (None, Image::in_memory(cluster, Clock::wall()), "memory")
        }
        StorePlace::File(path) => {
            let (store, image) = file::open(path, cluster)?;
            (Some(store), image, "file")
        }
    };
    let bind = |error| ServerError::Bind { address: config.listen, error };
    let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let discovery = match config.pyro.discovery {
        Some(at) => {
            let bind = |error| ServerError::Bind { address: at, error };
            Some(pyro::discovery::listen(at).await.map_err(bind)?)
        }
        None => None,
    };
    let pages = match config.http {
        None => None,
        Some(http) => {
            let bind = |error| ServerError::Bind { address: http, error };
            Some(TcpListener::bind(http).await.map_err(bind)?)
        }
    };

    let limits = (config.names_max, config.leases_max);
    let restored = restore(clock.now(), image, limits);
    let Restored { mut registry, leases, groups, writes, cluster, boot, copy } = restored;
    let warm_at = match &store {
        None => clock.now() + config.warm_up,
        Some(_) if copy => clock.now() + leases.longest(),
        Some(_) => Moment::ORIGIN,
    };
    if copy {
        warn!(
            "this store is a copy: its names wait for their holders, and its groups for client cluster adopt"
        );
    }
    registry.list_ourselves(Address::from(address), NAME_SERVICE.name, InstanceId::random());
    let (committer, reports) = begin(store, &writes)?;
    let shelf = registry.shelf();
    let shared = Rc::new(Shared {
        clock,
        book: leases.book(),
        ring: RefCell::new(Ring::new(shelf.stamp().rev, RING_EVENTS)),
        bells: Rc::default(),
        meters: Rc::default(),
        group_bell: watch::Sender::new(()),
        warm_at: Cell::new(warm_at),
        polls: Cell::new(0),
        shelf,
    });
    let names = registry.names();
    let (mailbox, messages) = mpsc::channel(MAILBOX);
    let probes = Probes::new(config.autoclean);
    let writer = Writer::new(Rc::clone(&shared), registry, leases, groups, probes, committer, store_name);
    let mut writer = tokio::task::spawn_local(writer.run(messages, reports));

    let http = match &pages {
        None => "off".to_owned(),
        Some(pages) => pages.local_addr()?.to_string(),
    };
    let meters = Rc::clone(&shared.meters);
    if let Some(pages) = pages {
        tokio::task::spawn_local(pages::serve(pages, Rc::clone(&meters), mailbox.clone()));
    }
    announce(address, &http, store_name, cluster, boot, names)?;
    tokio::task::spawn_local(telemetry::warn_of_open_port(address));
    let (to_writer, ending) = (mailbox.clone(), stop.clone());
    let house = pyro::House::new(Rc::clone(&shared), mailbox.clone(), config.pyro, key, address);
    let house = Rc::new(house);
    let pyro = pyro::door(Rc::clone(&house));
    let _discovery =
        AbortOnDrop(discovery.map(|socket| tokio::task::spawn_local(pyro::discovery::answer(socket, house))));
    let route = Route::new(NAME_SERVICE, move |caller| {
        let (shared, mailbox, stop) = (Rc::clone(&shared), mailbox.clone(), ending.clone());
        let inner = Handlers::from(Desk { shared, mailbox, caller, stop, polls: Cell::default() }).serve();
        Metered { meters: Rc::clone(&meters), clock, inner }
    });
    let options = ServeOptions { cluster, connections_max: config.connections_max, stop };
    tokio::select! {
        () = serve_with(listener, vec![route].into(), vec![pyro], options) => {}
        // It ends before it is told to only by a panic: what it left behind is not served on.
        ended = &mut writer => return Err(ServerError::Writer(ended.err())),
    }
    info!("stopping");
    match to_writer.send(Message::Close).await {
        Ok(()) => writer.await.map_err(|error| ServerError::Writer(Some(error))),
        Err(_) => Err(ServerError::Writer(None)),
    }
}

/// A task that ends with whoever owns this.
struct AbortOnDrop(Option<tokio::task::JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn read_key(secret: &PyroSecret) -> Result<Key, ServerError> {
    let bytes = match secret {
        PyroSecret::Text(text) => text.clone().into_bytes(),
        PyroSecret::File(path) => std::fs::read(path)
            .map_err(|error| ServerError::Secret { path: path.display().to_string(), error })?,
    };
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    Ok(Key::new(text.strip_suffix(b"\r").unwrap_or(text)))
}

/// What a store's image becomes at a start.
#[derive(Debug)]
pub struct Restored {
    /// The names.
    pub registry: Registry,
    /// The leases, each with what is left of its grace.
    pub leases: Leases,
    /// The groups.
    pub groups: Groups,
    /// What the store must hold before anybody is answered.
    pub writes: Vec<Write>,
    /// Whose store it is.
    pub cluster: ClusterId,
    /// This boot.
    pub boot: BootCount,
    /// Whether the store was a copy.
    pub copy: bool,
}

/// Makes the cores of what a store holds.
pub fn restore(now: Moment, image: Image, (names_max, leases_max): (usize, usize)) -> Restored {
    let Image {
        cluster,
        copy,
        boot: previous,
        reserved,
        alive,
        leases: lease_rows,
        names,
        registrants,
        groups,
    } = image;
    let mut boot = BootCount(previous.0 + 1);
    let mut reserved = reserved;
    let mut writes = vec![Write::Alive(std::time::Duration::ZERO)];
    let mut groups: Vec<GroupRow> = groups;
    if copy {
        // Whatever the original gave away since the copy was made, no stamp and no epoch comes twice; and which
        // configurations are the newest only an operator can find out.
        boot = BootCount(previous.0 + BOOTS_AHEAD_MAX);
        reserved = Revision(reserved.0 + REVISIONS_AHEAD_MAX);
        groups.iter_mut().for_each(GroupRow::freeze);
        writes.push(Write::Original);
        writes.extend(groups.iter().cloned().map(Write::Group));
    }
    writes.push(Write::Boot(boot));
    let mut leases = Leases::new(now, leases_max);
    for (lease, row) in lease_rows {
        let grace = row.grace(previous, alive);
        leases.restore(now, lease, &row, grace);
        if copy || row.heard != Heard::In(previous) {
            let row = LeaseRow { heard: Heard::Left(boot, grace), ..row };
            writes.push(Write::Lease { lease, row: Some(row) });
        }
    }
    // Everything up to the mark may have been used.
    let mut registry = Registry::new(cluster, boot, Revision(reserved.0), names_max);
    writes.push(Write::Reserved(registry.reserved()));
    for orphan in registry.restore(names, registrants, &leases) {
        writes.push(Write::Name { name: orphan.view().to_name(), instance: orphan.instance(), row: None });
    }
    Restored { registry, leases, groups: Groups::new(cluster, groups), writes, cluster, boot, copy }
}

/// Puts down that a new boot has begun, and starts the commit thread.
fn begin(
    store: Option<FileStore>,
    writes: &[Write],
) -> Result<(Committer, mpsc::UnboundedReceiver<crate::store::Report>), ServerError> {
    let Some(mut store) = store else { return Ok(Committer::without_store()) };
    store.commit(writes).map_err(|fault| ServerError::Disk(fault.0))?;
    Ok(Committer::start(store)?)
}

/// The first line on standard output, and the last: whoever started us waits for it.
fn announce(
    address: SocketAddr,
    http: &str,
    store: &str,
    cluster: ClusterId,
    boot: BootCount,
    names: usize,
) -> Result<(), ServerError> {
    let store = format!("http={http} store={store} cluster={cluster} boot={boot} names={names}");
    Ok(machine::announce(&format!("nameserver ready address={address} {store}"))?)
}

/// Cancels `stop` at the first SIGTERM or Ctrl-C, and ends the process at the second.
///
/// # Errors
/// When signals cannot be caught.
pub fn stop_on_signals(stop: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::listen()?;
    Ok(async move {
        for second in [false, true] {
            signals.next().await;
            if second {
                machine::end(130);
            }
            stop.cancel();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::names::{LeaseId, Stamp};
    use common::replication::ConfigVersion;

    use super::*;

    const TTL: Duration = Duration::from_millis(500);
    const LIMITS: (usize, usize) = (100, 100);

    fn image() -> Image {
        let row = LeaseRow {
            ttl: TTL,
            instance: InstanceId::from_u128(1),
            owner: None,
            heard: Heard::In(BootCount(1)),
        };
        Image {
            cluster: ClusterId::from_bytes([1; 16]),
            copy: false,
            boot: BootCount(1),
            reserved: Revision(10_000),
            alive: Duration::ZERO,
            leases: vec![(LeaseId::from_random(1), row)],
            names: Vec::new(),
            registrants: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// What the store holds after these writes.
    fn apply(image: &mut Image, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Boot(boot) => image.boot = boot,
                Write::Reserved(rev) => image.reserved = rev,
                Write::Alive(alive) => image.alive = alive,
                Write::Original => image.copy = false,
                Write::Lease { lease, row } => {
                    image.leases.retain(|(id, _)| *id != lease);
                    image.leases.extend(row.map(|row| (lease, row)));
                }
                Write::Group(row) => image.groups = vec![row],
                Write::Name { .. } | Write::Registrant { .. } => {
                    unreachable!("there are none")
                }
            }
        }
    }

    /// Field failure: a name server that was killed again and again gave the dead a whole time-to-live each time.
    /// Here it serves half of one in each life; the lease has ended in the third.
    #[test]
    fn f02_restarts_do_not_immortalise() {
        let mut image = image();
        for life in 1..=10 {
            let Restored { mut leases, writes, .. } = restore(Moment::ORIGIN, image.clone(), LIMITS);
            apply(&mut image, writes);
            let mut ended = 0;
            for tick in 1..=25 {
                leases.tick(Moment::after_origin(Duration::from_millis(tick * 10)));
                ended += leases.sweep(usize::MAX).len();
            }
            apply(&mut image, vec![Write::Alive(TTL / 2)]);
            assert_eq!(ended, usize::from(life >= 2), "in life {life}");
        }
    }

    /// A store that was found out to be an old copy wrote its leases as if they had been heard in a boot that was no
    /// more: after the next start they had the rest of an earlier grace, or none.
    #[test]
    fn after_a_jump_a_holder_has_what_it_had_at_the_next_start_too() {
        let mut image = image();
        let Restored { mut leases, mut registry, writes, .. } =
            restore(Moment::ORIGIN, image.clone(), LIMITS);
        apply(&mut image, writes);
        let now = Moment::after_origin(TTL / 5);
        for ten in 1..=10 {
            leases.tick(Moment::after_origin(Duration::from_millis(ten * 10)));
        }
        let later = Stamp { boot: BootCount(7), ..registry.shelf().stamp() };
        apply(&mut image, registry.seen(later).expect("it is honest").expect("it is later"));
        let rows = leases.doubt(now, registry.shelf().stamp().boot, TTL / 5);
        apply(
            &mut image,
            rows.into_iter().map(|(lease, row)| Write::Lease { lease, row: Some(row) }).collect(),
        );
        apply(&mut image, vec![Write::Alive(TTL / 5)]);
        let Restored { leases, boot, .. } = restore(Moment::ORIGIN, image.clone(), LIMITS);
        assert_eq!(boot, BootCount(9));
        assert_eq!(leases.left(Moment::ORIGIN, LeaseId::from_random(1)), TTL * 4 / 5);
    }

    #[test]
    fn a_copy_goes_on_far_beyond_what_the_original_may_have_given_away() {
        let config = common::replication::GroupConfig::first(
            ClusterId::from_bytes([1; 16]),
            "g".parse().expect("a good name"),
            common::replication::Member {
                id: common::replication::ReplicaId::from_u128(1),
                boot: InstanceId::from_u128(1),
            },
            1,
        );
        let standing = Some((
            common::rpc::name_service::Config::Passive(config),
            common::replication::Proposer::Operator,
        ));
        let group = GroupRow { group: "g".parse().expect("a good name"), standing, seen: ConfigVersion(1) };
        let image = Image { copy: true, groups: vec![group.clone()], ..image() };
        let Restored { registry, writes, boot, mut groups, .. } =
            restore(Moment::ORIGIN, image.clone(), LIMITS);
        assert_eq!(boot, BootCount(1_001));
        assert!(registry.shelf().stamp().rev >= Revision(1 << 40));
        assert!(writes.contains(&Write::Original));
        assert!(groups.read(&group.group, None).is_err(), "only an operator knows which one is the newest");
        let Restored { mut groups, .. } = restore(Moment::ORIGIN, Image { copy: false, ..image }, LIMITS);
        assert!(groups.read(&group.group, None).is_ok());
    }

    #[test]
    fn revisions_go_on_past_the_mark_and_groups_come_back() {
        let group =
            GroupRow { group: "g".parse().expect("a good name"), standing: None, seen: ConfigVersion(3) };
        let image = Image { groups: vec![group], ..image() };
        let Restored { registry, writes, boot, mut groups, .. } = restore(Moment::ORIGIN, image, LIMITS);
        assert_eq!((boot, registry.shelf().stamp().rev), (BootCount(2), Revision(10_000)));
        assert!(writes.contains(&Write::Reserved(Revision(20_000))));
        assert!(groups.read(&"g".parse().expect("a good name"), None).is_err(), "it stays frozen");
    }
}
