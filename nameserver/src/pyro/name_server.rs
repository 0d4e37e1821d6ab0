//! The two objects that Pyro programs call here, `Pyro.NameServer` and `Pyro.Daemon`: which methods they have in each
//! dialect, and what a call's arguments ask for. What it is answered with is the shell's, who has the names.

use std::collections::BTreeSet;

use common::names::{PyroUri, Tags};

use super::arguments::{Arguments, Method};
use super::frame::Dialect;
use super::pattern::Pattern;
use super::refusal::{Class, Refusal};
use super::uri::Uri;
use super::value::Value;

/// The name server's own name, and its object's.
pub const NAME_SERVER: &str = "Pyro.NameServer";
/// The object that every Pyro server has, for questions about itself.
pub const DAEMON: &str = "Pyro.Daemon";

/// What a call asks for.
#[derive(Debug)]
pub enum Call {
    /// How many names there are.
    Count,
    /// What stands under a name.
    Lookup {
        /// Which.
        name: Box<str>,
        /// Whether the tags are wanted too.
        tagged: bool,
    },
    /// That something stand under a name.
    Register(Register),
    /// Other tags.
    SetTags {
        /// Of which name.
        name: Box<str>,
        /// Which.
        tags: Tags,
    },
    /// That names go.
    Remove {
        /// This one.
        name: Option<Box<str>>,
        /// Or, when it is not given or unknown, these.
        filter: Option<Filter>,
    },
    /// All names of a kind.
    List {
        /// Of which.
        filter: Filter,
        /// Whether the tags are wanted too.
        tagged: bool,
    },
    /// A line about this program.
    Info,
    /// What needs no names to answer.
    Known(Value<'static>),
}

/// That something stand under a name.
#[derive(Debug)]
pub struct Register {
    /// Which.
    pub name: Box<str>,
    /// What.
    pub uri: PyroUri,
    /// Only when nothing stands there.
    pub safe: bool,
    /// With these tags.
    pub tags: Tags,
}

/// Which names.
#[derive(Debug)]
pub enum Filter {
    /// All.
    All,
    /// None.
    Nothing,
    /// Those that begin so.
    Prefix(Box<str>),
    /// Those of which a beginning matches.
    Matching(Box<Pattern>),
    /// Those with all these tags.
    AllOf(BTreeSet<Box<str>>),
    /// Those with at least one of these.
    AnyOf(BTreeSet<Box<str>>),
}

const fn method(
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
) -> Method {
    Method { name, required, optional }
}

const COUNT: Method = method("count", &[], &[]);
const LOOKUP: Method = method("lookup", &["name"], &["return_metadata"]);
const PING: Method = method("ping", &[], &[]);
const REGISTER: Method = method("register", &["name", "uri"], &["safe", "metadata"]);
const REMOVE: Method = method("remove", &[], &["name", "prefix", "regex"]);
const SET_METADATA: Method = method("set_metadata", &["name", "metadata"], &[]);

static FIVE: [Method; 8] = [
    COUNT,
    method("list", &[], &["prefix", "regex", "return_metadata"]),
    LOOKUP,
    PING,
    REGISTER,
    REMOVE,
    SET_METADATA,
    method("yplookup", &[], &["meta_all", "meta_any", "return_metadata"]),
];

static FOUR: [Method; 7] = [
    COUNT,
    method("list", &[], &["prefix", "regex", "metadata_all", "metadata_any", "return_metadata"]),
    LOOKUP,
    PING,
    REGISTER,
    REMOVE,
    SET_METADATA,
];

static OF_DAEMON: [Method; 6] = [
    method("registered", &[], &[]),
    PING,
    method("info", &[], &[]),
    method("get_metadata", &["objectId"], &["as_lists"]),
    method("get_next_stream_item", &["streamId"], &[]),
    method("close_stream", &["streamId"], &[]),
];

/// One of the two objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// `Pyro.NameServer`.
    NameServer,
    /// `Pyro.Daemon`.
    Daemon,
}

impl Object {
    /// The one of this id.
    pub fn of(id: &str) -> Option<Self> {
        match id {
            NAME_SERVER => Some(Self::NameServer),
            DAEMON => Some(Self::Daemon),
            _ => None,
        }
    }

    fn methods(self, dialect: Dialect) -> &'static [Method] {
        match (self, dialect) {
            (Self::Daemon, _) => &OF_DAEMON,
            (Self::NameServer, Dialect::Four) => &FOUR,
            (Self::NameServer, Dialect::Five) => &FIVE,
        }
    }

    /// What a client is told of it in advance, and holds its own calls against: the list is exact.
    pub fn metadata(self, dialect: Dialect, as_lists: bool) -> Value<'static> {
        let group = if as_lists { Value::List } else { Value::Set };
        let names = self.methods(dialect).iter().map(|method| Value::text(method.name)).collect();
        Value::Map(vec![
            (Value::text("methods"), group(names)),
            (Value::text("oneway"), group(Vec::new())),
            (Value::text("attrs"), group(Vec::new())),
        ])
    }

    fn class(self) -> &'static str {
        match self {
            Self::NameServer => "NameServer",
            Self::Daemon => "DaemonObject",
        }
    }

    fn method(self, dialect: Dialect, name: &Value<'_>) -> Result<&'static Method, Refusal> {
        let Some(name) = name.as_text() else {
            return Err(type_error("the method's name must be a str"));
        };
        let found = self.methods(dialect).iter().find(|method| method.name == name);
        found.ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            Refusal::new(
                Class::Attribute,
                if name.starts_with('_') {
                    format!("attempt to access private attribute '{shown}'")
                } else {
                    format!("'{}' object has no attribute '{shown}'", self.class())
                },
            )
        })
    }
}

/// A method that was looked up, and what to ask of it.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    object: Object,
    dialect: Dialect,
    method: &'static Method,
}

impl Bound {
    /// Looks a method up.
    ///
    /// # Errors
    /// `AttributeError`.
    pub fn new(
        object: Object,
        dialect: Dialect,
        method: &Value<'_>,
        positional: &Value<'_>,
    ) -> Result<Self, Refusal> {
        if let Some("__getattr__" | "__setattr__") = method.as_text() {
            let name = positional.items().and_then(|items| items.first()).and_then(Value::as_text);
            let shown: String = name.unwrap_or("?").chars().take(80).collect();
            let why = format!("attempt to access unexposed or unknown remote attribute '{shown}'");
            return Err(Refusal::new(Class::Attribute, why));
        }
        Ok(Self { object, dialect, method: object.method(dialect, method)? })
    }

    /// What the call asks for.
    ///
    /// # Errors
    /// The exception that Pyro's own name server answers such arguments with.
    pub fn call(self, positional: &Value<'_>, keywords: &Value<'_>) -> Result<Call, Refusal> {
        let given = self.method.bind(positional, keywords)?;
        only_known_classes(positional)?;
        only_known_classes(keywords)?;
        let dialect = self.dialect;
        match (self.object, self.method.name) {
            (Object::NameServer, "count") => Ok(Call::Count),
            (Object::NameServer, "lookup") => {
                let tagged = given.flag("return_metadata", false);
                Ok(Call::Lookup { name: name(&given)?, tagged })
            }
            (Object::NameServer, "register") => {
                let uri = uri(given.get("uri").unwrap_or(&Value::None))?;
                let (name, safe) = (name(&given)?, given.flag("safe", false));
                Ok(Call::Register(Register { name, uri, safe, tags: tags(given.get("metadata"))? }))
            }
            (Object::NameServer, "set_metadata") => {
                Ok(Call::SetTags { name: name(&given)?, tags: tags(given.get("metadata"))? })
            }
            (Object::NameServer, "remove") => remove(dialect, &given),
            (Object::NameServer, "list") => list(dialect, &given),
            (Object::NameServer, "yplookup") => yplookup(&given),
            (Object::Daemon, "registered") => {
                Ok(Call::Known(Value::List(vec![Value::text(DAEMON), Value::text(NAME_SERVER)])))
            }
            (Object::Daemon, "info") => Ok(Call::Info),
            (Object::Daemon, "get_metadata") => {
                let object = given.get("objectId").and_then(Value::as_text).and_then(Object::of);
                let object = object.ok_or(Refusal::new(Class::Daemon, "unknown object"))?;
                Ok(Call::Known(object.metadata(dialect, given.flag("as_lists", false))))
            }
            (Object::Daemon, "get_next_stream_item") => {
                Err(Refusal::new(Class::Pyro, "item stream terminated"))
            }
            // `ping` of either, and `close_stream` of a stream that never was.
            _ => Ok(Call::Known(Value::None)),
        }
    }
}

fn type_error(text: &'static str) -> Refusal {
    Refusal::new(Class::Type, text)
}

fn name(given: &Arguments<'_, '_>) -> Result<Box<str>, Refusal> {
    let name = given.get("name").and_then(Value::as_text);
    name.map(Into::into).ok_or(type_error("name must be a str"))
}

/// The text of a URI that somebody registers, as they wrote it.
fn uri(given: &Value<'_>) -> Result<PyroUri, Refusal> {
    let text = match given {
        Value::Text(text) => text.to_string(),
        Value::Map(_) => {
            // Its class was looked at with all others: it can only be a URI.
            let rebuilt = given.get("state").and_then(Uri::from_state);
            rebuilt.ok_or(Refusal::new(Class::Pyro, "invalid uri"))?.to_string()
        }
        _ => return Err(type_error("only URIs or strings can be registered")),
    };
    text.parse::<Uri>().map_err(|why| Refusal::new(Class::Pyro, why.to_string()))?;
    PyroUri::new(&text).ok_or(Refusal::naming("a uri has at most 1024 bytes, and no NUL"))
}

/// The tags of a registration.
fn tags(given: Option<&Value<'_>>) -> Result<Tags, Refusal> {
    let Some(given) = given else { return Ok(Tags::default()) };
    if given.as_text().is_some() {
        return Err(type_error("metadata should not be a str, but another iterable (set, list, etc)"));
    }
    let mut texts = Vec::new();
    for member in members(given)? {
        texts.push(member.as_text().ok_or(type_error("metadata should hold nothing but str"))?);
    }
    Tags::new(texts).map_err(|why| Refusal::naming(why.to_string()))
}

/// What Python's `iter` goes over.
fn members<'v, 'a>(given: &'v Value<'a>) -> Result<Vec<&'v Value<'a>>, Refusal> {
    match given {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => Ok(items.iter().collect()),
        Value::Map(pairs) => Ok(pairs.iter().map(|(key, _)| key).collect()),
        other => Err(Refusal::new(Class::Type, format!("'{}' object is not iterable", other.type_name()))),
    }
}

/// The tags of a search. What is no text is nobody's tag.
fn wanted(given: &Value<'_>, any: bool) -> Result<Filter, Refusal> {
    if given.as_text().is_some() {
        let parameter = if any { "metadata_any" } else { "metadata_all" };
        let why = format!("{parameter} should not be a str, but another iterable (set, list, etc)");
        return Err(Refusal::new(Class::Type, why));
    }
    let members = members(given)?;
    let texts = || members.iter().filter_map(|member| member.as_text()).map(Into::into).collect();
    Ok(match any {
        true => Filter::AnyOf(texts()),
        false if members.iter().all(|member| member.as_text().is_some()) => Filter::AllOf(texts()),
        false => Filter::Nothing,
    })
}

/// The first of prefix and expression that is given.
fn by_name(given: &Arguments<'_, '_>) -> Result<Option<Filter>, Refusal> {
    if let Some(prefix) = given.truthy("prefix") {
        let prefix = prefix.as_text().ok_or(type_error("prefix must be a str"))?;
        return Ok(Some(Filter::Prefix(prefix.into())));
    }
    let Some(regex) = given.truthy("regex") else { return Ok(None) };
    let regex = regex.as_text().ok_or(type_error("first argument must be string or compiled pattern"))?;
    let pattern = Pattern::new(regex).map_err(|why| Refusal::naming(format!("invalid regex: {why}")))?;
    Ok(Some(Filter::Matching(Box::new(pattern))))
}

fn remove(dialect: Dialect, given: &Arguments<'_, '_>) -> Result<Call, Refusal> {
    let name = given.truthy("name").filter(|name| name.as_text() != Some(NAME_SERVER));
    // A name that is no text is nobody's.
    let text = name.and_then(Value::as_text).map(Into::into);
    let filter = if name.is_some() && dialect == Dialect::Five { None } else { by_name(given)? };
    Ok(Call::Remove { name: text, filter })
}

fn list(dialect: Dialect, given: &Arguments<'_, '_>) -> Result<Call, Refusal> {
    let too_many = Refusal::new(Class::Value, "you can only filter on one thing at a time");
    let tagged = given.flag("return_metadata", false);
    let filter = match dialect {
        Dialect::Five => {
            if given.truthy("prefix").is_some() && given.truthy("regex").is_some() {
                return Err(too_many);
            }
            by_name(given)?
        }
        Dialect::Four => {
            let filters = ["prefix", "regex", "metadata_all", "metadata_any"];
            if filters.iter().filter(|filter| given.get(filter).is_some()).count() > 1 {
                return Err(too_many);
            }
            match (by_name(given)?, given.truthy("metadata_all"), given.truthy("metadata_any")) {
                (Some(filter), ..) => Some(filter),
                (None, Some(all), _) => Some(wanted(all, false)?),
                (None, None, Some(any)) => Some(wanted(any, true)?),
                (None, None, None) => None,
            }
        }
    };
    Ok(Call::List { filter: filter.unwrap_or(Filter::All), tagged })
}

fn yplookup(given: &Arguments<'_, '_>) -> Result<Call, Refusal> {
    let tagged = given.flag("return_metadata", true);
    let filter = match (given.truthy("meta_all"), given.truthy("meta_any")) {
        (Some(_), Some(_)) => {
            return Err(Refusal::new(Class::Value, "you can't use meta_all or meta_any at the same time"));
        }
        (Some(all), None) => wanted(all, false)?,
        (None, Some(any)) => wanted(any, true)?,
        (None, None) => Filter::Nothing,
    };
    Ok(Call::List { filter, tagged })
}

/// Refuses objects of classes that we do not rebuild: all but URIs, and the number that serpent has no word for.
fn only_known_classes(value: &Value<'_>) -> Result<(), Refusal> {
    match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().try_for_each(only_known_classes)
        }
        Value::Map(pairs) => {
            let class = value.get("__class__");
            match class.map(|class| class.as_text().unwrap_or("?")) {
                None => pairs.iter().try_for_each(|(_, value)| only_known_classes(value)),
                Some("Pyro5.core.URI" | "Pyro4.core.URI" | "float") => Ok(()),
                Some(class) => {
                    let class: String = class.chars().take(80).collect();
                    Err(Refusal::new(Class::Serialize, format!("unsupported serialized class: {class}")))
                }
            }
        }
        Value::Foreign(class) => {
            Err(Refusal::new(Class::Serialize, format!("unsupported serialized class: {class}")))
        }
        _ => Ok(()),
    }
}
