//! The server before replicas of our own making, on real sockets.

use common::clock::Timestamp;
use common::names::Address;
use common::replication::{ConfigVersion, Epoch, GroupConfig, LogIndex, LogPoint, ReplicaId};
use common::rpc::gossip::Status;
use common::rpc::limits::REPLICA;
use common::rpc::replica::{GossipStatus, MemberStatus, OperatorError, Position, Replica};
use common::rpc::transport::{Route, ServeOptions, serve};
use common::services::just_hungry::Answer::Postcode;
use common::services::just_hungry::Query;
use common::services::just_hungry::command::{Command, Delivery, Facts, Lines, Reply};
use common::services::just_hungry::refusal::Refusal;
use common::services::money::Pence;

use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fixtures::{CLUSTER, food, led_by, name};
use crate::outside::Policy;
use crate::outside::films::Films;
use crate::outside::postcodes::Postcodes;
use crate::outside::scripted::{Says, World};

const REQUEST: RequestId = RequestId::from_parts(Timestamp::from_millis(1_767_268_800_000), 0, 7);
const DONE: LogPoint = LogPoint { epoch: Epoch(1), index: LogIndex(2) };

/// What a replica of ours was asked.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    request: RequestId,
    facts: Bytes,
    payload: Bytes,
}

/// How it answers: with its own word for a reply, or that it does not lead.
#[derive(Clone)]
enum Manner {
    Primary,
    Backup { knows: GroupConfig },
    Silent,
}

#[derive(Clone)]
struct Fake {
    manner: Manner,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Replica for Fake {
    async fn execute(
        self,
        _: Context,
        _: GroupName,
        request: RequestId,
        _: VectorTimestamp,
        facts: Bytes,
        payload: Bytes,
    ) -> Result<Done, SubmitError> {
        self.asked.send(Asked { request, facts, payload: payload.clone() }).unwrap();
        match self.manner {
            Manner::Primary => {
                let position = Position::Log(DONE);
                Ok(Done { reply: payload, position, floor: RequestId::LEAST, now: Timestamp::default() })
            }
            Manner::Backup { knows } => {
                Err(SubmitError::NotPrimary { config: Some(Box::new(knows)), address: None })
            }
            Manner::Silent => std::future::pending().await,
        }
    }

    async fn query(
        self,
        _: Context,
        _: GroupName,
        _: VectorTimestamp,
        _: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError> {
        match self.manner {
            Manner::Primary => Ok(Answer { answer: payload, position: Position::Log(DONE) }),
            Manner::Backup { knows } => {
                Err(QueryError::NotPrimary { config: Some(Box::new(knows)), address: None })
            }
            Manner::Silent => std::future::pending().await,
        }
    }

    async fn status(self, _: Context) -> Vec<MemberStatus> {
        Vec::new()
    }

    async fn prepare_adoption(self, _: Context, _: GroupName) -> Result<MemberStatus, OperatorError> {
        unreachable!("a front end is no operator")
    }

    async fn adopted(self, _: Context, _: GroupName, _: ConfigVersion) -> Result<(), OperatorError> {
        unreachable!("a front end is no operator")
    }

    async fn gossip_status(self, _: Context) -> Vec<GossipStatus> {
        Vec::new()
    }

    async fn set_status(self, _: Context, _: Status) -> Result<Status, OperatorError> {
        unreachable!("a front end is no operator")
    }

    async fn leave(self, _: Context, _: GroupName, _: ReplicaId) -> Result<(), OperatorError> {
        unreachable!("a front end is no operator")
    }
}

/// A replica that listens; what it is asked comes out at the other end.
async fn replica(manner: Manner) -> (Address, mpsc::UnboundedReceiver<Asked>) {
    let (asked, was_asked) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let fake = Fake { manner, asked };
    let options = ServeOptions { cluster: CLUSTER, connections_max: 8, stop: CancellationToken::new() };
    tokio::task::spawn_local(serve(
        listener,
        vec![Route::new(REPLICA, move |_| fake.clone().serve())],
        options,
    ));
    (address, was_asked)
}

/// An address where nobody listens.
async fn nobody() -> Address {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().into()
}

fn server_in(postcodes: Postcodes<World>) -> Rc<Server<World>> {
    Server::new(
        Courier::new(Clock::start(), CLUSTER, [food()], []),
        Door::new(postcodes, Policy::Lenient, Films::new(None)),
    )
}

fn server() -> Rc<Server<World>> {
    server_in(Postcodes::offline(None))
}

/// A server that knows who leads whom, where.
fn server_of(record: &GroupConfig, addresses: &[Address]) -> Rc<Server<World>> {
    let server = server();
    server.courier().learn(record);
    let names: Vec<_> =
        (1..).zip(addresses).map(|(number, address)| name(number, number.into(), address.clone())).collect();
    server.courier().name_places(&names);
    server
}

fn order(postcode: &str) -> Bytes {
    encode(&Command::PlaceOrder {
        user: "ann".to_owned(),
        lines: Lines::Basket,
        delivery: Delivery::NextDay,
        tip: Pence::new(0),
        postcode: Some(postcode.to_owned()),
        strict: false,
        expected: None,
    })
}

fn soon() -> Context {
    within(FRONTEND, Duration::from_secs(20))
}

async fn execute(server: &Rc<Server<World>>, payload: &Bytes) -> Result<Done, SubmitError> {
    server.desk().execute(soon(), food(), REQUEST, VectorTimestamp::default(), payload.clone()).await
}

#[tokio::test(flavor = "local")]
async fn an_order_reaches_the_primary_with_its_facts_beside_the_clients_bytes() {
    let (primary, mut asked) = replica(Manner::Primary).await;
    let server = server_of(&led_by(1, 1, &[1]), &[primary]);
    let payload = order(" dh1 3le");
    assert_eq!(execute(&server, &payload).await.unwrap().reply, payload);
    let asked = asked.recv().await.unwrap();
    assert_eq!((asked.request, asked.payload), (REQUEST, payload));
    let facts: Facts = decode(&asked.facts).unwrap();
    assert_eq!(facts.verdict.unwrap().postcode.as_str(), "DH1 3LE");
}

#[tokio::test(flavor = "local")]
async fn a_dead_primary_costs_the_caller_nothing_but_time() {
    let old = led_by(1, 1, &[1, 2, 3]);
    let (backup, mut backup_asked) = replica(Manner::Backup { knows: old.clone() }).await;
    let (winner, mut winner_asked) = replica(Manner::Primary).await;
    let server = server_of(&old, &[nobody().await, backup, winner]);
    let payload = order("DH1 3LE");
    let (done, ()) = tokio::join!(execute(&server, &payload), async {
        // The backup is asked, looks at the dead socket itself, and another one wins.
        assert_eq!(backup_asked.recv().await.unwrap().request, REQUEST);
        server.courier().learn(&led_by(3, 2, &[2, 3]));
    });
    assert_eq!(done.unwrap().reply, payload);
    assert_eq!(winner_asked.recv().await.unwrap().request, REQUEST);
}

#[tokio::test(flavor = "local")]
async fn a_replica_that_knows_a_newer_record_is_believed() {
    let new = led_by(2, 2, &[1, 2]);
    let (deposed, _asked) = replica(Manner::Backup { knows: new }).await;
    let (primary, _also) = replica(Manner::Primary).await;
    let server = server_of(&led_by(1, 1, &[1, 2]), &[deposed, primary]);
    assert!(execute(&server, &order("DH1 3LE")).await.is_ok());
    let prev = VectorTimestamp::default();
    let read =
        server.desk().query(soon(), food(), prev, Consistency::Linearizable, Bytes::from_static(b"q")).await;
    assert_eq!(read.unwrap().answer, "q");
}

#[tokio::test(flavor = "local")]
async fn a_silent_primary_is_left_when_the_group_has_another() {
    let (silent, mut silent_asked) = replica(Manner::Silent).await;
    let (winner, mut winner_asked) = replica(Manner::Primary).await;
    let server = server_of(&led_by(1, 1, &[1, 2]), &[silent, winner]);
    let payload = order("DH1 3LE");
    let (done, ()) = tokio::join!(execute(&server, &payload), async {
        silent_asked.recv().await.unwrap();
        server.courier().learn(&led_by(2, 2, &[2]));
    });
    assert!(done.is_ok());
    assert_eq!(winner_asked.recv().await.unwrap().request, REQUEST);
}

#[tokio::test(flavor = "local")]
async fn a_client_that_goes_away_does_not_stop_its_order() {
    let (primary, mut asked) = replica(Manner::Primary).await;
    let server = server();
    server.courier().learn(&led_by(1, 1, &[1]));
    let payload = order("DH1 3LE");
    {
        // Nobody knows yet where the primary listens, so the order waits; and its handler is dropped.
        let mut handler = std::pin::pin!(execute(&server, &payload));
        assert!(handler.as_mut().now_or_never().is_none());
    }
    server.courier().name_places(&[name(1, 1, primary)]);
    assert_eq!(asked.recv().await.unwrap().payload, payload);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_to_ask_is_no_primary() {
    let nobody = server_of(&led_by(1, 1, &[1]), &[nobody().await]);
    let error = execute(&nobody, &order("DH1 3LE")).await.unwrap_err();
    assert_eq!(error, SubmitError::NoPrimary { service: food() });
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_silent_group_is_unacknowledged_before_the_callers_own_deadline() {
    let (silent, _asked) = replica(Manner::Silent).await;
    let server = server_of(&led_by(1, 1, &[1]), &[silent]);
    let context = within(FRONTEND, Duration::from_millis(200));
    let prev = VectorTimestamp::default();
    let error = server.desk().execute(context, food(), REQUEST, prev, order("DH1 3LE")).await.unwrap_err();
    assert!(
        matches!(error, SubmitError::Unacknowledged { waited } if waited < Duration::from_millis(200)),
        "{error}"
    );
}

#[tokio::test(flavor = "local")]
async fn what_the_door_refuses_is_the_services_own_refusal_and_no_replica_hears_of_it() {
    let (primary, mut asked) = replica(Manner::Primary).await;
    let server = server_of(&led_by(1, 1, &[1]), &[primary]);
    let Err(SubmitError::AtTheDoor { reply }) = execute(&server, &order("DH 11")).await else {
        panic!("it passed")
    };
    let refusal = Refusal::PostcodeMalformed { text: "DH 11".to_owned() };
    assert_eq!(decode::<Reply>(&reply), Ok(Reply::Refused(refusal)));
    assert!(asked.try_recv().is_err());
}

#[tokio::test(flavor = "local")]
async fn unknown_services_and_overlong_payloads_are_refused_here() {
    let (server, prev) = (server(), VectorTimestamp::default);
    let other: GroupName = "movies".parse().unwrap();
    let unknown = server.desk().execute(soon(), other.clone(), REQUEST, prev(), Bytes::new()).await;
    assert_eq!(unknown.unwrap_err(), SubmitError::UnknownService { service: other.clone() });
    let unknown =
        server.desk().query(soon(), other.clone(), prev(), Consistency::Linearizable, Bytes::new()).await;
    assert_eq!(unknown.unwrap_err(), QueryError::UnknownService { service: other });
    let long = execute(&server, &vec![0; PAYLOAD_BYTES_MAX + 1].into()).await;
    assert_eq!(long.unwrap_err(), SubmitError::TooLarge { limit: PAYLOAD_BYTES_MAX as u64 });
}

#[tokio::test(flavor = "local")]
async fn too_many_commands_under_way_are_told_so() {
    let server = server();
    let payload = order("DH1 3LE");
    for _ in 0..COMMANDS_MAX {
        assert!(execute(&server, &payload).now_or_never().is_none());
    }
    assert_eq!(execute(&server, &payload).await.unwrap_err(), SubmitError::Busy { retry_in: BUSY_RETRY });
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn ready_means_that_every_group_answers_a_read() {
    let (primary, _asked) = replica(Manner::Primary).await;
    assert_eq!(server_of(&led_by(1, 1, &[1]), &[primary]).ready().await, Ok(()));
    let line = server().ready().await.unwrap_err();
    assert_eq!(line, "just.hungry does not serve: nobody serves just.hungry");
}

#[tokio::test(flavor = "local")]
async fn a_question_about_a_postcode_needs_no_replica() {
    let server = server();
    let query = encode(&Query::Postcode { text: "dh13le".to_owned() });
    let prev = VectorTimestamp::default();
    let answered = server.desk().query(soon(), food(), prev, Consistency::Linearizable, query).await.unwrap();
    assert_eq!(answered.position, Position::Log(LogPoint::default()));
    let Ok(Postcode(checked)) = decode(&answered.answer) else { panic!("{:?}", answered.answer) };
    assert_eq!(checked.answer(), "unconfirmed");
}

#[tokio::test(flavor = "local")]
async fn an_order_whose_postcode_is_asked_about_delays_no_other() {
    let (primary, mut asked) = replica(Manner::Primary).await;
    let world = World::new(|_| Says::Hangs);
    let server = server_in(world.postcodes());
    server.courier().learn(&led_by(1, 1, &[1]));
    server.courier().name_places(&[name(1, 1, primary)]);
    let payload = order("DH1 3LE");
    let mut waiting = std::pin::pin!(execute(&server, &payload));
    assert!(waiting.as_mut().now_or_never().is_none());
    let other = encode(&Command::CancelOrder { user: "ann".to_owned(), no: 1 });
    assert!(execute(&server, &other).await.is_ok());
    assert_eq!(asked.recv().await.unwrap().payload, other);
    assert!(waiting.now_or_never().is_none() && asked.try_recv().is_err(), "it is still at the door");
}
