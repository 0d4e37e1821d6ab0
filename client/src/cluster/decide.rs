//! What an operator's record is to be, given what everybody said; and what it may cost. A core: it asks nobody.

use common::names::{Address, LogicalName};
use common::replication::{ConfigVersion, Epoch, GroupConfig, GroupName, LogPoint, ReplicaId};
use common::rpc::replica::{MemberStatus, Waits};

use crate::errors::{Code, Failure};
use crate::output::{Lean, Screen, table};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The newest record seen, and its set.
    Adopt,
    /// This replica's disk alone.
    Force(LogicalName),
}

/// What the name server has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// This record; `None`: nothing.
    Record(Option<GroupConfig>),
    /// An older record than somebody has shown to it, or none at all.
    OlderThan { stored: Option<ConfigVersion>, seen: ConfigVersion },
}

/// A replica that was asked, and what it said.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    pub(super) name: LogicalName,
    pub(super) address: Address,
    /// Its disk, as far as its registration tells.
    pub(super) id: Option<ReplicaId>,
    /// Or why it said nothing.
    pub(super) said: Result<MemberStatus, String>,
}

/// Everything said about a group.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) group: GroupName,
    pub(super) stored: Stored,
    pub(super) voices: Vec<Voice>,
}

/// An operator's record, and the newest one that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) newest: GroupConfig,
    pub(super) next: GroupConfig,
}

impl Heard {
    /// The newest record that anybody has shown.
    pub(super) fn newest(&self) -> Option<&GroupConfig> {
        let stored = match &self.stored {
            Stored::Record(record) => record.as_ref(),
            Stored::OlderThan { .. } => None,
        };
        let shown = self.answers().filter_map(|(_, member)| member.config.as_ref());
        stored.into_iter().chain(shown).max_by_key(|config| config.version)
    }

    /// The version that must stand for an operator's to be put in its place.
    pub(super) fn expect(&self) -> Option<ConfigVersion> {
        match &self.stored {
            Stored::Record(record) => record.as_ref().map(|record| record.version),
            Stored::OlderThan { stored, .. } => *stored,
        }
    }

    /// Whether anything waits for an operator: else the record that stands is as good as any.
    pub(super) fn needs_adoption(&self) -> bool {
        match &self.stored {
            Stored::OlderThan { .. } | Stored::Record(None) => true,
            Stored::Record(Some(stored)) => {
                self.newest().is_some_and(|newest| newest.version > stored.version)
                    || self.answers().any(|(_, member)| member.waits.is_some())
            }
        }
    }

    /// The record to install.
    ///
    /// # Errors
    /// When nobody knows the group, or the replica to be forced is not there.
    pub(super) fn decide(&self, wish: &Wish) -> Result<Decision, Failure> {
        let Some(newest) = self.newest() else {
            let group = &self.group;
            return Err(Failure::new(
                Code::GroupUnknown,
                format!("nobody who answers knows a group {group}"),
            )
            .hint("start the replicas that served it, then the same command"));
        };
        let next = match wish {
            Wish::Force(name) => newest.forced_to(self.seen(), self.disk_of(name)?),
            Wish::Adopt => {
                let kept = self.kept(newest);
                kept.adopted(self.seen(), self.heir(&kept))
            }
        };
        Ok(Decision { newest: newest.clone(), next })
    }

    /// The newest record, without the members whose disks may be old copies, as long as one in sync answers whose disk
    /// is none: from that one they learn again what they lack.
    fn kept(&self, newest: &GroupConfig) -> GroupConfig {
        let in_sync = |member: &&MemberStatus| newest.in_sync.contains(member.member.id);
        let members = || self.answers().map(|(_, member)| member).filter(in_sync);
        let (old, whole): (Vec<_>, Vec<_>) = members().partition(|member| is_restored(member));
        let mut kept = newest.clone();
        if !whole.is_empty() {
            for member in old {
                kept.in_sync = kept.in_sync.without(member.member.id);
            }
        }
        kept
    }

    /// Whose disk should lead: of those in sync that answer, the one with the most; the one that led, among equals.
    fn heir(&self, kept: &GroupConfig) -> ReplicaId {
        let led = kept.primary.id;
        let in_sync = |member: &&MemberStatus| kept.in_sync.contains(member.member.id);
        let answers = self.answers().map(|(_, member)| member).filter(in_sync);
        let most = answers.max_by_key(|member| (member.last, member.member.id == led));
        let fallback = || kept.in_sync.iter().find(|&id| id == led).or_else(|| kept.in_sync.iter().next());
        most.map(|member| member.member.id).or_else(fallback).expect("a record has members in sync")
    }

    fn disk_of(&self, name: &LogicalName) -> Result<ReplicaId, Failure> {
        match self.voices.iter().find(|voice| voice.name == *name) {
            None => Err(Failure::new(Code::ReplicaUnknown, format!("no {name} is registered"))
                .hint("client cluster status")),
            Some(Voice { said: Err(why), .. }) => {
                Err(Failure::new(Code::NotReady, format!("{name} does not answer: {why}"))
                    .hint("start it, or name another"))
            }
            Some(Voice { said: Ok(member), .. }) => Ok(member.member.id),
        }
    }

    /// The latest version and the latest epoch that anybody has shown, in whatever way.
    fn seen(&self) -> (ConfigVersion, Epoch) {
        let stored = match &self.stored {
            Stored::Record(record) => record.as_ref().map(|record| (record.version, record.epoch)),
            Stored::OlderThan { seen, .. } => Some((*seen, Epoch(0))),
        };
        let shown = self.answers().map(|(_, member)| {
            let config = member.config.as_ref();
            let version = config.map_or(ConfigVersion(0), |config| config.version);
            let epoch = config.map_or(Epoch(0), |config| config.epoch);
            (version.max(member.config_version), epoch.max(member.epoch).max(member.last.epoch))
        });
        shown.chain(stored).fold((ConfigVersion(0), Epoch(0)), |(version, epoch), (other, later)| {
            (version.max(other), epoch.max(later))
        })
    }

    fn answers(&self) -> impl Iterator<Item = (&LogicalName, &MemberStatus)> {
        self.voices.iter().filter_map(|voice| Some((&voice.name, voice.said.as_ref().ok()?)))
    }

    /// Those in sync by the newest record who said nothing, by name where it is known.
    pub(super) fn silent(&self) -> Vec<String> {
        let Some(newest) = self.newest() else { return Vec::new() };
        let answered = |id: &ReplicaId| self.answers().any(|(_, member)| member.member.id == *id);
        newest.in_sync.iter().filter(|id| !answered(id)).map(|id| self.name_of(id)).collect()
    }

    fn name_of(&self, id: ReplicaId) -> String {
        let registered = self.voices.iter().find(|voice| match &voice.said {
            Ok(member) => member.member.id == id,
            Err(_) => voice.id == Some(id),
        });
        let known = self.answers().flat_map(|(_, member)| &member.known).find(|known| known.member.id == id);
        let name = registered.map(|voice| &voice.name).or_else(|| known.map(|known| &known.name));
        name.map_or_else(|| format!("the disk {id}"), ToString::to_string)
    }

    fn names(&self, ids: impl Iterator<Item = ReplicaId>) -> String {
        let mut names: Vec<String> = ids.map(|id| self.name_of(id)).collect();
        names.sort();
        names.join(", ")
    }

    /// For a person who has to agree: what everybody said, what would stand, what may be lost.
    pub(super) fn account(&self, screen: Screen, wish: &Wish, decision: &Decision) -> String {
        let Decision { newest, next } = decision;
        let group = &self.group;
        let stored = match &self.stored {
            Stored::Record(None) => "no record".to_owned(),
            Stored::Record(Some(record)) => format!("version {}, epoch {}", record.version.0, record.epoch.0),
            Stored::OlderThan { stored: None, seen } => {
                format!("no record, and was shown version {}", seen.0)
            }
            Stored::OlderThan { stored: Some(stored), seen } => {
                format!("version {}, and was shown version {}", stored.0, seen.0)
            }
        };
        let mut lines = vec![
            format!("{group}: the name server has {stored}."),
            format!(
                "The newest record seen is version {}, epoch {}; in sync: {}.",
                newest.version.0,
                newest.epoch.0,
                self.names(newest.in_sync.iter())
            ),
            table(screen, &COLUMNS, self.voices.iter().map(|voice| row(voice, newest))),
            format!(
                "To be installed: version {}, epoch {}; in sync: {}. {} may elect itself first.",
                next.version.0,
                next.epoch.0,
                self.names(next.in_sync.iter()),
                self.name_of(next.primary.id)
            ),
        ];
        lines.extend(self.losses(wish, decision));
        lines.join("\n")
    }

    /// What may be lost, a sentence each.
    pub(super) fn losses(&self, wish: &Wish, decision: &Decision) -> Vec<String> {
        let Decision { newest, next } = decision;
        let mut losses = Vec::new();
        let silent = self.silent();
        if !silent.is_empty() {
            losses.push(format!(
                "Not heard, though in sync: {}. If one of them knows a newer record, what was acknowledged under it is lost.",
                silent.join(", ")
            ));
        }
        let heir = self.answers().find(|(_, member)| member.member.id == next.primary.id);
        let reach = heir.map_or(LogPoint::default(), |(_, member)| member.last);
        if heir.is_none() {
            losses.push("Nobody in sync answers, so nobody serves until one of them is started.".to_owned());
        }
        for (name, member) in self.answers() {
            let was_in_sync = newest.in_sync.contains(member.member.id);
            let stays = next.in_sync.contains(member.member.id);
            if was_in_sync && !stays && is_restored(member) {
                losses.push(format!("{name} was restored from an older copy: it is fed anew by the others."));
            } else if member.last > reach && (was_in_sync || matches!(wish, Wish::Force(_))) {
                losses.push(format!(
                    "{name}'s log reaches {}, beyond {} of {}: what lies between may be lost.",
                    member.last,
                    reach,
                    self.name_of(next.primary.id)
                ));
            }
        }
        if matches!(wish, Wish::Force(_)) {
            losses.push(format!(
                "Only the disk of {} counts from then on: the others put their files aside and start anew from it.",
                self.name_of(next.primary.id)
            ));
        }
        if losses.is_empty() {
            losses.push("Everybody in sync was heard: nothing is lost.".to_owned());
        }
        losses
    }
}

fn is_restored(member: &MemberStatus) -> bool {
    member.waits == Some(Waits::Restored)
}

const COLUMNS: [(&str, Lean); 8] = [
    ("REPLICA", Lean::Left),
    ("ADDRESS", Lean::Left),
    ("IN SYNC", Lean::Left),
    ("VERSION", Lean::Right),
    ("EPOCH", Lean::Right),
    ("LAST", Lean::Right),
    ("COMMITTED", Lean::Right),
    ("DETAIL", Lean::Left),
];

fn row(voice: &Voice, newest: &GroupConfig) -> Vec<String> {
    let in_sync = |id: ReplicaId| if newest.in_sync.contains(id) { "yes" } else { "no" }.to_owned();
    let (name, address) = (voice.name.to_string(), voice.address.to_string());
    match &voice.said {
        Ok(member) => vec![
            name,
            address,
            in_sync(member.member.id),
            member.config_version.0.to_string(),
            member.epoch.0.to_string(),
            member.last.index.0.to_string(),
            member.committed.0.to_string(),
            member.trouble.clone(),
        ],
        Err(why) => {
            let unknown = || "-".to_owned();
            let in_sync = voice.id.map_or_else(unknown, in_sync);
            let detail = format!("does not answer: {why}");
            vec![name, address, in_sync, unknown(), unknown(), unknown(), unknown(), detail]
        }
    }
}

#[cfg(test)]
mod tests;
