//! The config authority: the core that keeps, for each replica group, the one configuration that stands, and decides
//! whether a proposed one may follow it (W. Lin et al., *PacificA*, MSR-TR-2008-25, §2.2: the configuration manager).
//!
//! The rules themselves are [`Config::allows`], of each kind of group its own; here is what surrounds them: compare-and-set on the version, one
//! change of a group under way at a time, the same change by the same proposer answered again, and **old copies**.
//! Somebody who shows a version above the stored one proves that this store is an old copy of itself. The group then
//! takes no change until an operator installs a configuration above all versions seen: the newest may be known only
//! to a member that does not answer, so guessing would lose what it acknowledged.
//!
//! A change is staged, made durable by the shell, and only then [installed](Groups::install): nobody sees it before.

#![allow(clippy::result_large_err, reason = "the contract's own error, made once per change of a group")]

use std::collections::BTreeMap;

use common::ids::ClusterId;
use common::replication::{ConfigError, ConfigVersion, GroupName, Proposer};
use common::rpc::name_service::{Config, GroupChange, GroupError};
use serde::{Deserialize, Serialize};

/// Groups kept at most: a cluster has one per service. It bounds what a stranger's group names can take.
pub const GROUPS_MAX: usize = 1_024;
/// A version shown may lie this far above the stored one; more is no version, but somebody's joke.
const VERSIONS_AHEAD_MAX: u64 = 1 << 40;

/// What the store keeps of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Which group.
    pub group: GroupName,
    /// What stands, and who proposed it.
    pub standing: Option<(Config, Proposer)>,
    /// The newest version that anybody has shown.
    pub seen: ConfigVersion,
}

impl GroupRow {
    /// This may be an old copy: as if somebody had shown a later version.
    pub fn freeze(&mut self) {
        if let Some((standing, _)) = &self.standing {
            self.seen = self.seen.max(ConfigVersion(standing.version().0 + 1));
        }
    }
}

/// What becomes of a proposal that breaks no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// It stands already: its answer was lost.
    Standing(Config),
    /// Store this; then [`Groups::install`].
    Staged(GroupRow),
    /// Another change of the group is on its way to the disk: propose again when that is over.
    Later,
}

/// The configurations of all groups.
#[derive(Debug)]
pub struct Groups {
    cluster: ClusterId,
    rows: BTreeMap<GroupName, GroupRow>,
    staged: BTreeMap<GroupName, GroupRow>,
    /// Rows that say more than the store knows.
    news: Vec<GroupRow>,
}

impl Groups {
    /// What `cluster`'s store holds.
    pub fn new(cluster: ClusterId, rows: impl IntoIterator<Item = GroupRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.group.clone(), row)).collect();
        Self { cluster, rows, staged: BTreeMap::new(), news: Vec::new() }
    }

    /// How many groups have a configuration.
    pub fn len(&self) -> usize {
        self.rows.values().filter(|row| row.standing.is_some()).count()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The configuration that stands. `known` is the newest version that the caller has seen.
    ///
    /// # Errors
    /// [`GroupError::Regressed`] when a later version was shown, now or before.
    pub fn read(
        &mut self,
        group: &GroupName,
        known: Option<ConfigVersion>,
    ) -> Result<Option<Config>, GroupError> {
        self.show(group, known)?;
        match self.regressed(group, known) {
            Some(error) => Err(error),
            None => Ok(self.standing(group).cloned()),
        }
    }

    /// Versions shown that the store does not know of yet; nobody waits for it.
    pub fn take_news(&mut self) -> Vec<GroupRow> {
        std::mem::take(&mut self.news)
    }

    /// Judges a change.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn propose(&mut self, change: GroupChange) -> Result<Proposal, GroupError> {
        let GroupChange { expect, new, by } = change;
        if new.cluster() != self.cluster {
            return Err(GroupError::WrongCluster { ours: self.cluster });
        }
        let group = new.group().clone();
        if self.staged.contains_key(&group) {
            return Ok(Proposal::Later);
        }
        self.show(&group, expect)?;
        if by != Proposer::Operator
            && let Some(error) = self.regressed(&group, expect)
        {
            return Err(error);
        }
        let kept = self.rows.get(&group);
        let seen = kept.map_or(ConfigVersion(0), |row| row.seen);
        let Some((stands, proposer)) = kept.and_then(|row| row.standing.as_ref()) else {
            // Nothing is stored. If somebody has shown that there was something, only an operator came this far.
            let allowed = match by {
                Proposer::Operator => Config::allows_adopted(seen, &new),
                Proposer::Member(_) => Config::allows_first(by, &new),
            };
            return match allowed {
                _ if expect.is_some() => Err(GroupError::Conflict { current: None }),
                Err(error) => Err(error.into()),
                Ok(()) if kept.is_none() && self.rows.len() + self.staged.len() >= GROUPS_MAX => {
                    Err(GroupError::Denied)
                }
                Ok(()) => Ok(self.stage(new, by)),
            };
        };
        if (stands, proposer) == (&new, &by) {
            return Ok(Proposal::Standing(new));
        }
        if expect != Some(stands.version()) {
            return Err(GroupError::Conflict { current: Some(stands.clone()) });
        }
        match stands.allows(by, &new) {
            Err(error) => Err(error.into()),
            Ok(()) if by == Proposer::Operator && new.version() <= seen => Err(ConfigError::Version.into()),
            Ok(()) => Ok(self.stage(new, by)),
        }
    }

    /// What was staged for `group` is durable: it stands from now on.
    pub fn install(&mut self, group: &GroupName) -> Config {
        let row = self.staged.remove(group).expect("only what was staged becomes durable");
        let config = row.standing.as_ref().map(|(config, _)| config.clone()).expect("a staged row has one");
        self.rows.insert(group.clone(), row);
        config
    }

    fn stage(&mut self, new: Config, by: Proposer) -> Proposal {
        let group = new.group().clone();
        let row = GroupRow { group: group.clone(), seen: new.version(), standing: Some((new, by)) };
        self.staged.insert(group, row.clone());
        Proposal::Staged(row)
    }

    fn standing(&self, group: &GroupName) -> Option<&Config> {
        self.rows.get(group)?.standing.as_ref().map(|(config, _)| config)
    }

    fn stored(&self, group: &GroupName) -> Option<ConfigVersion> {
        self.standing(group).map(Config::version)
    }

    /// Remembers that somebody has shown `version`.
    fn show(&mut self, group: &GroupName, version: Option<ConfigVersion>) -> Result<(), GroupError> {
        let stored = self.stored(group).unwrap_or_default();
        let Some(version) = version.filter(|&version| version > stored) else { return Ok(()) };
        // One that is on its way to the disk may be known to its proposer already.
        if self.staged.get(group).is_some_and(|row| row.seen >= version) {
            return Ok(());
        }
        if version.0 > stored.0 + VERSIONS_AHEAD_MAX {
            return Err(GroupError::Denied);
        }
        if !self.rows.contains_key(group) && self.rows.len() >= GROUPS_MAX {
            return Ok(());
        }
        let fresh = || GroupRow { group: group.clone(), standing: None, seen: ConfigVersion(0) };
        let row = self.rows.entry(group.clone()).or_insert_with(fresh);
        if version > row.seen {
            row.seen = version;
            self.news.push(row.clone());
        }
        Ok(())
    }

    /// The groups that take no change until an operator has confirmed the newest configuration.
    pub fn frozen(&self) -> impl Iterator<Item = &GroupName> {
        self.rows.keys().filter(|group| self.regressed(group, None).is_some())
    }

    fn regressed(&self, group: &GroupName, shown: Option<ConfigVersion>) -> Option<GroupError> {
        if self.staged.contains_key(group) {
            return None;
        }
        let stored = self.stored(group);
        let seen = self.rows.get(group).map(|row| row.seen).max(shown).unwrap_or_default();
        (seen > stored.unwrap_or_default()).then_some(GroupError::Regressed { stored, seen })
    }
}

#[cfg(test)]
mod tests;
