use std::collections::{BTreeMap, VecDeque};

use common::names::{AnyName, AttemptId, LogicalName, NameEpoch};

/// Prefixes remembered at most: what is forgotten is found out again, number by number.
const PREFIXES_MAX: usize = 1_024;
/// Attempts remembered at most: a repeat comes within seconds, and this is a busy minute.
const ATTEMPTS_MAX: usize = 65_536;

/// Which numbers are free under a prefix, and which one an attempt was given.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// All numbers below this one are in use.
    below: BTreeMap<Box<str>, u64>,
    given: BTreeMap<AttemptId, (LogicalName, NameEpoch)>,
    attempts: VecDeque<AttemptId>,
}

impl Numbers {
    /// `prefix` and the lowest positive number that is not `taken`; `None` when that is no name any more.
    pub(super) fn lowest(
        &mut self,
        prefix: &LogicalName,
        taken: impl Fn(&AnyName) -> bool,
    ) -> Option<LogicalName> {
        if self.below.len() >= PREFIXES_MAX && !self.below.contains_key(prefix.as_str()) {
            self.below.clear();
        }
        let below = self.below.entry(prefix.as_str().into()).or_insert(1);
        loop {
            let name: LogicalName = format!("{prefix}{below}").parse().ok()?;
            if !taken(&AnyName::from(&name)) {
                return Some(name);
            }
            *below += 1;
        }
    }

    /// Nobody has `name` any more.
    pub(super) fn freed(&mut self, name: &AnyName) {
        if self.below.is_empty() {
            return;
        }
        let text = name.as_str();
        // A prefix may end with digits itself.
        for at in (0..text.len()).rev().take_while(|&at| text.as_bytes()[at].is_ascii_digit()) {
            if let (Some(below), Ok(number)) = (self.below.get_mut(&text[..at]), text[at..].parse::<u64>())
                && number > 0
                && !text[at..].starts_with('0')
            {
                *below = number.min(*below);
            }
        }
    }

    /// What `attempt` was given.
    pub(super) fn given(&self, attempt: AttemptId) -> Option<(LogicalName, NameEpoch)> {
        self.given.get(&attempt).cloned()
    }

    /// `attempt` was given this.
    pub(super) fn give(&mut self, attempt: AttemptId, name: LogicalName, epoch: NameEpoch) {
        if self.given.insert(attempt, (name, epoch)).is_none() {
            self.attempts.push_back(attempt);
        }
        if self.attempts.len() > ATTEMPTS_MAX
            && let Some(oldest) = self.attempts.pop_front()
        {
            self.given.remove(&oldest);
        }
    }
}
