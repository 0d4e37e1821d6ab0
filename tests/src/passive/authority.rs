//! The name server, as far as a group's record goes: [`GroupConfig::allows`] decides, as it does there.

use common::replication::{ConfigError, ConfigVersion, GroupConfig, Member, Proposer};

use super::network::Word;

/// Who keeps the record.
#[derive(Clone, Debug, Default)]
pub struct Authority {
    record: Option<GroupConfig>,
    /// The records before, from the first one on.
    past: Vec<GroupConfig>,
    /// It came back with an older record, and grants nothing until an operator has spoken.
    fallen_back: bool,
}

impl Authority {
    /// What stands.
    pub fn record(&self) -> Option<&GroupConfig> {
        self.record.as_ref()
    }

    /// Whether an operator must speak first.
    pub fn has_fallen_back(&self) -> bool {
        self.fallen_back
    }

    /// What is told to somebody who reads, and knows this version.
    pub fn read(&self, known: ConfigVersion) -> Word {
        match &self.record {
            Some(record) if record.version < known => Word::Regressed,
            None if known > ConfigVersion(0) => Word::Regressed,
            record => Word::Stands(record.clone()),
        }
    }

    /// Puts `next` in the place of the version before it, if that is what stands. Whether it did, and what stands
    /// now.
    ///
    /// # Errors
    /// The rule that a change of the version that stands has broken.
    pub fn change(&mut self, by: Member, next: GroupConfig) -> Result<(bool, Word), ConfigError> {
        let stands = self.record.as_ref().map_or(ConfigVersion(0), |record| record.version);
        if next.version != stands.next() || self.fallen_back {
            let known = ConfigVersion(next.version.0.saturating_sub(1));
            return Ok((false, self.read(known.min(stands))));
        }
        match &self.record {
            None => GroupConfig::allows_first(Proposer::Member(by), &next)?,
            Some(record) => record.allows(Proposer::Member(by), &next)?,
        }
        self.put(next);
        Ok((true, Word::Stands(self.record.clone())))
    }

    /// An operator's record.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn install(&mut self, next: GroupConfig) -> Result<(), ConfigError> {
        if let Some(record) = &self.record {
            record.allows(Proposer::Operator, &next)?;
        }
        let forced = next.forced == next.version;
        self.put(next);
        if forced {
            // To forget a force-elect is to lose what it was for: nothing is promised then.
            self.past.clear();
        }
        self.fallen_back = false;
        Ok(())
    }

    /// Comes back with an older record.
    pub fn fall_back(&mut self, by: usize) -> bool {
        let Some(to) = self.past.len().checked_sub(by) else { return false };
        let Some(older) = self.past.get(to).cloned() else { return false };
        self.past.truncate(to);
        self.record = Some(older);
        self.fallen_back = true;
        true
    }

    fn put(&mut self, next: GroupConfig) {
        self.past.extend(self.record.replace(next));
    }
}
