//! How a command reaches a replicated service, whichever front end lives: found by name, tried in turn, the same
//! request id on every try.
//!
//! `Attempts` decides what follows from an answer, and is a core: no socket, no clock. [`Service`] carries it out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, Moment, Timestamp};
use common::directory::{Backoff, Names, View, in_order};
use common::names::{self, Address, AnyName, Freshness, LogicalName, Query};
use common::replication::{GroupName, RequestId, RequestIdSource, Session, VectorTimestamp};
use common::rpc::Outcome;
use common::rpc::frontend::{FrontendClient, FrontendRequest, FrontendResponse};
use common::rpc::limits::{FRONTEND, NAME_SERVICE};
use common::rpc::name_service::LookupError;
use common::rpc::replica::{Consistency, Position, QueryError, SubmitError};
use common::rpc::transport::{CallError, Reconnecting, within};
use common::services::page::Page;
use futures::future::LocalBoxFuture;
use tarpc::context::Context;
use tokio::sync::watch;
use unicode_normalization::UnicodeNormalization as _;

use crate::errors::{self, Code, Effect, Failure};

/// How long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// One try: every front end in turn, again and again.
    pub timeout: Duration,
    /// How many tries.
    pub tries: u32,
    /// From the beginning of one to that of the next.
    pub every: Duration,
}

impl Default for Patience {
    /// Longer than any fail-over, shorter than anybody's patience.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), tries: 1, every: Duration::from_secs(5) }
    }
}

impl Patience {
    fn whole(&self) -> Duration {
        self.every.saturating_mul(self.tries.saturating_sub(1)).saturating_add(self.timeout)
    }
}

/// What to do after an answer that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The same command to somebody else.
    Elsewhere,
    /// The same command, after this time.
    Pause(Duration),
    /// The same command under a new id, dated by this clock; the old id never ran.
    Redate(Timestamp),
    /// A query that any replica may answer.
    AskAnyone,
    /// Nothing more in this try: every replica was asked.
    EndTry,
    /// That was the answer.
    Final,
}

/// What is known of a command, or query, after the answers so far.
#[derive(Clone, Debug, Default)]
struct Attempts {
    /// Whether the id is the caller's own.
    given: bool,
    /// Whether it is a query, which changes nothing.
    only_asks: bool,
    /// Whether a copy may have been taken in.
    maybe_ran: bool,
    last: Option<Failure>,
}

impl Attempts {
    fn refused(&mut self, error: &SubmitError) -> Next {
        let next = match error {
            SubmitError::Reused | SubmitError::Expired { .. } | SubmitError::TooLarge { .. } => Next::Final,
            SubmitError::FromTheFuture { .. } if self.given && !self.maybe_ran => Next::Final,
            SubmitError::FromTheFuture { now } if !self.maybe_ran => Next::Redate(*now),
            SubmitError::Busy { retry_in } => Next::Pause(*retry_in),
            SubmitError::Behind { .. } | SubmitError::Overloaded | SubmitError::Offline => Next::EndTry,
            _ => Next::Elsewhere,
        };
        self.maybe_ran |= error.outcome() == Outcome::Unknown;
        self.last = Some(errors::of_submit(error));
        next
    }

    fn not_answered(&mut self, error: &QueryError) -> Next {
        self.last = Some(errors::of_query(error));
        match error {
            QueryError::TooLarge { .. } => Next::Final,
            QueryError::TooFewInSync { .. } => Next::AskAnyone,
            QueryError::Busy { retry_in } => Next::Pause(*retry_in),
            QueryError::Lacks { .. } | QueryError::Overloaded | QueryError::Offline => Next::EndTry,
            _ => Next::Elsewhere,
        }
    }

    fn not_called(&mut self, error: &CallError) -> Next {
        self.maybe_ran |= !self.only_asks && error.outcome() == Outcome::Unknown;
        // That our own time ran out says less than an answer that came before.
        if *error != CallError::Unacknowledged || self.last.is_none() {
            self.last = Some(errors::of_call(error));
        }
        match error {
            CallError::TooLarge { .. } => Next::Final,
            CallError::Busy { retry_in } => Next::Pause(*retry_in),
            _ => Next::Elsewhere,
        }
    }

    /// What to tell when there is no time left.
    fn give_up(self, waited: Duration) -> Option<Failure> {
        match self.last {
            // An earlier copy may have run, whatever became of the last one.
            Some(last)
                if self.maybe_ran && (last.effect == Effect::None || last.code == Code::Unacknowledged) =>
            {
                Some(errors::unacknowledged(waited))
            }
            // "Too few in sync" says more than "no answer", and is as unknown.
            last => last,
        }
    }
}

/// 62 random bits.
fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 << 2 >> 2
}

/// Makes ids by a clock that the service may correct.
#[derive(Debug, Default)]
struct Ids {
    source: RequestIdSource,
    /// The service's clock minus ours, in milliseconds.
    ahead: i64,
}

impl Ids {
    fn next(&mut self) -> RequestId {
        let now = Timestamp::from_millis(Clock::wall().millis().saturating_add_signed(self.ahead));
        self.source.next(now, random())
    }

    fn correct(&mut self, now: Timestamp) {
        self.ahead =
            i64::try_from(i128::from(now.millis()) - i128::from(Clock::wall().millis())).unwrap_or(0);
        self.source.reset();
    }
}

type FrontEnd = FrontendClient<Reconnecting<FrontendRequest, FrontendResponse>>;

/// A replicated service, by its name.
pub struct Service {
    group: GroupName,
    name: LogicalName,
    names: Names,
    front_ends: watch::Receiver<View>,
    patience: Patience,
    given: Option<RequestId>,
    clock: Clock,
    /// Whether any replica may answer a query that heard a primary this recently.
    stale: Option<Duration>,
    ids: Arc<Mutex<Ids>>,
    /// What its user has seen, of a service whose replicas take writes anywhere.
    session: Arc<Mutex<Session>>,
    connections: Arc<Mutex<BTreeMap<Address, FrontEnd>>>,
    under_way: Arc<Mutex<Option<RequestId>>>,
    last_id: Mutex<Option<RequestId>>,
    tell: Tell,
    ask: Option<Ask>,
}

/// Who is told what happens on the way.
type Tell = Box<dyn Fn(Told<'_>)>;

/// Who is told of a failure, and asked whether to try again.
type Ask = Box<dyn Fn(&Failure) -> LocalBoxFuture<'static, bool>>;

/// What happens on the way.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Somebody did not answer; somebody else is asked.
    FailOver(&'a str),
    /// The answer may be behind.
    MayBeBehind,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("group", &self.group)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// The service that is registered, by its front ends, as `name`.
    pub fn new(names: &Names, name: &'static str) -> Self {
        let front_ends: LogicalName = name.parse().expect("a service of ours has a good name");
        Self {
            group: name.parse().expect("a service of ours has a good name"),
            front_ends: names.view(Query::by_name(names::Names::Exact(AnyName::from(&front_ends)))),
            name: front_ends,
            names: names.clone(),
            patience: Patience::default(),
            given: None,
            stale: None,
            clock: Clock::start(),
            ids: Arc::default(),
            session: Arc::default(),
            connections: Arc::default(),
            under_way: Arc::default(),
            last_id: Mutex::default(),
            tell: Box::new(|_| ()),
            ask: None,
        }
    }

    /// Another handle over the same connections, told nothing yet of patience, ids and listeners.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            group: self.group.clone(),
            name: self.name.clone(),
            names: self.names.clone(),
            front_ends: self.front_ends.clone(),
            patience: Patience::default(),
            given: None,
            stale: None,
            clock: self.clock,
            ids: Arc::clone(&self.ids),
            session: Arc::clone(&self.session),
            connections: Arc::clone(&self.connections),
            under_way: Arc::default(),
            last_id: Mutex::default(),
            tell: Box::new(|_| ()),
            ask: None,
        }
    }

    /// With this patience.
    #[must_use]
    pub fn patient(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// With this id for the one command that will be sent.
    #[must_use]
    pub fn with_id(mut self, id: Option<RequestId>) -> Self {
        self.given = id;
        self
    }

    /// Taking answers of any replica that has heard a primary this recently; the primary is asked first.
    #[must_use]
    pub fn stale_for(mut self, age: Duration) -> Self {
        self.stale = Some(age);
        self
    }

    /// Telling `tell` what happens on the way.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(Told<'_>) + 'static) -> Self {
        self.tell = Box::new(tell);
        self
    }

    /// Telling `ask`, when all tries are over and a further one could succeed, and trying again, with the same id, if
    /// it says so.
    #[must_use]
    pub fn asking(mut self, ask: impl Fn(&Failure) -> LocalBoxFuture<'static, bool> + 'static) -> Self {
        self.ask = Some(Box::new(ask));
        self
    }

    /// What its user has seen so far. It is the same for all handles over the same connections.
    pub fn session(&self) -> Session {
        locked(&self.session).clone()
    }

    /// Goes on from what its user has seen before, elsewhere.
    pub fn go_on_from(&self, seen: &Session) {
        self.saw(&VectorTimestamp::default(), &seen.vector, seen.latest);
    }

    fn saw(&self, prev: &VectorTimestamp, vector: &VectorTimestamp, latest: RequestId) {
        locked(&self.session).saw(prev, vector, latest);
        locked(&self.ids).source.observe(latest);
    }

    fn saw_position(&self, prev: &VectorTimestamp, position: &Position) {
        match position {
            Position::Log(_) => {}
            Position::Causal { vector, latest } => self.saw(prev, vector, *latest),
        }
    }

    /// Noting in `under_way` the id of a command that was sent and not answered yet.
    #[must_use]
    pub fn noting(mut self, under_way: &Arc<Mutex<Option<RequestId>>>) -> Self {
        self.under_way = Arc::clone(under_way);
        self
    }

    /// Runs a command, once however often it is sent, and gives the id it ran under and its reply: the service's, or
    /// the front end's refusal in the same encoding.
    ///
    /// # Errors
    /// When no reply came in time; [`Failure::effect`] says what may have happened.
    pub async fn execute(&self, payload: Bytes) -> Result<(RequestId, Bytes), Failure> {
        let mut id = self.given.unwrap_or_else(|| locked(&self.ids).next());
        let mut attempts = Attempts { given: self.given.is_some(), ..Attempts::default() };
        loop {
            *locked(&self.under_way) = Some(id);
            let reply = self
                .deliver(&mut attempts, async |front_end, context, attempts, _| {
                    let prev = self.session().vector;
                    let sent = front_end
                        .execute(context, self.group.clone(), id, prev.clone(), payload.clone())
                        .await;
                    match sent {
                        Ok(Ok(done)) => {
                            self.saw_position(&prev, &done.position);
                            Ok(done.reply)
                        }
                        // An earlier copy may have passed another door.
                        Ok(Err(SubmitError::AtTheDoor { reply })) if !attempts.maybe_ran => Ok(reply),
                        Ok(Err(error)) => {
                            let next = attempts.refused(&error);
                            if let Next::Redate(now) = next {
                                let mut ids = locked(&self.ids);
                                ids.correct(now);
                                id = ids.next();
                                *locked(&self.under_way) = Some(id);
                            }
                            Err(next)
                        }
                        Err(error) => Err(attempts.not_called(&error.into())),
                    }
                })
                .await;
            *locked(&self.last_id) = locked(&self.under_way).take();
            match reply {
                Ok(reply) => return Ok((id, reply)),
                Err(failure) => self.try_again(identified(failure, id)).await?,
            }
        }
    }

    /// The id that the last command ran under.
    pub fn last_id(&self) -> Option<RequestId> {
        *locked(&self.last_id)
    }

    /// Asks the service.
    ///
    /// # Errors
    /// When no answer came in time.
    pub async fn query(&self, payload: Bytes) -> Result<Bytes, Failure> {
        /// A person may be shown this when too few replicas are in sync to promise the newest.
        const BEHIND_AT_MOST: Consistency = Consistency::StaleOk { max_age: Duration::from_secs(10) };
        let mut attempts = Attempts { only_asks: true, ..Attempts::default() };
        let asked = async |front_end: FrontEnd, context, attempts: &mut Attempts, consistency| {
            let prev = self.session().vector;
            let sent = front_end
                .query(context, self.group.clone(), prev.clone(), consistency, payload.clone())
                .await;
            match sent {
                Ok(Ok(answer)) => {
                    self.saw_position(&prev, &answer.position);
                    if consistency == BEHIND_AT_MOST {
                        (self.tell)(Told::MayBeBehind);
                    }
                    Ok(answer.answer)
                }
                Ok(Err(error)) => Err(attempts.not_answered(&error)),
                Err(error) => Err(attempts.not_called(&error.into())),
            }
        };
        loop {
            match self.deliver(&mut attempts, &asked).await {
                Ok(answer) => return Ok(answer),
                // A query changes nothing, so "no answer" is all that an unknown outcome means.
                Err(failure) => {
                    let failure = match failure.effect {
                        Effect::None => failure,
                        Effect::Unknown => errors::no_primary(),
                    };
                    self.try_again(failure).await?;
                }
            }
        }
    }

    /// Returns when somebody wants another try; else fails for good.
    async fn try_again(&self, failure: Failure) -> Result<(), Failure> {
        let may_pass = failure.code.retryable() && matches!(failure.exit(), 5 | 6);
        match &self.ask {
            Some(ask) if may_pass => {
                if ask(&failure).await {
                    Ok(())
                } else {
                    Err(failure.told())
                }
            }
            _ => Err(failure),
        }
    }

    /// Calls front ends in turn until one answers or all tries are over.
    async fn deliver(
        &self,
        attempts: &mut Attempts,
        mut call: impl AsyncFnMut(FrontEnd, Context, &mut Attempts, Consistency) -> Result<Bytes, Next>,
    ) -> Result<Bytes, Failure> {
        let begun = self.clock.now();
        for one in 0..self.patience.tries {
            tokio::time::sleep_until(self.clock.instant(begun + self.patience.every * one)).await;
            let until = self.clock.now() + self.patience.timeout;
            if let Some(answer) = self.one_try(until, attempts, &mut call).await {
                return answer;
            }
        }
        let failure = match attempts.clone().give_up(self.patience.whole()) {
            Some(failure) => failure,
            None => self.nobody().await,
        };
        match self.patience.tries {
            1 => Err(failure),
            tries => Err(failure.after_tries(tries)),
        }
    }

    /// One try; `None`: its time is over.
    async fn one_try(
        &self,
        until: Moment,
        attempts: &mut Attempts,
        call: &mut impl AsyncFnMut(FrontEnd, Context, &mut Attempts, Consistency) -> Result<Bytes, Next>,
    ) -> Option<Result<Bytes, Failure>> {
        let mut view = self.front_ends.clone();
        let mut backoff = Backoff::up_to(Backoff::CAP);
        let mut consistency =
            self.stale.map_or(Consistency::Linearizable, |max_age| Consistency::StaleOk { max_age });
        loop {
            let candidates = candidates(&view.borrow_and_update());
            let mut pause = Duration::ZERO;
            for address in &candidates {
                let left = until.since(self.clock.now());
                if left.is_zero() {
                    return None;
                }
                let context = within(FRONTEND, share(left));
                match call(self.connection(address), context, attempts, consistency).await {
                    Ok(answer) => return Some(Ok(answer)),
                    Err(Next::Final) => {
                        return Some(Err(attempts.last.take().expect("a final answer was noted")));
                    }
                    Err(Next::EndTry) => return None,
                    Err(Next::Elsewhere | Next::Redate(_)) => {}
                    Err(Next::Pause(time)) => pause = time,
                    Err(Next::AskAnyone) => {
                        consistency = Consistency::StaleOk { max_age: Duration::from_secs(10) };
                    }
                }
                if let Some(last) = &attempts.last {
                    (self.tell)(Told::FailOver(&format!(
                        "front end {address} gave no answer: {}",
                        last.message
                    )));
                }
            }
            // Nobody there: only the name server can bring somebody. Else everybody is worth another call soon.
            let now = self.clock.now();
            let next = if candidates.is_empty() {
                until
            } else {
                until.min(now + backoff.failed(random()).max(pause))
            };
            tokio::select! {
                changed = view.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep_until(self.clock.instant(next)).await;
                    }
                }
                () = tokio::time::sleep_until(self.clock.instant(next)) => {}
            }
            if self.clock.now() >= until {
                return None;
            }
        }
    }

    fn connection(&self, address: &Address) -> FrontEnd {
        let cluster = self.names.known_cluster().unwrap_or(common::ids::ClusterId::UNSTATED);
        locked(&self.connections)
            .entry(address.clone())
            .or_insert_with(|| FrontendClient::from(Reconnecting::new(address.clone(), FRONTEND, cluster)))
            .clone()
    }

    /// Why nobody could be called at all.
    async fn nobody(&self) -> Failure {
        let asked = fresh(&self.names)
            .server()
            .lookup(within(NAME_SERVICE, PROBE), AnyName::from(&self.name), Freshness::Local)
            .await;
        match asked.map_err(CallError::from) {
            Err(error) => no_name_server(&self.names, &error),
            Ok(Err(LookupError::Warming { retry_in })) => warming(retry_in),
            Ok(_) => Failure::new(Code::NoFrontEnd, "Could not find front-end server.")
                .hint("start one: frontend; client ns list shows who is there"),
        }
    }
}

/// A command's failure, with its identity, and what to do with that.
fn identified(failure: Failure, id: RequestId) -> Failure {
    match failure.effect {
        Effect::None => failure.request(id),
        Effect::Unknown if failure.code == Code::RequestExpired => failure.request(id),
        Effect::Unknown => failure
            .hint(format!("the same command with --request-id {id}; it cannot be carried out twice"))
            .request(id),
    }
}

/// How long a name server is asked why it did not answer before; one that is not there says so at once.
const PROBE: Duration = Duration::from_secs(1);

/// Nobody answers at the name servers' addresses.
pub fn no_name_server(names: &Names, error: &CallError) -> Failure {
    let all: Vec<String> = names.servers().iter().map(ToString::to_string).collect();
    let why = match error {
        CallError::Unreachable { why, .. } => why.clone(),
        CallError::Incompatible { why } => {
            return Failure::new(Code::Incompatible, why.clone())
                .hint("another --name-server HOST:PORT (env NAME_SERVER)");
        }
        other => other.to_string(),
    };
    Failure::new(Code::NoNameServer, format!("no name server at {} ({why})", all.join(", ")))
        .hint("./run.sh    or name another with --name-server HOST:PORT (env NAME_SERVER)")
}

/// Why no name server has answered so far.
pub async fn no_answer(names: &Names) -> Failure {
    let asked = fresh(names).server().status(within(NAME_SERVICE, PROBE)).await;
    no_name_server(names, &asked.map_err(CallError::from).err().unwrap_or(CallError::Unacknowledged))
}

/// A handle that has not failed yet, so that no back-off hides why nobody answers.
fn fresh(names: &Names) -> Names {
    Names::new(names.servers().to_vec(), "client")
}

/// The name server has just started.
pub fn warming(retry_in: Duration) -> Failure {
    Failure::new(Code::Warming, format!("the name server is warming up; it can tell in {retry_in:.1?}"))
        .hint("the same command then, or with a longer --timeout")
}

/// All pages of a list after `after`, as far as `limit`.
pub(crate) async fn whole<T, K: Clone + PartialOrd>(
    page: impl AsyncFn(K) -> Result<Page<T>, Failure>,
    key: fn(&T) -> K,
    mut after: K,
    limit: Option<u32>,
) -> Result<Vec<T>, Failure> {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut all = Vec::new();
    loop {
        let Page { entries, more } = page(after.clone()).await?;
        let last = entries.last().map(key);
        all.extend(entries);
        match last {
            // A page that does not go on would go on for ever.
            Some(last) if more && last > after && all.len() < limit => after = last,
            _ => break,
        }
    }
    all.truncate(limit);
    Ok(all)
}

/// Text as it is sent: composed, so that services can compare bytes.
pub(crate) fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// How long one front end is waited for: half of what is left, so that another, or the same one again, can still
/// tell; but not less than a fail-over takes.
fn share(left: Duration) -> Duration {
    /// Ten times a fail-over of the primary.
    const LEAST: Duration = Duration::from_millis(500);
    (left / 2).max(LEAST).min(left)
}

/// Whom to call, best first.
fn candidates(view: &View) -> Vec<Address> {
    // One command at a time: nobody is burdened by us.
    let records = in_order(&view.records, |_| 0, random());
    records.iter().filter_map(|record| record.target.address().cloned()).collect()
}

/// What is behind a lock; a panic elsewhere does not make it wrong.
fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
