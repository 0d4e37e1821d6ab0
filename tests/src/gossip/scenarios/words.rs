//! What happened, in few words.

use std::fmt::Write as _;

use common::replication::{GossipConfig, ReplicaId, RequestId, VectorTimestamp};
use common::rpc::gossip::{Message, News, Outcome, Reply};
use replica::gossip::{Effect, Waiter, WriteBatch};

use super::super::world::{World, asker};

impl World {
    /// What a replica wants, and whether it is a mere round.
    pub(in super::super) fn in_words(&self, n: usize, effect: &Effect) -> Option<(bool, String)> {
        let me = self.label(self.nodes[n].id);
        let (round, what) = match effect {
            Effect::Send { to, message, .. } => {
                let (round, what) = self.message(message);
                (round, format!("{me} > {}: {what}", self.label(*to)))
            }
            Effect::Reply { waiter, reply } => {
                let (round, what) = self.reply_in_words(reply);
                let to = self
                    .nodes
                    .get(asker(*waiter).0)
                    .map_or_else(|| "?".to_owned(), |node| self.label(node.id));
                (round, format!("{me} > {to}: {what}"))
            }
            Effect::Executed { waiter, result } => (
                false,
                format!(
                    "{me}: {} {}",
                    self.caller(*waiter),
                    match result {
                        Ok(done) => format!("done at {}", self.vector(&done.vector)),
                        Err(refused) => format!("refused: {refused}"),
                    }
                ),
            ),
            Effect::Queried { waiter, result } => (
                false,
                format!(
                    "{me}: {} {}",
                    self.caller(*waiter),
                    match result {
                        Ok(answer) => format!("sees {}", self.vector(&answer.vector)),
                        Err(refused) => format!("refused: {refused}"),
                    }
                ),
            ),
            Effect::Persist(batch, _) => (false, format!("{me} disk: {}", self.batch(batch))),
            Effect::ReadMembers | Effect::Work(_) => return None,
            Effect::Cas { next } => (false, format!("{me} proposes {}", self.members(next))),
            Effect::FormatAnew => (false, format!("{me} gives its disk up")),
            Effect::Strand(updates) => {
                let updates: Vec<_> = updates.iter().map(|update| self.update(update.id)).collect();
                (false, format!("{me} strands {}", updates.join(" ")))
            }
            Effect::Alarm { why } => (false, format!("{me} alarm: {why}")),
            Effect::Stopped => (false, format!("{me} has left")),
        };
        Some((round, self.labelled(what)))
    }

    fn label(&self, id: ReplicaId) -> String {
        self.labels.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Identities that stand in somebody's words.
    fn labelled(&self, mut text: String) -> String {
        for (id, label) in &self.labels {
            text = text.replace(&id.to_string(), label);
        }
        text
    }

    fn update(&self, id: RequestId) -> String {
        self.oracle.number(id).map_or_else(|| id.to_string(), |number| format!("u{number}"))
    }

    fn vector(&self, vector: &VectorTimestamp) -> String {
        let entries: Vec<_> =
            vector.seen.iter().map(|(id, count)| format!("{} {count}", self.label(*id))).collect();
        format!("[{}]", entries.join(", "))
    }

    fn members(&self, members: &GossipConfig) -> String {
        let names = |ids: &std::collections::BTreeSet<ReplicaId>| {
            ids.iter().map(|id| self.label(*id)).collect::<Vec<_>>().join(" ")
        };
        let mut text = format!("{} {{{}}}", members.version, names(&members.active));
        if !members.leaving.is_empty() {
            let _ = write!(text, ", leaving {}", names(&members.leaving));
        }
        for (id, last) in &members.retired {
            let _ = write!(text, ", {} retired with {last}", self.label(*id));
        }
        text
    }

    fn news(&self, news: &News) -> String {
        let updates: Vec<_> = news.records.iter().map(|record| self.update(record.id)).collect();
        let updates = if updates.is_empty() { "nothing".to_owned() } else { updates.join(" ") };
        format!("{updates} at {}", self.vector(&news.applied))
    }

    fn message(&self, message: &Message) -> (bool, String) {
        match message {
            Message::Recall { .. } => (false, "what do you remember of me?".into()),
            Message::Push { attached: None, news, .. } => {
                (news.records.is_empty(), format!("push {}", self.news(news)))
            }
            Message::Push { attached: Some(members), news, .. } => {
                (false, format!("push {}, members {}", self.news(news), self.members(members)))
            }
            Message::Pull { have, .. } => (false, format!("pull, have {}", self.vector(have))),
            Message::Join { was, .. } => {
                (false, was.map_or_else(|| "join".into(), |was| format!("join, was {}", self.label(was))))
            }
            Message::Chunk { offset, .. } => (false, format!("copy from {offset}")),
        }
    }

    fn reply_in_words(&self, reply: &Reply) -> (bool, String) {
        match reply {
            Reply::Recalled { applied, of_you, .. } => {
                let you = of_you.as_ref().map_or_else(|| "nothing".to_owned(), |(you, _)| self.vector(you));
                (false, format!("you had {you}, I have {}", self.vector(applied)))
            }
            Reply::Ack { applied, outcome, .. } => {
                (*outcome == Outcome::Taken, format!("{outcome:?}, at {}", self.vector(applied)))
            }
            Reply::News { news, .. } => (false, format!("news {}", self.news(news))),
            Reply::Welcome { .. } => (false, "welcome".into()),
            // How long it is, is the encoding's business.
            Reply::Piece { .. } => (false, "the copy".into()),
            Reply::Refused { outcome } => (false, format!("refused: {outcome:?}")),
        }
    }

    fn caller(&self, waiter: Waiter) -> String {
        let call = usize::try_from(waiter.0).ok().and_then(|number| self.calls.get(number));
        call.map_or_else(
            || "?".into(),
            |call| match call.update {
                Some(update) => format!("s{}'s u{update}", call.session),
                None => format!("s{}", call.session),
            },
        )
    }

    fn batch(&self, batch: &WriteBatch) -> String {
        let mut parts = Vec::new();
        if batch.replace {
            parts.push("a copy".to_owned());
        }
        if !batch.append.is_empty() {
            parts.push(
                batch.append.iter().map(|(_, record)| self.update(record.id)).collect::<Vec<_>>().join(" "),
            );
        }
        if let Some(members) = &batch.members {
            parts.push(format!("members {}", self.members(members)));
        }
        if batch.floor.is_some() {
            parts.push("floor".into());
        }
        if batch.checkpoint.is_some() && !batch.replace {
            parts.push("checkpoint".into());
        }
        if !batch.gone.is_empty() {
            parts.push(format!("{} gone", batch.gone.len()));
        }
        parts.join(", ")
    }
}
