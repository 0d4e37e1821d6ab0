//! A name server that knows two front ends, and a shop and its films behind both, in one thread: real sockets, real rules, and
//! whatever misfortune a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, Moment, Timestamp};
use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, AnyName, AttemptId, BootCount, Change, ContractName, Entry, Expect, Freshness, Holder, LeaseId,
    Lifetime, LogicalName, NameEpoch, ObjectName, OwnerKey, Page, Patch, Query, Readiness, Record, Records,
    Revision, Sharing, Stamp, Stamped, Standing, Tags, Target, Tenure, WatchId, Weight,
};
use common::replication::{ConfigVersion, Epoch, GroupName, LogIndex, LogPoint, RequestId, VectorTimestamp};
use common::rpc::frontend::Frontend;
use common::rpc::limits::{FRONTEND, NAME_SERVICE};
use common::rpc::name_service::{
    Config, GrantError, Granted, GroupChange, GroupError, Hello, HelloError, ListError, Listing, LookupError,
    NameService, RegisterError, Registered, RenewError, Renewed, SnapshotError, SnapshotInfo, Status,
    StoreError, UpdateError, WatchError, Welcome,
};
use common::rpc::replica::{Answer, Consistency, Done, Position, QueryError, SubmitError};
use common::rpc::transport::{Route, ServeOptions, serve};
use common::services::just_hungry::start::{Start, start_bytes};
use common::services::movies;
use common::services::{Applied, Machine, TABLE};
use tarpc::context::Context;
use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
use tokio_util::sync::CancellationToken;

/// What becomes of a command.
pub(crate) enum Fate {
    /// It is refused.
    Refused(SubmitError),
    /// It runs, and the answer is lost.
    AnswerLost,
}

/// The shop and what it has seen.
pub(crate) struct Shop {
    machine: Box<dyn Machine>,
    films: Box<dyn Machine>,
    replies: BTreeMap<RequestId, Bytes>,
    /// What becomes of the next commands; then they run.
    pub(crate) fates: VecDeque<Fate>,
    /// Why linearizable queries are not answered, if they are not.
    pub(crate) silence: Option<QueryError>,
    /// When linearizable queries were not answered.
    pub(crate) silent_at: Vec<Moment>,
    clock: Clock,
    /// The ids of all commands, in the order they came, with the number of the front end that took them.
    pub(crate) came: Vec<(usize, RequestId)>,
    /// What the name server says of the group, one answer after another; then that there is none.
    pub(crate) groups: VecDeque<Config>,
    /// How many connections were made to front ends.
    pub(crate) connections: usize,
}

#[derive(Clone)]
struct FrontEnd {
    no: usize,
    shop: Arc<Mutex<Shop>>,
}

const AT: LogPoint = LogPoint { epoch: Epoch(1), index: LogIndex(1) };

impl Frontend for FrontEnd {
    async fn execute(
        self,
        _: Context,
        group: GroupName,
        request: RequestId,
        _: VectorTimestamp,
        payload: Bytes,
    ) -> Result<Done, SubmitError> {
        let mut shop = self.shop.lock().unwrap();
        shop.came.push((self.no, request));
        let fate = shop.fates.pop_front();
        let known = shop.replies.get(&request).cloned();
        let shop = &mut *shop;
        if let Some(Fate::Refused(error)) = fate {
            return Err(error);
        }
        let (machine, facts) = match group.as_str() {
            movies::NAME => (&mut shop.films, Bytes::new()),
            _ => (&mut shop.machine, facts(&payload)?),
        };
        let reply = known.unwrap_or_else(|| {
            machine.apply(Applied { at: AT, time: Clock::wall(), request }, &facts, &payload)
        });
        shop.replies.insert(request, reply.clone());
        if let Some(Fate::AnswerLost) = fate {
            return Err(SubmitError::Unacknowledged { waited: Duration::ZERO });
        }
        Ok(Done { reply, position: Position::Log(AT), floor: RequestId::LEAST, now: Clock::wall() })
    }

    async fn query(
        self,
        _: Context,
        group: GroupName,
        _: VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError> {
        let films = group.as_str() == movies::NAME;
        if let Some(answer) = at_the_door(&payload).filter(|_| !films) {
            return Ok(Answer { answer, position: Position::Log(LogPoint::default()) });
        }
        let mut shop = self.shop.lock().unwrap();
        match shop.silence.clone() {
            Some(error) if consistency == Consistency::Linearizable => {
                let now = shop.clock.now();
                shop.silent_at.push(now);
                Err(error)
            }
            _ => {
                let answer = if films {
                    without_omdb(&payload, shop.films.query(&payload))
                } else {
                    shop.machine.query(&payload)
                };
                Ok(Answer { answer, position: Position::Log(AT) })
            }
        }
    }
}

/// What the front end answers itself: nobody is there to be asked about a postcode.
fn at_the_door(payload: &[u8]) -> Option<Bytes> {
    use common::services::just_hungry::checked::{Checked, Doubt};
    use common::services::just_hungry::{Answer, Query};
    let Ok(Query::Postcode { text }) = common::services::decode(payload) else { return None };
    let postcode = text.parse().expect("the client asks about good postcodes only");
    let checked = Checked::unconfirmed(postcode, Doubt::NobodyAsked, Timestamp::from_millis(0));
    Some(common::services::encode(&Answer::Postcode(checked)))
}

/// What a front end that has no key to OMDb makes of an answer about films.
fn without_omdb(payload: &[u8], answer: Bytes) -> Bytes {
    use common::services::movies::query::Places;
    use common::services::movies::refusal::Unasked;
    use common::services::movies::{Answer, Query, Refusal};
    match (common::services::decode(payload), common::services::decode(&answer)) {
        (
            Ok(Query::Find { text: title, places: Places::OmdbToo, .. }),
            Ok(Answer::Refused(Refusal::MovieUnknown { near })),
        ) => {
            let unchecked = Refusal::MovieUnchecked { title, why: Unasked::NoKey, near };
            common::services::encode(&Answer::Refused(unchecked))
        }
        _ => answer,
    }
}

/// What a front end without web services finds out about a command, or refuses itself.
fn facts(payload: &[u8]) -> Result<Bytes, SubmitError> {
    use common::services::just_hungry::command::{Command, Done, Facts, Verdict};
    use common::services::just_hungry::refusal::Refusal;
    let Ok(Command::PlaceOrder { postcode, .. } | Command::SetDetails { postcode, .. }) =
        common::services::decode::<Command>(payload)
    else {
        return Ok(Bytes::new());
    };
    let verdict = match postcode.map(|text| text.parse().map_err(|_| Refusal::postcode_malformed(&text))) {
        Some(Err(refusal)) => {
            let reply = common::services::Outcome::<Done, Refusal>::Refused(refusal);
            return Err(SubmitError::AtTheDoor { reply: common::services::encode(&reply) });
        }
        Some(Ok(postcode)) => Some(Verdict::unconfirmed(postcode, Timestamp::from_millis(0))),
        None => None,
    };
    Ok(common::services::encode(&Facts { verdict, ..Facts::default() }))
}

#[derive(Clone)]
struct NameServer {
    records: Arc<[Record]>,
    shop: Arc<Mutex<Shop>>,
}

impl NameServer {
    fn stamped<T>(value: T) -> Stamped<T> {
        Stamped { stamp: Self::stamp(), value }
    }

    fn stamp() -> Stamp {
        Stamp { cluster: cluster(), boot: BootCount(1), rev: Revision(1) }
    }
}

fn cluster() -> ClusterId {
    "test".parse().unwrap()
}

/// Only what a client asks is answered.
impl NameService for NameServer {
    async fn hello(self, _: Context, _: Hello) -> Result<Welcome, HelloError> {
        Ok(Welcome { stamp: Self::stamp(), version: "0".into(), now: Clock::wall() })
    }

    async fn lookup(self, _: Context, name: AnyName, _: Freshness) -> Result<Stamped<Records>, LookupError> {
        let found = self.records.iter().filter(|record| record.name == name);
        let found: Records = found.cloned().map(Arc::new).collect();
        if found.is_empty() { Err(LookupError::NotFound) } else { Ok(Self::stamped(found)) }
    }

    async fn list(self, _: Context, query: Query, _: Page) -> Result<Stamped<Listing>, ListError> {
        use common::names::Names;
        let matches = |record: &&Record| match &query.names {
            Names::Any => true,
            Names::Exact(name) => record.name == *name,
            Names::Prefix(prefix) => record.name.as_str().starts_with(&**prefix),
            Names::Regex(_) => false,
        };
        if let Names::Regex(why) = &query.names {
            return Err(ListError::BadRegex { why: why.to_string() });
        }
        let records =
            self.records.iter().filter(matches).cloned().map(|record| Arc::new(record).into()).collect();
        Ok(Self::stamped(Listing { records, next: None }))
    }

    async fn watch(
        self,
        _: Context,
        _: Vec<(WatchId, Query)>,
        _: Stamp,
        hold: Duration,
    ) -> Result<Stamped<Vec<Change>>, WatchError> {
        tokio::time::sleep(hold).await;
        Ok(Self::stamped(vec![]))
    }

    async fn group(
        self,
        _: Context,
        _: GroupName,
        _: Option<ConfigVersion>,
    ) -> Result<Stamped<Option<Config>>, GroupError> {
        Ok(Self::stamped(self.shop.lock().unwrap().groups.pop_front()))
    }

    async fn watch_group(
        self,
        _: Context,
        _: GroupName,
        _: Option<ConfigVersion>,
        hold: Duration,
    ) -> Result<Stamped<Option<Config>>, GroupError> {
        tokio::time::sleep(hold).await;
        Ok(Self::stamped(None))
    }

    async fn status(self, _: Context) -> Status {
        Status {
            stamp: Self::stamp(),
            names: 2,
            leases: 2,
            groups: 0,
            watchers: 0,
            pauses: (0, Duration::ZERO),
            uptime: Duration::ZERO,
            store: "memory".into(),
            unconfirmed: 0,
            limits: (0, 0),
            troubles: vec![],
        }
    }

    async fn grant(
        self,
        _: Context,
        _: Duration,
        _: InstanceId,
        _: Option<OwnerKey>,
    ) -> Result<Stamped<Granted>, GrantError> {
        unreachable!("a client holds no lease")
    }

    async fn renew(self, _: Context, _: Vec<LeaseId>) -> Stamped<Vec<Result<Renewed, RenewError>>> {
        unreachable!("a client holds no lease")
    }

    async fn revoke(self, _: Context, _: LeaseId) -> Result<Stamped<u32>, StoreError> {
        unreachable!("a client holds no lease")
    }

    async fn register(
        self,
        _: Context,
        _: Tenure,
        _: LogicalName,
        _: Entry,
        _: Expect,
    ) -> Result<Stamped<Registered>, RegisterError> {
        unreachable!("a client has no name")
    }

    async fn update(
        self,
        _: Context,
        _: Holder,
        _: AnyName,
        _: Patch,
    ) -> Result<Stamped<Registered>, UpdateError> {
        unreachable!("a client has no name")
    }

    async fn unregister(self, _: Context, _: Holder, _: AnyName) -> Result<Stamped<NameEpoch>, UpdateError> {
        unreachable!("a client has no name")
    }

    async fn lookup_many(
        self,
        _: Context,
        _: Vec<AnyName>,
        _: Freshness,
    ) -> Stamped<Vec<Result<Records, LookupError>>> {
        unreachable!("a client looks one name up")
    }

    async fn change_group(self, _: Context, _: GroupChange) -> Result<Stamped<Config>, GroupError> {
        unreachable!("a client is no member")
    }

    async fn register_next(
        self,
        _: Context,
        _: Tenure,
        _: LogicalName,
        _: Entry,
        _: AttemptId,
    ) -> Result<Stamped<(LogicalName, Registered)>, RegisterError> {
        unreachable!("a client has no name")
    }

    async fn snapshot(self, _: Context) -> Result<SnapshotInfo, SnapshotError> {
        Err(SnapshotError::NothingKept)
    }
}

/// All of them, stopped when dropped; and a home for the client.
pub(crate) struct House {
    pub(crate) name_server: Address,
    pub(crate) shop: Arc<Mutex<Shop>>,
    state: tempfile::TempDir,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl House {
    /// A name server, and two front ends.
    pub(crate) fn open() -> Self {
        Self::with_front_ends(2)
    }

    /// A name server, and so many front ends.
    pub(crate) fn with_front_ends(count: usize) -> Self {
        let machine = (TABLE[0].start)(Clock::wall(), &start_bytes(&Start::Demo)).unwrap();
        let films = (TABLE[1].start)(Clock::wall(), &movies::start_bytes(movies::Start::Demo)).unwrap();
        let shop = Arc::new(Mutex::new(Shop {
            machine,
            films,
            replies: BTreeMap::new(),
            fates: VecDeque::new(),
            silence: None,
            silent_at: Vec::new(),
            clock: Clock::start(),
            came: vec![],
            groups: VecDeque::new(),
            connections: 0,
        }));
        let (doors, addresses): (Vec<_>, Vec<_>) = (0..count).map(|_| listen()).unzip();
        let (names, name_server) = listen();
        let places = addresses.iter().zip(0..);
        let records = ["just.hungry", movies::NAME]
            .into_iter()
            .flat_map(|name| places.clone().map(move |(address, no)| record(name, *address, no)));
        let records = records.collect();
        let stop = CancellationToken::new();
        let (serving, killed) = (Arc::clone(&shop), stop.clone());
        let thread = std::thread::spawn(move || {
            LocalRuntime::new().unwrap().block_on(async move {
                let records: Arc<[Record]> = records;
                let naming = NameServer { records, shop: Arc::clone(&serving) };
                let names_route = Route::new(NAME_SERVICE, move |_| NameService::serve(naming.clone()));
                let mut serving: Vec<_> = doors
                    .into_iter()
                    .enumerate()
                    .map(|(no, door)| {
                        let front_end = FrontEnd { no, shop: Arc::clone(&serving) };
                        let route = Route::new(FRONTEND, move |_| {
                            front_end.shop.lock().unwrap().connections += 1;
                            Frontend::serve(front_end.clone())
                        });
                        (door, route)
                    })
                    .collect();
                serving.push((names, names_route));
                let all = serving.into_iter().map(|(listener, route)| {
                    let options = ServeOptions {
                        cluster: cluster(),
                        // A name server holds the poll of a client that has gone, and its seat, to the poll's end.
                        connections_max: 1000,
                        stop: CancellationToken::new(),
                    };
                    serve(TcpListener::from_std(listener).unwrap(), vec![route], options)
                });
                // As `kill -9`: a test that is over need not wait for farewells.
                tokio::select! {
                    _ = futures::future::join_all(all) => {}
                    () = killed.cancelled() => {}
                }
            });
        });
        let state = tempfile::tempdir().unwrap();
        Self { name_server: name_server.into(), shop, state, stop, thread: Some(thread) }
    }

    /// Where the client keeps what it remembers.
    pub(crate) fn state(&self) -> &std::path::Path {
        self.state.path()
    }

    /// Runs the client with these words, without a terminal.
    pub(crate) fn client(&self, words: &[&str]) -> Output {
        client_at(&self.name_server.to_string(), self.state.path(), words)
    }

    /// What the client prints for these words, which succeed.
    pub(crate) fn prints(&self, words: &[&str]) -> String {
        let output = self.client(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit status and the error object of these words, which fail.
    pub(crate) fn fails(&self, words: &[&str]) -> (i32, serde_json::Value) {
        failed(&self.client(&[words, &["--json"]].concat()))
    }
}

/// The exit status and the error object of a client that failed.
pub(crate) fn failed(output: &Output) -> (i32, serde_json::Value) {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_else(|| panic!("no error: {output:?}"));
    let object: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|_| panic!("no object: {line}"));
    (output.status.code().unwrap(), object["error"].clone())
}

/// Runs the client with these words, without a terminal.
pub(crate) fn client_at(name_server: &str, state: &std::path::Path, words: &[&str]) -> Output {
    command(name_server, state, words).output().unwrap()
}

pub(crate) fn command(name_server: &str, state: &std::path::Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(words).stdin(std::process::Stdio::null());
    for name in ["CLIENT_USER", "CLIENT_OUTPUT", "NO_COLOR", "PYRO_NS_HOST", "PYRO_NS_PORT"] {
        command.env_remove(name);
    }
    command.env("NAME_SERVER", name_server).env("XDG_STATE_HOME", state);
    command
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket that listens, and where.
pub(crate) fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn record(name: &str, address: SocketAddr, no: u128) -> Record {
    Record {
        name: name.parse().unwrap(),
        sharing: Sharing::Shared,
        instance: InstanceId::from_u128(no),
        epoch: NameEpoch(Revision(1)),
        target: Target::Service {
            address: address.into(),
            object: ObjectName::new("").unwrap(),
            contract: ContractName::new("frontend").unwrap(),
        },
        tags: Tags::default(),
        readiness: Readiness::Up,
        standing: Standing::Confirmed,
        weight: Weight::default(),
        lifetime: Lifetime::Leased { ttl: Duration::from_secs(3) },
        changed: Revision(1),
    }
}
