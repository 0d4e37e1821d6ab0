//! A query made ready to be asked of many records: core of `list` and `watch`.

use common::names::{Names, PackedRecord, Query, RecordRef, TagMatch, WatchId};
use regex::{Regex, RegexBuilder};

/// Bytes of a pattern: a person types less.
const PATTERN_BYTES_MAX: usize = 256;
/// Bytes that a compiled pattern may take, so that 256 of them on a thousand connections stay bearable.
const COMPILED_BYTES_MAX: usize = 64 * 1024;

/// A query, its expression compiled.
#[derive(Debug)]
pub struct Matcher {
    query: Query,
    regex: Option<Regex>,
}

/// A matcher, and the number its asker gave it.
pub type Numbered = (WatchId, Matcher);

impl Matcher {
    /// Makes `query` ready.
    ///
    /// # Errors
    /// What is wrong with its expression, for a person.
    pub fn new(query: Query) -> Result<Self, String> {
        let regex = match &query.names {
            Names::Regex(pattern) if pattern.len() > PATTERN_BYTES_MAX => {
                return Err(format!("it has {} bytes, {PATTERN_BYTES_MAX} are allowed", pattern.len()));
            }
            Names::Regex(pattern) => {
                let built = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
                Some(built.map_err(|error| error.to_string())?)
            }
            Names::Any | Names::Exact(_) | Names::Prefix(_) => None,
        };
        Ok(Self { query, regex })
    }

    /// The query.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The text with which every matching name begins.
    pub fn prefix(&self) -> &str {
        match &self.query.names {
            Names::Exact(name) => name.as_str(),
            Names::Prefix(prefix) => prefix,
            Names::Any | Names::Regex(_) => "",
        }
    }

    /// Whether `record` is asked for.
    pub fn matches(&self, record: &PackedRecord) -> bool {
        self.matches_name(record.name()) && (self.asks_for_names_only() || self.matches_rest(&record.view()))
    }

    fn matches_name(&self, name: &str) -> bool {
        match (&self.query.names, &self.regex) {
            (Names::Exact(exact), _) => exact.as_str() == name,
            (Names::Prefix(prefix), _) => name.starts_with(&**prefix),
            (_, Some(regex)) => regex.is_match(name),
            (_, None) => true,
        }
    }

    fn asks_for_names_only(&self) -> bool {
        let Query { names: _, tags, without, readiness } = &self.query;
        *tags == TagMatch::Any && without.iter().len() == 0 && readiness.is_none()
    }

    fn matches_rest(&self, record: &RecordRef<'_>) -> bool {
        let has = |tag: &str| record.tags.binary_search(&tag).is_ok();
        let tagged = match &self.query.tags {
            TagMatch::Any => true,
            TagMatch::AllOf(tags) => tags.iter().all(has),
            TagMatch::AnyOf(tags) => tags.iter().any(has),
        };
        tagged
            && self.query.readiness.is_none_or(|readiness| readiness == record.readiness)
            && !self.query.without.iter().any(has)
    }
}
