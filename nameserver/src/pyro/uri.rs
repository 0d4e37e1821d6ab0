//! Pyro's own URIs: `PYRO:object@host:port`, `PYRONAME:name`, `PYROMETA:tag,tag`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use super::value::Value;

/// The port of a name server that a URI does not name.
const NAME_SERVER_PORT: i64 = 9090;

/// A URI, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// What it means, and by which name.
    pub object: Object,
    /// Where.
    pub place: Place,
}

/// What a URI means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// `PYRO`: this object, at that place.
    Direct(String),
    /// `PYRONAME`: what stands under this name, at the name server there.
    Name(String),
    /// `PYROMETA`: any name with these tags.
    Tagged(BTreeSet<String>),
}

/// Where a URI points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It does not say.
    Nowhere,
    /// A socket in the file system.
    Unix(String),
    /// A machine and a port. The port is any whole number, as in Pyro.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// The port.
        port: i64,
    },
}

/// Why a text is no URI; in the words of Pyro.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUri(Cow<'static, str>);

impl BadUri {
    const INVALID: Self = Self(Cow::Borrowed("invalid uri"));
}

impl std::str::FromStr for Uri {
    type Err = BadUri;

    fn from_str(text: &str) -> Result<Self, BadUri> {
        let (protocol, rest) = text.split_once(':').ok_or(BadUri::INVALID)?;
        let protocol = protocol.to_ascii_uppercase();
        if !protocol.starts_with("PYRO") || !protocol.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(BadUri::INVALID);
        }
        let (object, location) = split_object(rest).ok_or(BadUri::INVALID)?;
        let place = |default| location.map_or(Ok(Place::Nowhere), |location| parse_place(location, default));
        let object = object.to_owned();
        match protocol.as_str() {
            "PYRO" if location.is_none() => Err(BadUri::INVALID),
            "PYRO" => Ok(Self { place: place(None)?, object: Object::Direct(object) }),
            "PYRONAME" => Ok(Self { place: place(Some(NAME_SERVER_PORT))?, object: Object::Name(object) }),
            "PYROMETA" => {
                let tags = object.split(',').map(|tag| tag.trim().to_owned()).collect();
                Ok(Self { place: place(Some(NAME_SERVER_PORT))?, object: Object::Tagged(tags) })
            }
            _ => Err(BadUri("invalid uri (protocol)".into())),
        }
    }
}

/// The object ends at the first `@` that has text behind it; it holds no white space, and is not empty.
fn split_object(rest: &str) -> Option<(&str, Option<&str>)> {
    for (at, char) in rest.char_indices() {
        if char.is_whitespace() {
            return None;
        }
        let location = &rest[at + char.len_utf8()..];
        if char == '@' && at > 0 && !location.is_empty() {
            return (!location.contains('\n')).then_some((&rest[..at], Some(location)));
        }
    }
    (!rest.is_empty()).then_some((rest, None))
}

fn parse_place(location: &str, default: Option<i64>) -> Result<Place, BadUri> {
    if let Some(socket) = location.strip_prefix("./u:") {
        if socket.is_empty() || socket.contains(':') {
            return Err(BadUri("invalid uri (location)".into()));
        }
        return Ok(Place::Unix(socket.to_owned()));
    }
    let (host, port) = if let Some(inner) = location.strip_prefix('[') {
        if inner.starts_with('[') {
            return Err(BadUri("invalid ipv6 address: enclosed in too many brackets".into()));
        }
        let numeric = |host: &&str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'%'))
        };
        let why = "invalid ipv6 address: the part between brackets must be a numeric ipv6 address";
        let (host, after) =
            inner.split_once(']').filter(|(host, _)| numeric(host)).ok_or(BadUri(why.into()))?;
        // What follows the digits is not looked at, as in Pyro.
        let digits = after.strip_prefix(':').unwrap_or("");
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        (host, &digits[..end])
    } else {
        location.split_once(':').unwrap_or((location, ""))
    };
    let bad = |port: &str| BadUri(format!("invalid port in uri, port={port}").into());
    let port = match (port, default) {
        ("", None) => return Err(bad("None")),
        ("", Some(default)) => default,
        (given, _) => given.trim().parse().map_err(|_| bad(&given.chars().take(40).collect::<String>()))?,
    };
    Ok(Place::Tcp { host: host.to_owned(), port })
}

impl Uri {
    /// What Pyro programs rebuild it from.
    pub fn to_state(&self) -> Value<'_> {
        let (protocol, object) = match &self.object {
            Object::Direct(object) => ("PYRO", Value::text(object)),
            Object::Name(name) => ("PYRONAME", Value::text(name)),
            Object::Tagged(tags) => {
                ("PYROMETA", Value::Set(tags.iter().map(|tag| Value::text(tag.as_str())).collect()))
            }
        };
        let (socket, host, port) = match &self.place {
            Place::Nowhere => (Value::None, Value::None, Value::None),
            Place::Unix(socket) => (Value::text(socket), Value::None, Value::None),
            Place::Tcp { host, port } => (Value::None, Value::text(host), Value::Int(*port)),
        };
        Value::Tuple(vec![Value::text(protocol), object, socket, host, port])
    }

    /// The URI that a Pyro program sent as its state; `None` when it is none.
    pub fn from_state(state: &Value<'_>) -> Option<Self> {
        let [protocol, object, socket, host, port] = state.items()? else { return None };
        let object = match (protocol.as_text()?, object) {
            ("PYRO", object) => Object::Direct(object.as_text()?.to_owned()),
            ("PYRONAME", object) => Object::Name(object.as_text()?.to_owned()),
            ("PYROMETA", tags) => {
                let tags = tags.items()?.iter().map(|tag| tag.as_text().map(str::to_owned));
                Object::Tagged(tags.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        let place = match (socket, host, port) {
            (Value::Text(socket), ..) if !socket.is_empty() => Place::Unix(socket.to_string()),
            (_, Value::Text(host), Value::Int(port)) => Place::Tcp { host: host.to_string(), port: *port },
            (_, Value::None, _) => Place::Nowhere,
            _ => return None,
        };
        Some(Self { object, place })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Object::Direct(object) => write!(f, "PYRO:{object}")?,
            Object::Name(name) => write!(f, "PYRONAME:{name}")?,
            Object::Tagged(tags) => {
                let tags: Vec<_> = tags.iter().map(String::as_str).collect();
                write!(f, "PYROMETA:{}", tags.join(","))?;
            }
        }
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "@[{host}]:{port}"),
            Place::Tcp { host, port } if !host.is_empty() => write!(f, "@{host}:{port}"),
            Place::Unix(socket) => write!(f, "@./u:{socket}"),
            Place::Nowhere | Place::Tcp { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        text.parse::<Uri>().unwrap_err().to_string()
    }

    #[test]
    fn a_uri_is_taken_apart_as_pyro_does() {
        let tcp = |host: &str, port| Place::Tcp { host: host.to_owned(), port };
        let direct = |object: &str| Object::Direct(object.to_owned());
        for (text, object, place) in [
            ("PYRO:obj@127.0.0.1:4444", direct("obj"), tcp("127.0.0.1", 4444)),
            ("pyRo:obj@h:0", direct("obj"), tcp("h", 0)),
            ("PYRO:a@b@h:1", direct("a"), tcp("b@h", 1)),
            ("PYRO:@@h:1", direct("@"), tcp("h", 1)),
            ("PYRO:o@[::1]:1", direct("o"), tcp("::1", 1)),
            ("PYRO:o@./u:/tmp/s", direct("o"), Place::Unix("/tmp/s".to_owned())),
            ("PYRO:o@:1", direct("o"), tcp("", 1)),
            ("PYRONAME:n", Object::Name("n".to_owned()), Place::Nowhere),
            ("PYRONAME:n@", Object::Name("n@".to_owned()), Place::Nowhere),
            ("PYRONAME:n@h", Object::Name("n".to_owned()), tcp("h", 9090)),
            ("PYRONAME:n@[::1]", Object::Name("n".to_owned()), tcp("::1", 9090)),
            ("PYROMETA:b,a@h:2", Object::Tagged(["a", "b"].map(str::to_owned).into()), tcp("h", 2)),
        ] {
            let uri: Uri = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(uri, Uri { object, place }, "{text}");
            assert_eq!(Uri::from_state(&uri.to_state()), Some(uri.clone()), "{text}");
            if !text.contains("@:") {
                assert_eq!(uri.to_string().parse(), Ok(uri), "{text}");
            }
        }
    }

    #[test]
    fn what_is_none_is_refused_in_pyros_words() {
        for text in [
            "",
            "x",
            "PYRO",
            "PYRO:",
            "PYRO:a",
            "PYRO:a@",
            "PYRO: a@h:1",
            "PYRO:a b@h:1",
            "XPYRO:a@h:1",
            "P:a@h:1",
        ] {
            assert_eq!(why(text), "invalid uri", "{text:?}");
        }
        assert_eq!(why("PYROLOC:a@b:1"), "invalid uri (protocol)");
        assert_eq!(why("PYRO:a@./u:"), "invalid uri (location)");
        assert_eq!(why("PYRO:a@./u:x:1"), "invalid uri (location)");
        assert_eq!(why("PYRO:a@h"), "invalid port in uri, port=None");
        assert_eq!(why("PYRO:a@[::1]x"), "invalid port in uri, port=None");
        assert_eq!(why("PYRO:a@h:1x"), "invalid port in uri, port=1x");
        assert_eq!(why("PYRO:a@[[::1]]:1"), "invalid ipv6 address: enclosed in too many brackets");
        let numeric = "invalid ipv6 address: the part between brackets must be a numeric ipv6 address";
        assert_eq!(why("PYRO:a@[zz]:1"), numeric);
        assert_eq!(why("PYRO:a@[::1:1"), numeric);
    }
}
