use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

/// A sorted set of texts about a record. `key=value` is a convention, see [`Tags::value`]; Pyro calls it metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tags(Box<[Box<str>]>);

/// Why texts are no [`Tags`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {max} tags of 1 to {bytes} bytes without NUL", max = Tags::COUNT_MAX, bytes = Tags::BYTES_MAX)]
pub struct BadTags;

impl Tags {
    /// Enough for a replica of a hundred groups; with [`Self::BYTES_MAX`] it bounds what one record can weigh.
    pub const COUNT_MAX: usize = 256;
    /// Bytes of one tag.
    pub const BYTES_MAX: usize = 255;

    /// The set of these texts.
    ///
    /// # Errors
    /// [`BadTags`] when there are too many, or one is empty, too long, or holds NUL.
    pub fn new<T: Into<Box<str>>>(tags: impl IntoIterator<Item = T>) -> Result<Self, BadTags> {
        let tags: BTreeSet<Box<str>> = tags.into_iter().map(Into::into).collect();
        // Kept as a slice: a tree's first node is larger than the record.
        let tags: Box<[Box<str>]> = tags.into_iter().collect();
        let good = |tag: &str| (1..=Self::BYTES_MAX).contains(&tag.len()) && !tag.contains('\0');
        if tags.len() > Self::COUNT_MAX || !tags.iter().all(|tag| good(tag)) {
            return Err(BadTags);
        }
        Ok(Self(tags))
    }

    /// What follows `key=`, in the first tag that begins so.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
    }

    /// Whether `tag` is one of them.
    pub fn contains(&self, tag: &str) -> bool {
        self.0.binary_search_by(|held| (**held).cmp(tag)).is_ok()
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|tag| &**tag)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(Vec::<Box<str>>::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_key() {
        let tags = Tags::new(["status=online", "id.just.hungry=7"]).unwrap();
        assert_eq!(tags.value("id.just.hungry"), Some("7"));
        assert_eq!(tags.value("id"), None);
        assert!(Tags::new([""]).is_err());
        assert!(Tags::new((0..257).map(|n| n.to_string())).is_err());
    }
}
