//! The connections to other replicas' processes: one to each, always up while its process lives, shared by all
//! groups.
//!
//! A connection that breaks is dialled again at once; a refusal then is how a death is noticed within a
//! millisecond. Who they are comes from three sources, none of which is authority: the registry (names that begin
//! with `replica.`), the hellos of those who dialled us, and the addresses that a disk remembers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::directory::Names;
use common::ids::{ClusterId, InstanceId};
use common::names::{Address, Host, LogicalName, Names as Which, Query, Record};
use common::replication::{GroupName, Member, ReplicaId};
use common::rpc::gossip::{self, Said, SaidBack};
use common::rpc::limits::PEER;
use common::rpc::peer::{Hello, Message, PeerClient, PeerRequest, PeerResponse, Reply, ReplyBody};
use common::rpc::transport::{CallError, Connection, within};
use tarpc::client::RpcError;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::hosted::{Hosted, Listed};

/// How long a peer's machine has to accept.
const CONNECT_WITHIN: Duration = Duration::from_millis(300);
/// How long a peer has to greet back, from memory.
const GREET_WITHIN: Duration = Duration::from_secs(1);
/// A connection without bytes is closed after 45 s; a hello before that keeps it, and tells of a new identity.
const GREET_EVERY: Duration = Duration::from_secs(20);
/// After so long a greeting that nobody answered is repeated: until then its group reaches nobody there.
const GREET_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Before an address is dialled again that could not be reached. A process that is being killed closes its listener a
/// moment after its connections, and resets who dialled in between: that is no refusal, the next dial's is.
const BACK_OFF_MIN: Duration = Duration::from_millis(1);
/// And at most.
const BACK_OFF_MAX: Duration = Duration::from_millis(400);
/// How long an address is tried that the registry does not list: a member that restarts while there is no name
/// server comes back within this, or dials us.
const UNLISTED_KEPT: Duration = Duration::from_mins(1);
/// Greetings and gossip in a row without a reply, while nothing else is replied to either, after which a connection is
/// given up: after a cut the kernel's own back-off sleeps for seconds.
const SILENT_MAX: u32 = 2;
/// Processes dialled at once; a group has seven members at most.
const LINKS_MAX: usize = 32;

/// What came of saying hello for each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeted {
    /// All were answered, if only by a refusal.
    All,
    /// Some were not.
    NotAll,
    /// It was we ourselves who answered.
    Ourselves,
}

/// All connections of this process to others of its kind.
#[derive(Debug)]
pub struct Links {
    cluster: ClusterId,
    boot: InstanceId,
    clock: Clock,
    groups: RefCell<Vec<Hosted>>,
    /// By where they listen.
    processes: RefCell<BTreeMap<SocketAddr, Rc<Link>>>,
}

/// The connection to one process.
#[derive(Debug)]
struct Link {
    address: SocketAddr,
    connection: RefCell<Option<Connection<PeerRequest, PeerResponse>>>,
    /// Who greeted back on this connection.
    greeted: RefCell<BTreeMap<GroupName, Member>>,
    /// Who was last known there; of them a refusal tells.
    known: RefCell<BTreeMap<GroupName, Member>>,
    /// Whether the registry lists it.
    listed: Cell<bool>,
    /// Something changed: greet again, or dial now.
    nudge: Notify,
    /// Calls in a row that nobody answered in time.
    silent: Cell<u32>,
    /// It is to be dialled anew.
    hang_up: Cell<bool>,
}

impl Link {
    /// Takes in whether a call was answered in time; too many were not: the connection is dialled anew.
    fn was_answered(&self, answered: bool) {
        self.silent.set(if answered { 0 } else { self.silent.get() + 1 });
        if self.silent.get() >= SILENT_MAX {
            self.silent.set(0);
            self.hang_up.set(true);
            self.nudge.notify_one();
        }
    }
}

impl Links {
    /// No connections yet; `boot` is this process.
    pub fn new(cluster: ClusterId, boot: InstanceId, clock: Clock) -> Rc<Self> {
        let (groups, processes) = (RefCell::default(), RefCell::default());
        Rc::new(Self { cluster, boot, clock, groups, processes })
    }

    /// Speaks for this group too, from the next greeting on.
    pub fn join(&self, group: Hosted) {
        self.groups.borrow_mut().push(group);
    }

    /// Keeps connections to all that the registry lists, for ever.
    pub async fn follow(self: Rc<Self>, names: Names) {
        let mut view = names.view(Query::by_name(Which::Prefix("replica.".into())));
        loop {
            let records = view.borrow_and_update().records.clone();
            self.list(&records).await;
            if view.changed().await.is_err() {
                return;
            }
        }
    }

    async fn list(self: &Rc<Self>, records: &[std::sync::Arc<Record>]) {
        for link in self.processes.borrow().values() {
            link.listed.set(false);
        }
        let groups = self.groups.borrow().clone();
        let mut found: Vec<Vec<Listed>> = vec![Vec::new(); groups.len()];
        for record in records.iter().filter(|record| record.instance != self.boot) {
            let Some(address) = record.target.address().and_then(socket) else { continue };
            let Ok(name) = record.name.as_str().parse::<LogicalName>() else { continue };
            let Some(link) = self.learn(address) else { continue };
            link.listed.set(true);
            for (group, found) in groups.iter().zip(&mut found) {
                let id = record.tags.value(&format!("id.{}", group.name())).and_then(|id| id.parse().ok());
                let Some(id) = id else { continue };
                let member = Member { id, boot: record.instance };
                found.push(Listed { member, name: name.clone(), address });
                // While it is connected, its own word counts.
                if link.connection.borrow().is_none()
                    && link.known.borrow_mut().insert(group.name().clone(), member) != Some(member)
                {
                    link.nudge.notify_one();
                }
            }
        }
        for (group, found) in groups.iter().zip(found) {
            group.listed(found).await;
        }
    }

    /// Keeps a connection to `address` from now on, as far as there may be more.
    pub fn meet(self: &Rc<Self>, address: SocketAddr) {
        self.learn(address);
    }

    /// Somebody said hello: keeps a connection there, and greets again on one where somebody else was known (a
    /// process whose disk was formatted anew).
    pub fn heard_from(self: &Rc<Self>, address: SocketAddr, group: &GroupName, member: Member) {
        let Some(link) = self.learn(address) else { return };
        if link.greeted.borrow().get(group).is_some_and(|greeted| *greeted != member) {
            link.nudge.notify_one();
        }
    }

    fn learn(self: &Rc<Self>, address: SocketAddr) -> Option<Rc<Link>> {
        if let Some(link) = self.processes.borrow().get(&address) {
            return Some(link.clone());
        }
        if self.processes.borrow().len() >= LINKS_MAX {
            return None;
        }
        let link = Rc::new(Link {
            address,
            connection: RefCell::default(),
            greeted: RefCell::default(),
            known: RefCell::default(),
            listed: Cell::new(false),
            nudge: Notify::new(),
            silent: Cell::new(0),
            hang_up: Cell::new(false),
        });
        self.processes.borrow_mut().insert(address, link.clone());
        crate::spawn_essential(self.clone().keep(link.clone()));
        Some(link)
    }

    /// Greets on every connection again: an identity has changed.
    pub fn greet_again(&self) {
        for link in self.processes.borrow().values() {
            link.nudge.notify_one();
        }
    }

    /// Sends `message` to `to`, when its process is connected. It is queued at the first poll; `None` comes when
    /// there will be no reply.
    pub fn call(
        &self,
        group: &GroupName,
        to: ReplicaId,
        message: Message,
        time: Duration,
    ) -> Option<impl Future<Output = Option<Reply>> + 'static> {
        let (link, connection) = self.leading_to(group, to)?;
        let group = group.clone();
        Some(async move {
            let reply = PeerClient::from(connection).passive(within(PEER, time), group, message).await;
            if reply.is_ok() {
                link.was_answered(true);
            }
            reply.inspect_err(|error| tracing::debug!(%error, "a peer did not reply")).ok()
        })
    }

    /// The same, in a gossip group.
    pub fn call_gossip(
        &self,
        group: &GroupName,
        to: ReplicaId,
        message: gossip::Message,
        time: Duration,
    ) -> Option<impl Future<Output = Option<gossip::Reply>> + 'static> {
        let (link, connection) = self.leading_to(group, to)?;
        let group = group.clone();
        Some(async move {
            let said = Said::Message(message);
            let reply = PeerClient::from(connection).gossip(within(PEER, time), group, said).await;
            link.was_answered(!matches!(reply, Err(RpcError::DeadlineExceeded)));
            match reply {
                Ok(SaidBack::Reply(reply)) => Some(reply),
                Ok(other) => {
                    tracing::debug!(?other, "a peer refused");
                    None
                }
                Err(error) => {
                    tracing::debug!(%error, "a peer did not reply");
                    None
                }
            }
        })
    }

    /// The connection to whoever said to be `to`.
    fn leading_to(
        &self,
        group: &GroupName,
        to: ReplicaId,
    ) -> Option<(Rc<Link>, Connection<PeerRequest, PeerResponse>)> {
        let links = self.processes.borrow();
        let greeted =
            |link: &&Rc<Link>| link.greeted.borrow().get(group).is_some_and(|member| member.id == to);
        let link = links.values().find(greeted)?.clone();
        let connection = link.connection.borrow().clone()?;
        Some((link, connection))
    }

    /// Dials, greets, and dials again, until the address is nobody's.
    async fn keep(self: Rc<Self>, link: Rc<Link>) {
        let mut back_off = BACK_OFF_MIN;
        let mut reached = self.clock.now();
        loop {
            let dialled = Connection::dial(&link.address.into(), PEER, self.cluster, CONNECT_WITHIN).await;
            match dialled {
                Ok(connection) => {
                    let since = self.clock.now();
                    let ourselves = self.stay(&link, connection).await;
                    if ourselves {
                        break;
                    }
                    reached = self.clock.now();
                    if reached.since(since) > BACK_OFF_MAX {
                        // At once: if that is refused, the process is gone.
                        back_off = BACK_OFF_MIN;
                        continue;
                    }
                }
                Err(CallError::Unreachable { refused: true, .. }) => self.refused(&link).await,
                Err(error) => tracing::debug!(peer = %link.address, %error, "cannot reach a peer"),
            }
            if self.is_nobodys(&link, reached) {
                break;
            }
            let wait = rand::random_range(back_off / 2..=back_off);
            // A nudge says that somebody new listens there.
            let _ = timeout(wait, link.nudge.notified()).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        self.processes.borrow_mut().remove(&link.address);
    }

    fn is_nobodys(&self, link: &Link, reached: Moment) -> bool {
        !link.listed.get() && self.clock.now().since(reached) > UNLISTED_KEPT
    }

    /// Uses a connection until it is gone. Whether it leads to ourselves.
    async fn stay(&self, link: &Link, connection: Connection<PeerRequest, PeerResponse>) -> bool {
        link.connection.replace(Some(connection.clone()));
        link.hang_up.set(false);
        let ourselves = loop {
            let again_after = match self.greet(link, &connection).await {
                Greeted::Ourselves => break true,
                Greeted::All => GREET_EVERY,
                Greeted::NotAll => GREET_AGAIN_AFTER,
            };
            tokio::select! { biased;
                () = connection.closed() => break false,
                () = link.nudge.notified() => {
                    if link.hang_up.take() {
                        tracing::info!(peer = %link.address, "a peer is silent: dialling anew");
                        break false;
                    }
                }
                () = sleep(again_after) => {}
            }
        };
        link.greeted.borrow_mut().clear();
        link.connection.replace(None);
        ourselves
    }

    /// Says hello for each group.
    async fn greet(&self, link: &Link, connection: &Connection<PeerRequest, PeerResponse>) -> Greeted {
        let groups = self.groups.borrow().clone();
        let mut greeted = Greeted::All;
        for group in groups {
            let Some(hello) = group.hello().await else { continue };
            match exchange(connection, &group, hello).await {
                Ok(Ok(theirs)) => {
                    if theirs.me.boot == self.boot {
                        return Greeted::Ourselves;
                    }
                    link.was_answered(true);
                    if theirs.cluster != self.cluster {
                        continue;
                    }
                    if link.greeted.borrow_mut().insert(group.name().clone(), theirs.me) != Some(theirs.me) {
                        let (replica, peer) = (theirs.me.id, link.address);
                        tracing::debug!(group = %group.name(), %replica, %peer, name = %theirs.name, "met a peer");
                    }
                    link.known.borrow_mut().insert(group.name().clone(), theirs.me);
                    group.met(Hello { address: link.address, ..theirs }).await;
                }
                Ok(Err(why)) => tracing::debug!(peer = %link.address, why, "a peer did not greet back"),
                Err(error) => {
                    link.was_answered(!matches!(error, RpcError::DeadlineExceeded));
                    greeted = Greeted::NotAll;
                    tracing::debug!(peer = %link.address, %error, "a peer did not greet back");
                }
            }
        }
        greeted
    }

    async fn refused(&self, link: &Link) {
        let groups = self.groups.borrow().clone();
        for group in groups {
            let member = link.known.borrow().get(group.name()).copied();
            if let Some(member) = member {
                group.refused(member).await;
            }
        }
    }
}

/// Says hello for a group, and hears who is there.
async fn exchange(
    connection: &Connection<PeerRequest, PeerResponse>,
    group: &Hosted,
    hello: Hello,
) -> Result<Result<Hello, String>, RpcError> {
    let (client, context) = (PeerClient::from(connection.clone()), within(PEER, GREET_WITHIN));
    Ok(match group {
        Hosted::Passive(group) => {
            match client.passive(context, group.name().clone(), Message::Hello(hello)).await? {
                Reply { body: ReplyBody::Hello(theirs), .. } => Ok(theirs),
                other => Err(format!("{other:?}")),
            }
        }
        Hosted::Gossip(group) => {
            match client.gossip(context, group.name().clone(), Said::Hello(hello)).await? {
                SaidBack::Hello(theirs) => Ok(theirs),
                other => Err(format!("{other:?}")),
            }
        }
    })
}

/// A replica's address, which it registered by number.
fn socket(address: &Address) -> Option<SocketAddr> {
    match address.host {
        Host::Ip(ip) => Some(SocketAddr::new(ip, address.port)),
        Host::Dns(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use common::rpc::transport::{ServeOptions, serve};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::passive::driver::mailbox::{Group, Letter, Mailbox};
    use crate::server::{Served, routes};

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

    fn hello(id: u128) -> Hello {
        Hello {
            cluster: CLUSTER,
            me: Member { id: ReplicaId::from_u128(id), boot: InstanceId::from_u128(id) },
            name: "replica.1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
            last: common::replication::LogPoint::default(),
            wall: common::clock::Timestamp::default(),
            config_version: common::replication::ConfigVersion(0),
        }
    }

    fn process(boot: u128) -> (Rc<Links>, Group, Mailbox) {
        let links = Links::new(CLUSTER, InstanceId::from_u128(boot), Clock::start());
        let (group, mailbox) = Group::new("just.hungry".parse().unwrap());
        links.join(Hosted::Passive(group.clone()));
        (links, group, mailbox)
    }

    /// Answers for a driver: says who it is, and acknowledges what it hears. Returns the first letter that is none
    /// of these.
    async fn answer(mailbox: &mut Mailbox, me: u128) -> Letter {
        loop {
            match mailbox.letters.recv().await.expect("somebody posts") {
                Letter::Hello(asker) => asker.send(hello(me)).unwrap(),
                Letter::Peer { message: Message::Hello(_), answer, .. } => {
                    let body = ReplyBody::Hello(hello(me));
                    answer.send(Reply { epoch: common::replication::Epoch(0), body }).unwrap();
                }
                Letter::Peer { answer, .. } => {
                    let body = ReplyBody::Accepted;
                    answer.send(Reply { epoch: common::replication::Epoch(3), body }).unwrap();
                }
                other => return other,
            }
        }
    }

    /// Serves `group` of the process `links`; where, and what ends it.
    async fn serving(
        group: Group,
        links: Rc<Links>,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Served {
            groups: vec![Hosted::Passive(group)],
            links,
            cluster: CLUSTER,
            clock: Clock::start(),
            refused: Cell::new(0),
            operators_from_afar: false,
        };
        let stop = CancellationToken::new();
        let options = ServeOptions { cluster: CLUSTER, connections_max: 10, stop: stop.clone() };
        let served = tokio::task::spawn_local(serve(listener, routes(Rc::new(served)), options));
        (address, stop, served)
    }

    #[tokio::test]
    async fn a_greeting_that_nobody_answers_is_soon_repeated() {
        let test = async {
            let (links_2, group_2, mut mailbox_2) = process(2);
            let (address, ..) = serving(group_2, links_2).await;
            tokio::task::spawn_local(async move {
                // The first one is lost.
                let lost = mailbox_2.letters.recv().await;
                assert!(matches!(lost, Some(Letter::Peer { message: Message::Hello(_), .. })), "{lost:?}");
                let _kept = lost;
                answer(&mut mailbox_2, 2).await
            });
            let (links, _group, mut mailbox) = process(1);
            links.meet(address);
            let met = timeout(GREET_EVERY / 2, answer(&mut mailbox, 1)).await;
            assert!(matches!(met, Ok(Letter::Met(_))), "{met:?}");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_peer_is_met_called_and_its_end_is_noticed_by_a_refusal() {
        let test = async {
            // Process 2 serves; process 1 is told its address.
            let (links_2, group_2, mut mailbox_2) = process(2);
            let (address, stop, serving) = serving(group_2, links_2).await;
            tokio::task::spawn_local(async move { answer(&mut mailbox_2, 2).await });
            let (links, group, mut mailbox) = process(1);
            links.meet(address);
            let Letter::Met(met) = answer(&mut mailbox, 1).await else { panic!("not met") };
            assert_eq!((met.me.id, met.address), (ReplicaId::from_u128(2), address));
            let join = Message::Join {
                me: hello(1).me,
                last: hello(1).last,
                config_version: hello(1).config_version,
            };
            let call = |to: u128, message: Message| {
                links.call(group.name(), ReplicaId::from_u128(to), message, Duration::from_secs(5))
            };
            assert!(call(3, join.clone()).is_none(), "nobody met has that identity");
            let reply = call(2, join).expect("met").await.unwrap();
            assert_eq!(reply.body, ReplyBody::Accepted);
            stop.cancel();
            serving.await.unwrap();
            let Letter::Refused(gone) = answer(&mut mailbox, 1).await else { panic!("not noticed") };
            assert_eq!(gone, met.me);
        };
        LocalSet::new().run_until(test).await;
    }
}
