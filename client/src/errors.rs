//! Why a command failed: a code that programs can rely on, an exit status, a sentence, and what to do next.
//!
//! Codes are a contract: added to, never renamed. The refusals of the services keep the codes that the services
//! give them.

use std::fmt;
use std::time::Duration;

use common::replication::RequestId;
use common::rpc::Outcome;
use common::rpc::replica::{QueryError, SubmitError};
use common::rpc::transport::CallError;
use common::services::just_hungry::refusal::Refusal;
use common::services::postcode::Postcode;
use serde::Serialize;
use serde_json::{Map, Value};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $exit:literal, $again:ident;)*) => {
        /// A failure's kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The exit status of a command that failed so and had no effect.
            pub const fn exit(self) -> u8 {
                match self { $(Self::$variant => $exit),* }
            }

            /// Whether the same command may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => codes!(@ $again)),* }
            }
        }
    };
    (@ later) => { true };
    (@ never) => { false };
}
codes! {
    /// Our bug.
    Internal = "internal", 1, never;
    /// A file of our own is damaged.
    Damaged = "damaged", 1, never;
    /// The service did not understand us.
    Malformed = "malformed", 1, never;
    /// Not a command.
    Usage = "usage", 2, never;
    /// A value is missing, and nobody is there to be asked for it.
    InputNeeded = "input_needed", 2, never;
    /// A value breaks a rule.
    Invalid = "invalid", 2, never;
    /// A command is too large to be sent.
    TooLarge = "too_large", 2, never;
    /// A file cannot be read or written.
    File = "file", 2, never;
    /// A given request id is dated too far ahead.
    ClockAhead = "clock_ahead", 2, never;
    /// The request id belongs to another command.
    RequestIdReused = "request_id_reused", 2, never;
    /// Nobody has the name.
    NameUnknown = "name_unknown", 3, later;
    /// No such replica.
    ReplicaUnknown = "replica_unknown", 3, later;
    /// Nobody knows the group.
    GroupUnknown = "group_unknown", 3, later;
    /// No such number in the client's own list of name servers.
    ServerUnknown = "server_unknown", 3, never;
    /// Not on the menu.
    UnknownProduct = "unknown_product", 3, never;
    /// No such film.
    MovieUnknown = "movie_unknown", 3, never;
    /// Several films are called so.
    MovieAmbiguous = "movie_ambiguous", 3, never;
    /// No such rating.
    NotRated = "not_rated", 3, never;
    /// No such order.
    OrderUnknown = "order_unknown", 3, never;
    /// Only for an operator on the server's own machine.
    Denied = "denied", 4, never;
    /// Nobody is there to be asked, and `--yes` was not given.
    NeedsYes = "needs_yes", 4, never;
    /// Somebody else holds the name.
    NameHeld = "name_held", 4, later;
    /// Rows of a file are bad.
    BadRows = "bad_rows", 4, never;
    /// Too little is left.
    LowStock = "low_stock", 4, later;
    /// Nothing to order.
    BasketEmpty = "basket_empty", 4, never;
    /// Nowhere to deliver to.
    NoDetails = "no_details", 4, never;
    /// A price changed meanwhile.
    TotalChanged = "total_changed", 4, never;
    /// The order was cancelled before.
    AlreadyCancelled = "already_cancelled", 4, never;
    /// Not a postcode.
    PostcodeMalformed = "postcode_malformed", 4, never;
    /// No such postcode.
    PostcodeUnknown = "postcode_unknown", 4, never;
    /// A postcode that is no longer in use.
    PostcodeRetired = "postcode_retired", 4, never;
    /// Nobody could say whether the postcode is in use.
    PostcodeUnconfirmed = "postcode_unconfirmed", 4, later;
    /// The film is there already.
    MovieExists = "movie_exists", 4, never;
    /// A table of the service is full.
    Full = "full", 4, never;
    /// A replica's disk is full.
    DiskFull = "disk_full", 5, later;
    /// The name server cannot write its store.
    StoreDown = "store_down", 5, later;
    /// No name server answers.
    NoNameServer = "no_name_server", 5, later;
    /// No front end answers.
    NoFrontEnd = "no_front_end", 5, later;
    /// Nobody serves the group.
    NoPrimary = "no_primary", 5, later;
    /// Too few replicas are in sync.
    TooFewReplicas = "too_few_replicas", 5, later;
    /// No such film here, and OMDb could not be asked.
    MovieUnchecked = "movie_unchecked", 5, later;
    /// Too much is under way.
    AllBusy = "all_busy", 5, later;
    /// No primary was heard recently enough.
    Behind = "behind", 5, later;
    /// The name server has just started and cannot know yet.
    Warming = "warming", 5, later;
    /// The other end is something else, or another version.
    Incompatible = "incompatible", 5, never;
    /// Not everything serves yet.
    NotReady = "not_ready", 5, later;
    /// The name server holds all that it may.
    NameServerFull = "name_server_full", 5, later;
    /// Sent, and never answered.
    Unacknowledged = "unacknowledged", 6, later;
    /// The request id is too old to be told apart.
    RequestExpired = "request_expired", 6, never;
    /// Ctrl-C.
    Interrupted = "interrupted", 130, later;
}

impl Code {
    /// The code that a service gives its refusal.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.iter().find(|code| code.name() == name).copied().unwrap_or(Self::Internal)
    }
}

/// What a failed command may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing.
    None,
    /// Nobody can say yet.
    Unknown,
}

/// A failed command.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What it may have done.
    pub effect: Effect,
    /// The command's identity, once it has one.
    pub request_id: Option<RequestId>,
    /// What else there is to know, by the refusal's own names.
    pub fields: Map<String, Value>,
    /// Where in a script the command stands.
    pub at: Option<String>,
    /// Whether a person has been told already.
    pub told: bool,
}

impl Failure {
    /// A failure without effect.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let effect = if code.exit() == 6 { Effect::Unknown } else { Effect::None };
        let message = message.into();
        Self {
            code,
            message,
            hint: None,
            effect,
            request_id: None,
            fields: Map::new(),
            at: None,
            told: false,
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With another fact.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// With the command's identity.
    #[must_use]
    pub fn request(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Of the command that stands there in a script.
    #[must_use]
    pub fn at(mut self, place: String) -> Self {
        self.at = Some(place);
        self
    }

    /// Told to a person already; nobody needs to be told again.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.told = true;
        self
    }

    /// With an outcome that nobody can say yet.
    #[must_use]
    pub fn unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// The same, after so many tries.
    #[must_use]
    pub fn after_tries(mut self, tries: u32) -> Self {
        if self.code.exit() == 5 {
            self.message = format!("No connection could be established. {} ({tries} tries)", self.message);
        }
        self
    }

    /// The process's exit status. When too few replicas were left while the command was under way, it may have been
    /// carried out all the same: that is 6, as for every unknown outcome.
    pub fn exit(&self) -> u8 {
        match (self.code, self.effect) {
            (Code::TooFewReplicas, Effect::Unknown) => 6,
            (code, _) => code.exit(),
        }
    }

    /// The error object, one line.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Object<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
            hint: Option<&'a str>,
            effect: Effect,
            retryable: bool,
            request_id: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            at: Option<&'a str>,
            #[serde(flatten)]
            fields: &'a Map<String, Value>,
        }
        crate::output::json(&Object {
            error: Body {
                code: self.code.name(),
                message: &self.message,
                hint: self.hint.as_deref(),
                effect: self.effect,
                retryable: self.code.retryable(),
                request_id: self.request_id.map(|id| id.to_string()),
                at: self.at.as_deref(),
                fields: &self.fields,
            },
        })
    }
}

impl fmt::Display for Failure {
    /// What, then what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.at {
            write!(f, "{}: ", crate::output::escaped(place))?;
        }
        write!(f, "error: {}", crate::output::escaped(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {}", crate::output::escaped(hint)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// What every failure of a whole service says.
const CLOSED: &str = "Just Hungry is not taking orders right now.";
const SEE_STATUS: &str = "client cluster status";

/// The failure that a command's last answer stands for.
pub fn of_submit(error: &SubmitError) -> Failure {
    let failure = match error {
        SubmitError::NotPrimary { .. }
        | SubmitError::Draining
        | SubmitError::NoPrimary { .. }
        | SubmitError::UnknownService { .. } => no_primary(),
        SubmitError::Busy { .. } | SubmitError::Overloaded | SubmitError::Offline => all_busy(),
        SubmitError::Behind { .. } => behind(),
        SubmitError::DiskFull => {
            Failure::new(Code::DiskFull, "The disk of the primary is full; nothing was changed.")
        }
        SubmitError::TooLarge { limit } => too_large(*limit),
        SubmitError::FromTheFuture { now } => Failure::new(
            Code::ClockAhead,
            format!("the request id is dated too far ahead; it is {now} there"),
        )
        .hint("the same command without --request-id: an id of the right time is made for it"),
        SubmitError::Reused => {
            Failure::new(Code::RequestIdReused, "That request id belongs to another command.")
                .hint("the same command without --request-id")
        }
        SubmitError::Expired { .. } => Failure::new(
            Code::RequestExpired,
            "the request id is too old to be told apart: it may have run before",
        )
        .hint("look with client order list, then send it with a new id"),
        SubmitError::AtTheDoor { .. } => Failure::new(Code::Malformed, "The front end refused the command."),
        SubmitError::TooFewInSync { in_sync, needed } | SubmitError::TooFewToAdmit { in_sync, needed } => {
            too_few(*in_sync, *needed)
        }
        SubmitError::Unacknowledged { waited } => unacknowledged(*waited),
        SubmitError::Internal { why } => {
            Failure::new(Code::Unacknowledged, format!("the service failed: {why}"))
        }
    };
    // The id is too old for good; of the others nobody can say yet.
    if error.outcome() == Outcome::Unknown { failure.unknown() } else { failure }
}

/// The failure that a query's last answer stands for. A query changes nothing, so the effect is none.
pub fn of_query(error: &QueryError) -> Failure {
    match error {
        QueryError::NotPrimary { .. }
        | QueryError::Draining
        | QueryError::NoPrimary { .. }
        | QueryError::UnknownService { .. }
        | QueryError::Unacknowledged { .. } => no_primary(),
        QueryError::Busy { .. } | QueryError::Overloaded | QueryError::Offline => all_busy(),
        QueryError::Lacks { .. } => behind(),
        QueryError::TooLarge { limit } => too_large(*limit),
        QueryError::Behind => Failure::new(Code::Behind, "No replica has heard a primary recently enough."),
        QueryError::TooFewInSync { in_sync, needed } => too_few(*in_sync, *needed),
        QueryError::Internal { why } => Failure::new(Code::Internal, format!("the service failed: {why}")),
    }
}

/// The failure of a call to a front end that brought no answer.
pub fn of_call(error: &CallError) -> Failure {
    match error {
        CallError::Unreachable { address, why, .. } => {
            Failure::new(Code::NoFrontEnd, format!("Could not find front-end server. {address}: {why}"))
                .hint(SEE_STATUS)
        }
        CallError::Incompatible { why } => {
            Failure::new(Code::Incompatible, why.clone()).hint("a client of the servers' version")
        }
        CallError::TooLarge { limit } => too_large(*limit),
        CallError::Busy { .. } => all_busy(),
        CallError::ConnectionLost | CallError::Unacknowledged | CallError::Internal { .. } => {
            Failure::new(Code::Unacknowledged, error.to_string())
        }
    }
}

/// Nobody serves.
pub fn no_primary() -> Failure {
    Failure::new(Code::NoPrimary, CLOSED).hint(SEE_STATUS)
}

/// The failure that a service's refusal is: a code, an exit status and a sentence of the service's own.
pub fn of_refusal(refusal: &Refusal) -> Failure {
    let failure = Failure::new(Code::named(refusal.code()), refusal.sentence());
    match refusal {
        Refusal::Invalid { field, .. } => failure.field("field", field.as_str()),
        Refusal::UnknownProduct { item, near } => {
            failure.hint("client menu").field("item", item.as_str()).field("near", near.clone())
        }
        Refusal::LowStock { item, wanted, left } => {
            failure.field("item", item.as_str()).field("wanted", *wanted).field("left", *left)
        }
        Refusal::BasketEmpty => failure.hint("client cart add ITEM, or order with --item ITEM"),
        Refusal::NoDetails { .. } => failure.hint("--postcode PC, or client user set --postcode PC"),
        Refusal::TotalChanged { expected, total } => failure
            .hint("the same command with the total that is right for you as --expect")
            .field("expected", expected.get())
            .field("total", total.get()),
        Refusal::OrderUnknown { .. } | Refusal::AlreadyCancelled { .. } => failure.hint("client order list"),
        Refusal::PostcodeMalformed { text } => failure.field("input", text.as_str()),
        Refusal::PostcodeUnknown { postcode, near } => {
            let near: Vec<&str> = near.iter().map(Postcode::as_str).collect();
            failure.field("postcode", postcode.as_str()).field("near", near)
        }
        Refusal::PostcodeRetired { postcode, since } => {
            let since = since.map(|month| format!("{:04}-{:02}", month.year, month.month));
            failure.field("postcode", postcode.as_str()).field("retired", since)
        }
        Refusal::PostcodeUnconfirmed { postcode } => failure.field("postcode", postcode.as_str()),
        Refusal::Full { what, limit } => failure.field("what", what.as_str()).field("limit", *limit),
        Refusal::Malformed => failure.hint("a client of the servers' version"),
    }
}

/// The command was sent, and its outcome is not known.
pub fn unacknowledged(waited: Duration) -> Failure {
    let message =
        format!("the command was sent, but no answer came within {waited:?}; it may have been carried out");
    Failure::new(Code::Unacknowledged, message)
}

/// The same failure, when the command was to place an order.
pub fn of_an_order(mut failure: Failure) -> Failure {
    if failure.code == Code::Unacknowledged {
        failure.message =
            failure.message.replace("the command was", "the order was").replace("carried out", "placed");
        failure.hint = failure.hint.map(|hint| hint.replace("carried out", "placed"));
    }
    failure
}

/// What the service says is no answer to what it was asked.
pub fn not_understood() -> Failure {
    Failure::new(Code::Malformed, "The service's answer was not understood.")
        .hint("a client of the servers' version")
}

/// A file cannot be read or written.
pub fn file(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::File, format!("{}: {error}", path.display())).field("path", path.display().to_string())
}

/// A value breaks a rule.
pub fn invalid(field: &str, why: impl fmt::Display) -> Failure {
    Failure::new(Code::Invalid, format!("{field}: {why}")).field("field", field)
}

/// A service whose replicas take writes anywhere.
fn behind() -> Failure {
    Failure::new(Code::Behind, "No server that can be reached has everything that you have seen before.")
        .hint("the same command later; client cluster status shows who is missing")
}

fn all_busy() -> Failure {
    Failure::new(Code::AllBusy, "All servers are currently busy, please try again later.")
}

fn too_large(limit: u64) -> Failure {
    Failure::new(Code::TooLarge, format!("a command has at most {limit} bytes")).field("limit", limit)
}

fn too_few(in_sync: u8, needed: u8) -> Failure {
    Failure::new(
        Code::TooFewReplicas,
        format!("Fewer than {needed} servers are available ({in_sync} in sync)."),
    )
    .hint("start the missing replicas; client cluster status names them")
    .field("in_sync", in_sync)
    .field("needed", needed)
}

#[cfg(test)]
mod tests;
