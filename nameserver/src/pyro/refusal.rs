//! What Pyro programs catch: a class that they know, and a sentence.

use std::borrow::Cow;

use super::frame::Dialect;
use super::value::{Unreadable, Value};

/// Clients print it as the traceback: where the exception came from.
const ORIGIN: &str = "(raised by the name server, which is no Python program and has no traceback)\n";

/// An exception in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{class:?}: {text}")]
pub struct Refusal {
    /// Which exception.
    pub class: Class,
    /// Its only argument.
    pub text: Cow<'static, str>,
}

/// The classes of exceptions that clients rebuild; others they refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `errors.NamingError`.
    Naming,
    /// `errors.PyroError`.
    Pyro,
    /// `errors.DaemonError`.
    Daemon,
    /// `errors.ProtocolError`.
    Protocol,
    /// `errors.SerializeError`.
    Serialize,
    /// `errors.SecurityError`.
    Security,
    /// Python's `TypeError`.
    Type,
    /// Python's `ValueError`.
    Value,
    /// Python's `AttributeError`.
    Attribute,
    /// Python's `SyntaxError`.
    Syntax,
}

impl Class {
    fn name(self, dialect: Dialect) -> String {
        let (of_python, name) = match self {
            Self::Naming => (false, "NamingError"),
            Self::Pyro => (false, "PyroError"),
            Self::Daemon => (false, "DaemonError"),
            Self::Protocol => (false, "ProtocolError"),
            Self::Serialize => (false, "SerializeError"),
            Self::Security => (false, "SecurityError"),
            Self::Type => (true, "TypeError"),
            Self::Value => (true, "ValueError"),
            Self::Attribute => (true, "AttributeError"),
            Self::Syntax => (true, "SyntaxError"),
        };
        if of_python { format!("builtins.{name}") } else { format!("{}.errors.{name}", dialect.package()) }
    }
}

impl Refusal {
    /// An exception of `class` that says `text`.
    pub fn new(class: Class, text: impl Into<Cow<'static, str>>) -> Self {
        Self { class, text: text.into() }
    }

    /// A `NamingError`.
    pub fn naming(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Naming, text)
    }

    /// As clients rebuild it.
    pub fn to_value(&self, dialect: Dialect) -> Value<'_> {
        let traceback = Value::List(vec![Value::text(ORIGIN)]);
        Value::Map(vec![
            (Value::text("__class__"), Value::text(self.class.name(dialect))),
            (Value::text("__exception__"), Value::Bool(true)),
            (Value::text("args"), Value::Tuple(vec![Value::text(&*self.text)])),
            (Value::text("attributes"), Value::Map(vec![(Value::text("_pyroTraceback"), traceback)])),
        ])
    }

    /// As one result of a batch.
    pub fn to_wrapped(&self, dialect: Dialect) -> Value<'_> {
        let class = match dialect {
            Dialect::Four => "Pyro4.futures._ExceptionWrapper",
            Dialect::Five => "Pyro5.core._ExceptionWrapper",
        };
        Value::Map(vec![
            (Value::text("__class__"), Value::text(class)),
            (Value::text("exception"), self.to_value(dialect)),
        ])
    }
}

impl From<Unreadable> for Refusal {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Syntax(text) => Self::new(Class::Syntax, text),
            Unreadable::Value(text) => Self::new(Class::Value, text),
        }
    }
}
