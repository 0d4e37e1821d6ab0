//! The name server, as far as it is the config authority: one record, changed by compare-and-set under
//! [`GroupConfig::allows`]. Each change is fsynced before anybody hears of it.

use common::replication::{ConfigVersion, GroupConfig, Member, Proposer};

use super::super::Event;

/// What replicas ask of it.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Which record stands? The asker has seen this version.
    Read(Option<ConfigVersion>),
    /// May this stand?
    Cas(Box<GroupConfig>),
}

/// What it answers, as the shell would report it to the core.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Stands(Option<GroupConfig>),
    Regressed,
}

impl From<Verdict> for Event {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Stands(record) => Self::Record(record),
            Verdict::Regressed => Self::RecordRegressed,
        }
    }
}

/// Whether it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Up,
    /// Connections are refused.
    Down,
    /// It takes questions in, and answers them when it thaws.
    Frozen,
}

/// The record and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Authority {
    pub(super) health: Health,
    standing: Option<(GroupConfig, Proposer)>,
    /// The newest version that anybody has shown.
    seen: ConfigVersion,
    /// Every record that ever stood, for old copies of the disk.
    past: Vec<GroupConfig>,
}

impl Authority {
    pub(super) fn record(&self) -> Option<&GroupConfig> {
        self.standing.as_ref().map(|(record, _)| record)
    }

    /// Answers, and says in words what was decided about a change.
    pub(super) fn ask(&mut self, by: Member, question: &Question) -> (Verdict, Option<String>) {
        match question {
            Question::Read(known) => {
                self.seen = self.seen.max(known.unwrap_or_default());
                (self.verdict(), None)
            }
            Question::Cas(next) => {
                let (verdict, said) = self.propose(Proposer::Member(by), next);
                (verdict, Some(said))
            }
        }
    }

    fn verdict(&self) -> Verdict {
        let stored = self.record().map_or(ConfigVersion(0), |record| record.version);
        if self.seen > stored { Verdict::Regressed } else { Verdict::Stands(self.record().cloned()) }
    }

    /// Judges a change, as the name server does; and says how.
    pub(super) fn propose(&mut self, by: Proposer, next: &GroupConfig) -> (Verdict, String) {
        let version = next.version;
        let shown = ConfigVersion(version.0 - 1);
        let stored = self.record().map_or(ConfigVersion(0), |record| record.version);
        if by != Proposer::Operator {
            self.seen = self.seen.max(shown);
            if self.seen > stored {
                return (Verdict::Regressed, format!("refuses {version}: its record is old"));
            }
        }
        let allowed = match &self.standing {
            Some((record, proposer)) if (record, *proposer) == (next, by) => {
                return (self.verdict(), format!("has {version} already"));
            }
            Some((record, _)) if by != Proposer::Operator && record.version != shown => {
                return (self.verdict(), format!("refuses {version}: {} stands", record.version));
            }
            Some((record, _)) => record.allows(by, next),
            None if by == Proposer::Operator => Ok(()),
            None => GroupConfig::allows_first(by, next),
        };
        if let Err(rule) = allowed {
            return (self.verdict(), format!("refuses {version}: {rule}"));
        }
        self.seen = self.seen.max(version);
        self.past.push(next.clone());
        self.standing = Some((next.clone(), by));
        (self.verdict(), format!("takes {version}"))
    }

    /// The newest version that it or anybody has shown.
    pub(super) fn newest_seen(&self) -> ConfigVersion {
        self.seen
    }

    /// An old copy of its disk: `version` stands, what came later never was. Version 0: a wiped one.
    pub(super) fn restore(&mut self, version: u64) -> Result<(), String> {
        self.seen = ConfigVersion(version);
        self.standing = None;
        if version > 0 {
            let old = self.past.iter().find(|record| record.version.0 == version);
            let old = old.ok_or_else(|| format!("v{version} never stood"))?.clone();
            let by = Proposer::Member(old.primary);
            self.standing = Some((old, by));
        }
        Ok(())
    }
}
