//! What the shell does (`driver.rs`): carries effects out, in order, and tells them.

use std::time::Duration;

use common::replication::{Epoch, GroupConfig, Member, ReplicaId};
use common::rpc::peer::{Message, Reply, ReplyBody};

use super::super::{Core, Effect, SendTicket, Ticket, Waiter, WriteBatch};
use super::authority::{Health, Question};
use super::disk::Fsync;
use super::network::{End, Passage};
use super::stage::{Arrival, Asker, HOP, Happening, Stage};
use super::words::batch_in_words;

/// How long the name server has for an answer.
const NS_WITHIN: Duration = Duration::from_secs(1);

impl Stage {
    pub(super) fn carry_out(&mut self, number: u8, effect: Effect) {
        match effect {
            Effect::Send { to, ticket, message, within } => {
                self.send_message(number, to, ticket, message, within);
            }
            Effect::Reply { waiter, reply } => self.send_reply(number, waiter, reply),
            Effect::Submitted { waiter, result } => {
                if let Some(Asker::Client(label)) = self.askers.remove(&(number, waiter)) {
                    self.telling.tell(&label, None, self.names.submitted(&result));
                }
            }
            Effect::Queried { waiter, result } => {
                if let Some(Asker::Client(label)) = self.askers.remove(&(number, waiter)) {
                    self.telling.tell(&label, None, self.names.queried(&result));
                }
            }
            Effect::Persist(batch, ticket) => self.persist(number, batch, ticket),
            Effect::ReadRecord { known } => self.question(number, Question::Read(known)),
            Effect::Cas { next } => self.question(number, Question::Cas(Box::new(next))),
            Effect::Look(member) => self.look(number, member),
            Effect::FormatAnew { keep } => self.format_anew(number, keep),
            Effect::Work(work) => self.arrive(number, HOP, Happening::Worked(work)),
            Effect::Alarm { why } => {
                let me = self.names.disk(self.nodes[&number].id);
                self.telling.tell(&me, None, format!("alarm: {why}"));
            }
            Effect::Stopped => {
                let me = self.names.disk(self.nodes[&number].id);
                self.telling.tell(&me, None, "stops".to_owned());
                self.stopped = Some(number);
            }
        }
    }

    fn send_message(
        &mut self,
        number: u8,
        to: ReplicaId,
        ticket: SendTicket,
        message: Message,
        within: Duration,
    ) {
        let (life, me) = (self.nodes[&number].life, self.names.disk(self.nodes[&number].id));
        let target = self.nodes.iter().find(|(_, node)| node.id == to);
        let connected = target.filter(|(_, node)| self.met.contains(&(life, node.life)));
        let connected = connected.map(|(host, node)| (*host, node.life));
        let mut what = self.names.message(&message);
        let mut background = matches!(message, Message::TakeOver { .. });
        if let Message::Confirm { round, .. } = message {
            background = self.rounds.insert((life, to), round).unwrap_or(0) == round;
            if background {
                what = "beacon".to_owned();
            }
        }
        let call = self.call(number, connected.map(|(host, _)| host));
        self.tickets.insert((number, ticket), call);
        let no_reply = Arrival::To(number, life, Happening::Reply { call, ticket, reply: None });
        let passage = match connected {
            None => {
                self.push(Duration::ZERO, false, no_reply);
                Passage::Lost
            }
            Some((host, peer_life)) => {
                self.push(within, true, no_reply);
                let request = Happening::Request { from: number, life, call, message, background };
                self.send(End::Host(number), End::Host(host), &what, Arrival::To(host, peer_life, request))
            }
        };
        let to = self.names.disk(to);
        self.telling.tell(&me, Some(&to), format!("{what}{}", passage.note()));
    }

    fn send_reply(&mut self, number: u8, waiter: Waiter, reply: Reply) {
        let Some(Asker::Peer { host, life, call, background }) = self.askers.remove(&(number, waiter)) else {
            return;
        };
        if self.nodes[&host].life != life {
            // Who asked is gone.
            return;
        }
        let what = match &reply.body {
            ReplyBody::Confirmed { .. } if background => "hears".to_owned(),
            ReplyBody::Accepted if background => "notes".to_owned(),
            _ => self.names.reply(&reply),
        };
        let (me, to) = (self.names.disk(self.nodes[&number].id), self.names.disk(self.nodes[&host].id));
        let happening = if let ReplyBody::Hello(hello) = reply.body {
            Happening::Greeted { call, hello }
        } else {
            let ticket = self.tickets.iter().find(|((at, _), own)| *at == host && **own == call);
            // Nobody waits for the answer to a copy.
            let ticket = ticket.map_or(SendTicket(0), |((_, ticket), _)| *ticket);
            Happening::Reply { call, ticket, reply: Some(reply) }
        };
        let arrival = Arrival::To(host, life, happening);
        let passage = self.send(End::Host(number), End::Host(host), &what, arrival);
        self.telling.tell(&me, Some(&to), format!("{what}{}", passage.note()));
    }

    fn persist(&mut self, number: u8, batch: WriteBatch, ticket: Ticket) {
        let me = self.names.disk(self.nodes[&number].id);
        let what = batch_in_words(&batch);
        let node = self.node(number);
        let life = node.life;
        assert!(node.disk.writing.is_none(), "one batch at a time");
        node.disk.writing = Some((batch, ticket));
        let written = Arrival::To(number, life, Happening::Written);
        let note = match node.disk.fsync {
            Fsync::Quick => {
                self.push(HOP, false, written);
                ""
            }
            Fsync::Takes(time) => {
                self.push(time, true, written);
                " (slowly)"
            }
            Fsync::Hangs => " (hangs)",
        };
        self.telling.tell(&me, None, format!("{what}{note}"));
    }

    fn look(&mut self, number: u8, member: Member) {
        let me = self.names.disk(self.nodes[&number].id);
        self.telling.tell(&me, None, format!("looks at {}", self.names.disk(member.id)));
        let there = self.nodes.iter().find(|(_, node)| node.boot == member.boot);
        let refused = there.is_some_and(|(other, node)| {
            node.core.is_none() && self.network.joins(End::Host(number), End::Host(*other))
        });
        if refused {
            self.arrive(number, HOP, Happening::Refused(member));
        }
    }

    fn question(&mut self, number: u8, question: Question) {
        let node = &self.nodes[&number];
        let (me, by, life) = (self.names.disk(node.id), node.member(), node.life);
        let what = match &question {
            Question::Read(_) => "asks".to_owned(),
            Question::Cas(next) => format!("cas {}", self.names.record(next)),
        };
        let call = self.call(number, None);
        let no_answer = |after: Duration| (after, Happening::Told { call, verdict: None });
        let (after, happening) = no_answer(NS_WITHIN);
        let note = if self.authority.health == Health::Down {
            self.push(HOP, false, Arrival::To(number, life, no_answer(HOP).1));
            " (refused)"
        } else {
            self.push(after, true, Arrival::To(number, life, happening));
            let arrival = Arrival::Question { host: number, life, by, call, question };
            self.send(End::Host(number), End::NameServer, &what, arrival).note()
        };
        self.telling.tell(&me, Some("ns"), format!("{what}{note}"));
    }

    pub(super) fn ask_authority(&mut self, asked: Arrival) {
        if self.authority.health != Health::Up {
            if self.authority.health == Health::Frozen {
                self.frozen.push(asked);
            }
            return;
        }
        let Arrival::Question { host, life, by, call, question } = asked else { return };
        let before = self.authority.record().cloned();
        let word = if matches!(question, Question::Read(_)) { "answer" } else { "verdict" };
        let (verdict, said) = self.authority.ask(by, &question);
        self.telling.step(self.now);
        if let Some(said) = said {
            self.telling.tell("ns", None, said);
        }
        let arrival = Arrival::To(host, life, Happening::Told { call, verdict: Some(verdict) });
        let passage = self.send(End::NameServer, End::Host(host), word, arrival);
        if passage != Passage::Passes {
            let me = self.names.disk(self.nodes[&host].id);
            self.telling.tell("ns", Some(&me), format!("{word}{}", passage.note()));
        }
        if self.authority.record() != before.as_ref() {
            self.show_record_to_all();
        }
    }

    /// Every watch shows what stands.
    pub(super) fn show_record_to_all(&mut self) {
        let running: Vec<u8> =
            self.nodes.iter().filter(|(_, node)| node.core.is_some()).map(|(number, _)| *number).collect();
        for number in running {
            self.show_record(number);
        }
    }

    /// The name server goes on with what came meanwhile.
    pub(super) fn thaw(&mut self) {
        for arrival in std::mem::take(&mut self.frozen) {
            self.push(HOP, false, arrival);
        }
    }

    /// The newest record that the name server or a running replica has.
    pub(super) fn newest_record(&self) -> Option<GroupConfig> {
        let cores = self.nodes.values().filter_map(|node| node.core.as_ref());
        let known = cores.filter_map(Core::newest_config).chain(self.authority.record());
        known.max_by_key(|record| record.version).cloned()
    }

    /// The newest epoch that a running replica is in.
    pub(super) fn newest_epoch(&self) -> Epoch {
        let cores = self.nodes.values().filter_map(|node| node.core.as_ref());
        cores.map(|core| core.progress().epoch).max().unwrap_or_default()
    }

    /// What a replica says of itself.
    pub(super) fn status(&mut self, number: u8) {
        let node = &self.nodes[&number];
        let me = self.names.disk(node.id);
        let Some(core) = &node.core else { return };
        let progress = core.progress();
        let role = format!("{:?}", core.role()).to_lowercase();
        let trouble = if core.trouble().is_empty() { String::new() } else { format!(", {}", core.trouble()) };
        let (last, committed, durable) = (progress.last, progress.committed, progress.durable);
        let said =
            format!("status: {role}, log to {last}, committed {committed}, on disk {durable}{trouble}");
        self.telling.step(self.now);
        self.telling.tell(&me, None, said);
    }
}
