//! A walk as it is told to a person: what happened, and what each replica made of it.

use common::replication::{EntryKind, GroupConfig};
use common::rpc::peer::{Message, Reply, ReplyBody};
use replica::passive::{Effect, WriteBatch};

use super::network::{Flying, Word};

/// Lines, when somebody listens.
#[derive(Clone, Debug, Default)]
pub struct Story(Option<Vec<String>>);

impl Story {
    /// One that is told.
    pub fn told() -> Self {
        Self(Some(Vec::new()))
    }

    /// What was told.
    pub fn lines(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }

    /// One thing more.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            // All identities in a walk are small numbers.
            lines.push(line().replace("00000000-0000-0000-0000-00000000", ""));
        }
    }

    /// Something about the thing before.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        self.tell(|| format!("    {}", line()));
    }

    /// What was on its way.
    pub fn flying(&mut self, flying: &Flying) {
        self.note(|| match flying {
            Flying::Request { message: what, .. } => message(what),
            Flying::Reply { reply: Some(what), .. } => reply(what),
            Flying::Reply { reply: None, .. } => "no reply".into(),
            Flying::Ask { change: Some(next), .. } => format!("change to {}", record(next)),
            Flying::Ask { change: None, .. } => "which record stands?".into(),
            Flying::Told { word: Word::Stands(Some(stands)), .. } => record(stands),
            Flying::Told { word, .. } => format!("{word:?}"),
            Flying::Refused(member) => format!("{member:?} refuses"),
        });
    }

    /// What a replica wants.
    pub fn effect(&mut self, n: usize, effect: &Effect) {
        self.note(|| {
            format!(
                "r{n}: {}",
                match effect {
                    Effect::Send { to, message: what, .. } => format!("to {to:?}: {}", message(what)),
                    Effect::Reply { reply: what, .. } => reply(what),
                    Effect::Submitted { result: Ok(done), .. } => format!("done at {:?}", done.position),
                    Effect::Submitted { result: Err(error), .. } => format!("not done: {error}"),
                    Effect::Queried { result: Ok(answer), .. } => format!("shows {:?}", answer.position),
                    Effect::Queried { result: Err(error), .. } => format!("shows nothing: {error}"),
                    Effect::Persist(batch, _) => writes(batch),
                    Effect::ReadRecord { .. } => "asks which record stands".into(),
                    Effect::Cas { next } => format!("proposes {}", record(next)),
                    Effect::Look(member) => format!("looks whether {member:?} lives"),
                    Effect::Work(_) => "has work beside its core".into(),
                    other => format!("{other:?}"),
                }
            )
        });
    }
}

/// A record, shortly.
pub fn record(config: &GroupConfig) -> String {
    let (boot, in_sync) = (config.primary.boot, &config.in_sync);
    let forced = if config.forced.0 > 0 { format!(", forced {}", config.forced) } else { String::new() };
    format!(
        "{} {} led by {:?}/{boot:?} of {in_sync}{forced}",
        config.version, config.epoch, config.primary.id
    )
}

fn writes(batch: &WriteBatch) -> String {
    let mut parts = Vec::new();
    if let Some(from) = batch.truncate_from {
        parts.push(format!("truncates from {from}"));
    }
    if let Some(base) = batch.base {
        parts.push(format!("stands on {}", base.point));
    }
    for entry in &batch.append {
        parts.push(format!("{} {}", entry.point(), kind(&entry.kind)));
    }
    if let Some(snapshot) = &batch.snapshot {
        parts.push(format!("a snapshot of {} bytes", snapshot.len()));
    }
    if let Some(config) = &batch.config {
        parts.push(record(config));
    }
    format!("writes {}", parts.join(", "))
}

fn kind(kind: &EntryKind) -> String {
    match kind {
        EntryKind::Genesis { .. } => "genesis".into(),
        EntryKind::Barrier => "barrier".into(),
        EntryKind::Update { request, .. } => format!("update {request}"),
    }
}

fn message(message: &Message) -> String {
    match message {
        Message::Hello(hello) => {
            format!("hello from {:?}, log to {}, record {}", hello.me, hello.last, hello.config_version)
        }
        Message::Append { epoch, prev, entries, committed, .. } => {
            let upto = entries.last().map_or(*prev, |entry| entry.point());
            format!("append in {epoch} after {prev} to {upto}, committed {committed}")
        }
        Message::Confirm { epoch, round, committed, .. } => {
            format!("confirm {epoch} round {round}, committed {committed}")
        }
        Message::SnapshotChunk { epoch, last, offset, whole, .. } => {
            format!(
                "snapshot in {epoch} of {last} from {offset}{}",
                if whole.is_some() { ", last" } else { "" }
            )
        }
        Message::Join { me, last, .. } => format!("{me:?} would join, log to {last}"),
        Message::TakeOver { config } => format!("take over: {}", record(config)),
        Message::HeardPrimary { epoch } => format!("heard the primary of {epoch}?"),
    }
}

fn reply(reply: &Reply) -> String {
    let body = match &reply.body {
        ReplyBody::Hello(hello) => {
            format!("hello from {:?}, log to {}, record {}", hello.me, hello.last, hello.config_version)
        }
        ReplyBody::NotPrimary { config: Some(config) } => format!("not primary; {}", record(config)),
        body => format!("{body:?}"),
    };
    format!("{body} ({})", reply.epoch)
}
