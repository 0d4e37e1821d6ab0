//! People who rate films, through whichever front end they find, each carrying what they have seen: they must see their
//! own writes, never go back, and see no effect without its cause.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::machine::simulated::trace;
use common::names::Address;
use common::replication::{RequestId, Session};
use common::rpc::Outcome;
use common::rpc::limits::FRONTEND;
use common::rpc::replica::{Consistency, Done, Position, SubmitError};
use common::rpc::transport::{CallError, within};
use common::services::ratings::{Answer, FilmKey, NAME, Query, Rating, Refusal, Reply, Update};
use common::services::{Outcome as Said, decode, encode};
use rand::Rng as _;
use tokio::time::sleep;

use super::caller::{Caller, PATIENCE, PAUSE, TRY, now};
use crate::history::sessions::{Breach, Call, What, judge};

/// Few, so that people meet in them.
const FILMS: usize = 3;
/// Names that people rate under. Nobody owns one: whoever uses it has the same cells.
const USERS: usize = 2;
/// Of all films and users.
pub const CELLS: usize = FILMS * USERS;
/// Their numbers begin here: nobody draws what a customer draws.
const FIRST: u32 = 1_000;

/// What raters share with who runs the simulation.
#[derive(Debug, Default)]
pub struct Club {
    /// Whether they go home.
    pub closing: Cell<bool>,
    /// How many have gone.
    pub gone: Cell<u32>,
    /// Ratings acknowledged.
    pub rated: Cell<u64>,
    /// Views answered.
    pub viewed: Cell<u64>,
    /// When the last rating was acknowledged.
    pub last_answer: Cell<Duration>,
    /// Since when nobody begins anything.
    pause: Cell<Option<Duration>>,
    /// How many wait for an answer, and when the last one did.
    waiting: Cell<u32>,
    waited: Cell<Duration>,
    calls: RefCell<Vec<Call>>,
    wrong: RefCell<Vec<String>>,
}

impl Club {
    /// Has nobody begin anything; since when nothing was under way, if that is so.
    pub fn pause(&self, now: Duration) -> Option<Duration> {
        let since = self.pause.get().unwrap_or(now);
        self.pause.set(Some(since));
        (self.waiting.get() == 0).then(|| since.max(self.waited.get()))
    }

    /// Lets them go on.
    pub fn go_on(&self) {
        self.pause.set(None);
    }

    fn note(&self, person: usize, cell: usize, what: What) {
        trace::note(format_args!("rater {person}, cell {cell}: {what:?}"));
        self.calls.borrow_mut().push(Call { person, cell, what });
    }

    /// What a replica has of a cell, when all is over: whatever anybody was told is there, or something later.
    pub fn last_word(&self, replica: usize, cell: usize, saw: Option<RequestId>) {
        let acknowledged = |call: &Call| match call.what {
            What::Acknowledged(id) if call.cell == cell => Some(id),
            _ => None,
        };
        let last = self.calls.borrow().iter().filter_map(acknowledged).max();
        let person = usize::MAX - replica;
        if let Some(id) = last {
            self.note(person, cell, What::Acknowledged(id));
        }
        self.note(person, cell, What::Saw(saw));
    }

    /// What is wrong with what they saw.
    pub fn judge(&self) -> Vec<String> {
        let mut wrong = self.wrong.take();
        let calls = self.calls.borrow();
        let told = |breach: &Breach| {
            let Call { person, cell, .. } = calls[breach.at];
            format!("rater {person}, cell {cell}: {breach}")
        };
        wrong.extend(judge(&calls).iter().map(told));
        wrong
    }
}

/// What to ask for a cell.
pub fn view(cell: usize) -> Query {
    let (film, user) = names(cell);
    Query::View { film, user }
}

/// Which write an answer to [`view`] shows.
///
/// # Errors
/// When it is no answer to that.
pub fn seen(answer: &[u8]) -> Result<Option<RequestId>, String> {
    match decode::<Answer>(answer).map_err(|error| error.to_string())? {
        Answer::View { stamp, .. } => Ok(Some(stamp)),
        Answer::Refused(Refusal::NotRated) => Ok(None),
        other => Err(format!("{other:?} is no view")),
    }
}

fn names(cell: usize) -> (FilmKey, String) {
    (FilmKey::new(&format!("film {}", cell / USERS), Some(2000)), format!("user{}", cell % USERS))
}

/// One rater.
pub struct Rater {
    number: usize,
    caller: Caller,
    session: Session,
    club: Rc<Club>,
    think: Duration,
}

/// How a try of an update ended.
enum Tried {
    Done(Done),
    /// Nobody will ever do it, or nobody knows: not under this id.
    Over,
    Again(Outcome),
}

impl Rater {
    /// A rater who asks the name server at `name_server`.
    pub fn new(number: u32, name_server: Address, seed: u64, club: Rc<Club>) -> Self {
        let mut caller = Caller::new(FIRST + number, NAME, name_server, seed);
        let think = Duration::from_millis(caller.chance.random_range(30..=300));
        Self { number: number as usize, caller, session: Session::default(), club, think }
    }

    /// Rates and looks, until the others go home, too.
    pub async fn live(mut self) {
        while !self.club.closing.get() {
            let think = self.think.mul_f64(self.caller.chance.random_range(0.1..2.0));
            sleep(think).await;
            if self.club.pause.get().is_some() {
                continue;
            }
            self.club.waiting.set(self.club.waiting.get() + 1);
            let cell = self.caller.chance.random_range(0..CELLS);
            if self.caller.chance.random() {
                self.rate(cell).await;
            } else {
                self.look(cell).await;
            }
            self.club.waiting.set(self.club.waiting.get() - 1);
            self.club.waited.set(now());
        }
        self.club.gone.set(self.club.gone.get() + 1);
    }

    fn wrong(&self, what: &str) {
        self.club.wrong.borrow_mut().push(format!("rater {}: {what}", self.number));
    }

    fn saw(&mut self, position: &Position) {
        match position {
            Position::Causal { vector, latest } => {
                let prev = self.session.vector.clone();
                self.session.saw(&prev, vector, *latest);
            }
            Position::Log(at) => self.wrong(&format!("a gossip group has no log, and no {at:?}")),
        }
    }

    /// Rates; as often as needed under one id.
    async fn rate(&mut self, cell: usize) {
        self.caller.observe(self.session.latest);
        let id = self.caller.id();
        let (film, user) = names(cell);
        let rating: Rating = self.caller.chance.random_range(0..=5_000_000_u32).try_into().expect("in range");
        let update = Update::Rate { film, user, rating };
        self.club.note(self.number, cell, What::Sent(id));
        if !self.send(cell, id, &update).await {
            return;
        }
        // Somebody who does not trust an answer asks for it again.
        if self.caller.chance.random_bool(0.06) {
            self.send(cell, id, &update).await;
        }
    }

    /// Whether an update was acknowledged before patience ended.
    async fn send(&mut self, cell: usize, id: RequestId, update: &Update) -> bool {
        let (begun, payload) = (now(), encode(update));
        let mut maybe_ran = false;
        while now() <= begun + PATIENCE {
            for front_end in self.caller.front_ends() {
                let call = front_end.execute(
                    within(FRONTEND, TRY),
                    self.caller.group.clone(),
                    id,
                    self.session.vector.clone(),
                    payload.clone(),
                );
                let tried = match call.await {
                    Ok(Ok(done)) => Tried::Done(done),
                    Ok(Err(error)) => self.refused(id, &error, maybe_ran),
                    Err(error) => Tried::Again(CallError::from(error).outcome()),
                };
                match tried {
                    Tried::Done(done) => {
                        self.saw(&done.position);
                        match decode::<Reply>(&done.reply) {
                            Ok(Said::Done(_)) => {}
                            other => self.wrong(&format!("{id} came to {other:?}")),
                        }
                        self.club.note(self.number, cell, What::Acknowledged(id));
                        self.club.rated.set(self.club.rated.get() + 1);
                        self.club.last_answer.set(now());
                        return true;
                    }
                    Tried::Over => return false,
                    Tried::Again(outcome) => maybe_ran |= outcome == Outcome::Unknown,
                }
            }
            sleep(PAUSE).await;
        }
        false
    }

    fn refused(&mut self, id: RequestId, error: &SubmitError, maybe_ran: bool) -> Tried {
        match error {
            SubmitError::FromTheFuture { now } if !maybe_ran => self.caller.correct(*now),
            SubmitError::Expired { now, .. } => self.caller.correct(*now),
            SubmitError::Reused => self.wrong(&format!("{id}: {error}")),
            _ => return Tried::Again(error.outcome()),
        }
        Tried::Over
    }

    /// Looks at a rating.
    async fn look(&mut self, cell: usize) {
        let (begun, query) = (now(), encode(&view(cell)));
        while now() <= begun + PATIENCE {
            for front_end in self.caller.front_ends() {
                let call = front_end.query(
                    within(FRONTEND, TRY),
                    self.caller.group.clone(),
                    self.session.vector.clone(),
                    Consistency::Linearizable,
                    query.clone(),
                );
                let Ok(Ok(answer)) = call.await else { continue };
                self.saw(&answer.position);
                match seen(&answer.answer) {
                    Ok(saw) => self.club.note(self.number, cell, What::Saw(saw)),
                    Err(what) => self.wrong(&what),
                }
                return self.club.viewed.set(self.club.viewed.get() + 1);
            }
            sleep(PAUSE).await;
        }
    }
}
