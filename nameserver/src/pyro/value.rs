//! One tree for what all three serializers carry, and the bounds that all three readers keep.

use std::borrow::Cow;

/// How deep anything may nest: our answers need five levels, a call four.
pub const DEPTH_MAX: usize = 64;
/// Values in one message, each scalar, container and key counted.
pub const ELEMENTS_MAX: usize = 250_000;
/// Digits of a whole number, as in Python: reading one costs the square of its length.
pub const DIGITS_MAX: usize = 4_300;

/// What Python programs send and are sent. Texts without escapes are borrowed from the message.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that does not fit, in decimal.
    Big(Box<str>),
    /// A number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Self>),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A set; its members in the order given, once or more often each.
    Set(Vec<Self>),
    /// A map; of two equal keys the later one counts.
    Map(Vec<(Self, Self)>),
    /// What nothing of ours takes, by the name of its type.
    Foreign(&'static str),
}

/// Why bytes are no [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They do not follow the grammar.
    #[error("{0}")]
    Syntax(String),
    /// They do, and go beyond what is taken here.
    #[error("{0}")]
    Value(String),
}

impl Unreadable {
    pub(super) fn syntax(what: &str, at: usize) -> Self {
        Self::Syntax(format!("{what} (at byte {at})"))
    }

    pub(super) fn too_deep() -> Self {
        Self::Value(format!("nested more than {DEPTH_MAX} deep"))
    }

    pub(super) fn too_many() -> Self {
        Self::Value(format!("more than {ELEMENTS_MAX} elements"))
    }

    pub(super) fn not_utf8() -> Self {
        Self::Value("the text is not UTF-8".to_owned())
    }
}

impl<'a> Value<'a> {
    /// This text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// Python's idea of truth.
    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
            Self::Big(_) | Self::Foreign(_) => true,
        }
    }

    /// Python's name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Big(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::Map(_) => "dict",
            Self::Foreign(name) => name,
        }
    }

    /// It, when it is a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its members, when it is a list, a tuple or a set.
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// What stands under `key`, when it is a map and has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().rev().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// Whether it may be a key of a map or a member of a set.
    pub(super) fn is_hashable(&self) -> bool {
        match self {
            Self::List(_) | Self::Set(_) | Self::Map(_) => false,
            // As deep as the reader lets it be.
            Self::Tuple(items) => items.iter().all(Self::is_hashable),
            _ => true,
        }
    }
}

/// Counts what a reader makes, and ends it in time.
#[derive(Debug, Default)]
pub(super) struct Count(usize);

impl Count {
    pub(super) fn one_more(&mut self) -> Result<(), Unreadable> {
        self.0 += 1;
        if self.0 > ELEMENTS_MAX { Err(Unreadable::too_many()) } else { Ok(()) }
    }
}
