//! What a replica answers on its port: front ends by the `replica` contract, other replicas by the `peer` contract.
//! Each handler posts to a group's mailbox and waits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use common::clock::{Clock, Moment};
use common::ids::ClusterId;
use common::replication::{ConfigVersion, Epoch, GroupName, ReplicaId, RequestId, VectorTimestamp};
use common::rpc::gossip::{self, Said, SaidBack, Status};
use common::rpc::limits::{PEER, REPLICA};
use common::rpc::metered::{Calls, Metered};
use common::rpc::peer::{Hello, Message, Peer, Reply, ReplyBody};
use common::rpc::replica::{
    Answer, Consistency, Done, GossipStatus, MemberStatus, OperatorError, PAYLOAD_BYTES_MAX, QueryError,
    Replica, SubmitError,
};
use common::rpc::transport::{Caller, Route, remaining};
use tarpc::context::Context;

use crate::gossip::driver::mailbox::Group as GossipGroup;
use crate::hosted::Hosted;
use crate::links::Links;
use crate::meters;
use crate::passive::driver::mailbox::Group;

/// What is the same for all connections.
pub struct Served {
    /// The groups hosted here.
    pub groups: Vec<Hosted>,
    /// Whom to call back.
    pub links: Rc<Links>,
    /// Members of another cluster are not spoken to.
    pub cluster: ClusterId,
    /// For deadlines.
    pub clock: Clock,
    /// Peers' messages refused since the start.
    pub refused: Cell<u64>,
    /// Whether an operator may be on another machine: only where anybody there may do anything anyway.
    pub operators_from_afar: bool,
}

/// What a replica's port serves.
pub fn routes(served: Rc<Served>) -> Vec<Route> {
    let for_front_ends = served.clone();
    let front_ends = Calls::of(REPLICA.name, served.clock, meters::came);
    let peers = Calls::of(PEER.name, served.clock, meters::heard);
    vec![
        Route::new(REPLICA, move |caller| {
            let server = ReplicaServer { served: for_front_ends.clone(), caller };
            Metered::new(&front_ends, server.serve())
        }),
        Route::new(PEER, move |caller| {
            let server = PeerServer { served: served.clone(), caller, senders: Rc::default() };
            Metered::new(&peers, server.serve())
        }),
    ]
}

impl Served {
    fn group(&self, name: &GroupName) -> Option<&Hosted> {
        self.groups.iter().find(|group| group.name() == name)
    }

    fn passive(&self, name: &GroupName) -> Option<&Group> {
        match self.group(name)? {
            Hosted::Passive(group) => Some(group),
            Hosted::Gossip(_) => None,
        }
    }

    fn gossip(&self, name: &GroupName) -> Option<&GossipGroup> {
        match self.group(name)? {
            Hosted::Gossip(group) => Some(group),
            Hosted::Passive(_) => None,
        }
    }

    fn gossips(&self) -> impl Iterator<Item = &GossipGroup> {
        self.groups.iter().filter_map(|group| match group {
            Hosted::Gossip(group) => Some(group),
            Hosted::Passive(_) => None,
        })
    }

    fn deadline(&self, context: &Context) -> Moment {
        self.clock.now() + remaining(context)
    }
}

/// The `replica` contract.
#[derive(Clone)]
struct ReplicaServer {
    served: Rc<Served>,
    caller: Caller,
}

impl ReplicaServer {
    /// The group that an operator's call is about.
    fn for_operator(&self, service: GroupName) -> Result<Group, OperatorError> {
        self.operator()?;
        self.served.passive(&service).cloned().ok_or(OperatorError::UnknownService { service })
    }

    fn operator(&self) -> Result<(), OperatorError> {
        if !self.caller.peer.ip().to_canonical().is_loopback() && !self.served.operators_from_afar {
            return Err(OperatorError::Denied);
        }
        Ok(())
    }
}

impl Replica for ReplicaServer {
    async fn execute(
        self,
        context: Context,
        service: GroupName,
        request: RequestId,
        prev: VectorTimestamp,
        facts: Bytes,
        payload: Bytes,
    ) -> Result<Done, SubmitError> {
        let Some(group) = self.served.group(&service) else {
            return Err(SubmitError::UnknownService { service });
        };
        if payload.len().max(facts.len()) > PAYLOAD_BYTES_MAX {
            return Err(SubmitError::TooLarge { limit: PAYLOAD_BYTES_MAX as u64 });
        }
        let deadline = self.served.deadline(&context);
        match group {
            Hosted::Passive(group) => group.execute(request, facts, payload, deadline).await,
            Hosted::Gossip(group) => group.execute(request, prev, payload, deadline).await,
        }
    }

    async fn query(
        self,
        context: Context,
        service: GroupName,
        prev: VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError> {
        let Some(group) = self.served.group(&service) else {
            return Err(QueryError::UnknownService { service });
        };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(QueryError::TooLarge { limit: PAYLOAD_BYTES_MAX as u64 });
        }
        let deadline = self.served.deadline(&context);
        match group {
            Hosted::Passive(group) => group.query(consistency, payload, deadline).await,
            Hosted::Gossip(group) => group.query(prev, payload, deadline).await,
        }
    }

    async fn status(self, _: Context) -> Vec<MemberStatus> {
        let mut all = Vec::new();
        for group in &self.served.groups {
            if let Hosted::Passive(group) = group {
                all.extend(group.status().await);
            }
        }
        all
    }

    async fn prepare_adoption(self, _: Context, service: GroupName) -> Result<MemberStatus, OperatorError> {
        let group = self.for_operator(service)?;
        group.prepare_adoption().await.ok_or(OperatorError::Draining)
    }

    async fn adopted(
        self,
        _: Context,
        service: GroupName,
        version: ConfigVersion,
    ) -> Result<(), OperatorError> {
        self.operator()?;
        match self.served.group(&service) {
            Some(Hosted::Passive(group)) => group.adopted(version).await,
            Some(Hosted::Gossip(group)) => group.accept().await,
            None => return Err(OperatorError::UnknownService { service }),
        }
        Ok(())
    }

    async fn gossip_status(self, _: Context) -> Vec<GossipStatus> {
        let mut all = Vec::new();
        for group in self.served.gossips() {
            all.extend(group.status().await);
        }
        all
    }

    async fn set_status(self, _: Context, status: Status) -> Result<Status, OperatorError> {
        self.operator()?;
        let mut before = Status::default();
        for group in self.served.gossips() {
            before = group.set_status(status).await.ok_or(OperatorError::Draining)?;
        }
        Ok(before)
    }

    async fn leave(self, _: Context, service: GroupName, id: ReplicaId) -> Result<(), OperatorError> {
        self.operator()?;
        let group = self.served.gossip(&service).cloned();
        group.ok_or(OperatorError::UnknownService { service })?.remove(id).await
    }
}

/// The `peer` contract, on one connection.
#[derive(Clone)]
struct PeerServer {
    served: Rc<Served>,
    caller: Caller,
    /// Who said hello on this connection, per group. Every later message must be that sender's.
    senders: Rc<RefCell<BTreeMap<GroupName, ReplicaId>>>,
}

impl Peer for PeerServer {
    async fn passive(self, _: Context, group: GroupName, message: Message) -> Reply {
        let Some(mailbox) = self.served.passive(&group) else {
            return self.refuse(format!("no group {group} here"));
        };
        match self.admit(&group, message) {
            Ok((from, message)) => mailbox.hear(from, message).await,
            Err(why) => self.refuse(why),
        }
    }

    async fn gossip(self, _: Context, group: GroupName, said: Said) -> SaidBack {
        let Some(mailbox) = self.served.gossip(&group) else {
            return SaidBack::Refused { why: self.count_refused(format!("no group {group} here")) };
        };
        let heard = match said {
            Said::Hello(hello) => match self.greeted(&group, hello) {
                Ok(hello) => {
                    mailbox.met(hello).await;
                    let ours = mailbox.hello().await.ok_or_else(|| "this replica is stopping".to_owned());
                    return ours.map_or_else(|why| SaidBack::Refused { why }, SaidBack::Hello);
                }
                Err(why) => Err(why),
            },
            Said::Message(message) => {
                self.sender_of(&group, Some(sender(&message))).map(|from| (from, message))
            }
        };
        match heard {
            Ok((from, message)) => SaidBack::Reply(mailbox.hear(from, message).await),
            Err(why) => SaidBack::Refused { why: self.count_refused(why) },
        }
    }
}

/// Whose message it says to be.
fn sender(message: &gossip::Message) -> ReplicaId {
    match message {
        gossip::Message::Recall { from }
        | gossip::Message::Push { from, .. }
        | gossip::Message::Pull { from, .. }
        | gossip::Message::Join { from, .. }
        | gossip::Message::Chunk { from, .. } => *from,
    }
}

impl PeerServer {
    /// Whose message it is, if it may be theirs.
    fn admit(&self, group: &GroupName, message: Message) -> Result<(ReplicaId, Message), String> {
        if let Message::Hello(hello) = message {
            let hello = self.greeted(group, hello)?;
            return Ok((hello.me.id, Message::Hello(hello)));
        }
        let from = match &message {
            Message::Append { from, .. }
            | Message::Confirm { from, .. }
            | Message::SnapshotChunk { from, .. } => Some(*from),
            Message::Join { me, .. } => Some(me.id),
            Message::Hello(_) | Message::TakeOver { .. } | Message::HeardPrimary { .. } => None,
        };
        Ok((self.sender_of(group, from)?, message))
    }

    /// Who said hello on this connection, if that is who the message says to be from.
    fn sender_of(&self, group: &GroupName, from: Option<ReplicaId>) -> Result<ReplicaId, String> {
        let Some(sender) = self.senders.borrow().get(group).copied() else {
            return Err("the first message must be a hello".to_owned());
        };
        match from.filter(|from| *from != sender) {
            Some(from) => Err(format!("this connection is {sender:?}'s, the message is {from:?}'s")),
            None => Ok(sender),
        }
    }

    fn greeted(&self, group: &GroupName, mut hello: Hello) -> Result<Hello, String> {
        if hello.cluster != self.served.cluster {
            return Err(format!("this is cluster {}, not {}", self.served.cluster, hello.cluster));
        }
        // "As you see me."
        if hello.address.ip().is_unspecified() {
            hello.address.set_ip(self.caller.peer.ip());
        }
        self.senders.borrow_mut().insert(group.clone(), hello.me.id);
        self.served.links.heard_from(hello.address, group, hello.me);
        Ok(hello)
    }

    fn refuse(&self, why: String) -> Reply {
        Reply { epoch: Epoch(0), body: ReplyBody::Refused { why: self.count_refused(why) } }
    }

    fn count_refused(&self, why: String) -> String {
        let count = self.served.refused.get() + 1;
        self.served.refused.set(count);
        // Ever more rarely: a hostile peer must not fill the log.
        if count.is_power_of_two() {
            tracing::error!(peer = %self.caller.peer, count, why, "a peer's message was refused");
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::ids::InstanceId;
    use common::replication::{LogIndex, LogPoint, Member};
    use common::rpc::transport;
    use tokio::task::LocalSet;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

    fn group_name() -> GroupName {
        "just.hungry".parse().unwrap()
    }

    fn member(id: u128) -> Member {
        Member { id: ReplicaId::from_u128(id), boot: InstanceId::from_u128(id) }
    }

    fn hello(cluster: ClusterId, id: u128) -> Message {
        Message::Hello(Hello {
            cluster,
            me: member(id),
            name: "replica.2".parse().unwrap(),
            address: "0.0.0.0:9".parse().unwrap(),
            last: LogPoint::default(),
            wall: Timestamp::default(),
            config_version: ConfigVersion(0),
        })
    }

    fn confirm(id: u128) -> Message {
        let from = ReplicaId::from_u128(id);
        Message::Confirm { from, epoch: Epoch(1), round: 1, committed: LogIndex(0), state: None }
    }

    #[tokio::test]
    async fn an_operator_calls_from_this_machine_or_where_anybody_may_do_anything() {
        let test = async {
            let refusal = async |from: &str, operators_from_afar, service: &str| {
                let clock = Clock::start();
                let links = Links::new(CLUSTER, InstanceId::from_u128(1), clock);
                let (group, mailbox) = Group::new(group_name());
                // Its driver has ended.
                drop(mailbox);
                let (groups, refused) = (vec![Hosted::Passive(group)], Cell::new(0));
                let served = Served { groups, links, cluster: CLUSTER, clock, refused, operators_from_afar };
                let peer = format!("{from}:5").parse().unwrap();
                let caller = Caller { peer, cluster: CLUSTER, connection: 1 };
                let server = ReplicaServer { served: Rc::new(served), caller };
                let context = transport::within(REPLICA, std::time::Duration::from_secs(1));
                server.prepare_adoption(context, service.parse().unwrap()).await.unwrap_err()
            };
            assert_eq!(refusal("192.0.2.1", false, "just.hungry").await, OperatorError::Denied);
            assert_eq!(refusal("192.0.2.1", true, "just.hungry").await, OperatorError::Draining);
            assert_eq!(refusal("127.0.0.1", false, "just.hungry").await, OperatorError::Draining);
            let unknown = OperatorError::UnknownService { service: "movies".parse().unwrap() };
            assert_eq!(refusal("127.0.0.1", false, "movies").await, unknown);
        };
        LocalSet::new().run_until(test).await;
    }

    /// A connection from 127.0.0.1.
    fn connection() -> PeerServer {
        let clock = Clock::start();
        let links = Links::new(CLUSTER, InstanceId::from_u128(1), clock);
        let (group, _) = Group::new(group_name());
        let groups = vec![Hosted::Passive(group)];
        let refused = Cell::new(0);
        let served =
            Rc::new(Served { groups, links, cluster: CLUSTER, clock, refused, operators_from_afar: false });
        let peer = "127.0.0.1:5".parse().unwrap();
        let caller = Caller { peer, cluster: CLUSTER, connection: 1 };
        PeerServer { served, caller, senders: Rc::default() }
    }

    #[tokio::test]
    async fn a_connection_speaks_for_whom_it_said_hello_and_for_nobody_else() {
        let test = async {
            let connection = connection();
            let admit = |message| connection.admit(&group_name(), message);
            assert!(admit(confirm(2)).unwrap_err().contains("hello"));
            let Ok((from, Message::Hello(hello))) = admit(hello(CLUSTER, 2)) else { panic!("refused") };
            assert_eq!((from, hello.address.to_string()), (member(2).id, "127.0.0.1:9".to_owned()));
            assert!(admit(confirm(2)).is_ok());
            assert!(admit(confirm(3)).is_err());
            assert!(
                admit(Message::Join {
                    me: member(3),
                    last: LogPoint::default(),
                    config_version: ConfigVersion(0)
                })
                .is_err()
            );
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn members_of_another_cluster_and_of_unknown_groups_are_refused_and_counted() {
        let test = async {
            let connection = connection();
            let say = |group: &str, message| {
                let context = transport::within(PEER, std::time::Duration::from_secs(1));
                connection.clone().passive(context, group.parse().unwrap(), message)
            };
            let refused = |reply: Reply| matches!(reply.body, ReplyBody::Refused { .. });
            assert!(refused(say("just.hungry", hello(ClusterId::from_bytes([8; 16]), 2)).await));
            assert!(refused(say("movies", hello(CLUSTER, 2)).await));
            assert_eq!(connection.served.refused.get(), 2);
        };
        LocalSet::new().run_until(test).await;
    }
}
