//! Regular expressions as Python programs write them, matched like `re.match`: from the start of a name.

use fancy_regex::{CompileError, Error, ParseError, Regex, RegexBuilder};

/// Bytes of a pattern: a person types less.
const BYTES_MAX: usize = 256;
/// Steps that one name may cost; the rest of the world waits for no more than these.
const STEPS_MAX: usize = 100_000;
/// Bytes that a compiled pattern may take.
const COMPILED_MAX: usize = 1 << 20;

/// An expression made ready.
#[derive(Debug)]
pub struct Pattern(Regex);

/// A name took too many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooExpensive;

impl Pattern {
    /// Makes `text` ready.
    ///
    /// # Errors
    /// What is wrong with it, in Python's words where Python has some.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("it has {} bytes, {BYTES_MAX} are taken", text.len()));
        }
        // By itself first: in brackets, `a)|(b` would be one.
        build(text).map_err(|error| why(text, &error))?;
        let anchored = build(&format!(r"\A(?:{text})"));
        anchored.map(Self).map_err(|error| why(text, &error))
    }

    /// Whether `name` begins with a match.
    ///
    /// # Errors
    /// When that takes too many steps to find out.
    pub fn matches(&self, name: &str) -> Result<bool, TooExpensive> {
        self.0.is_match(name).map_err(|_| TooExpensive)
    }
}

fn build(text: &str) -> Result<Regex, Box<Error>> {
    RegexBuilder::new(text)
        .backtrack_limit(STEPS_MAX)
        .delegate_size_limit(COMPILED_MAX)
        .delegate_dfa_size_limit(COMPILED_MAX)
        .build()
        .map_err(Box::new)
}

fn why(text: &str, error: &Error) -> String {
    match error {
        Error::ParseError(at, ParseError::UnclosedOpenParen) => {
            // Told where the text ends; Python tells where the bracket is.
            let open = text[..(*at).min(text.len())].rfind('(').or_else(|| text.find('(')).unwrap_or(0);
            format!("missing ), unterminated subpattern at position {open}")
        }
        Error::ParseError(at, ParseError::TargetNotRepeatable | ParseError::InvalidRepeat) => {
            format!("nothing to repeat at position {}", (*at).min(text.len()))
        }
        Error::ParseError(_, ParseError::InvalidClass) => {
            format!("unterminated character set at position {}", text.find('[').unwrap_or(0))
        }
        Error::CompileError(CompileError::InnerError(inner)) => {
            let whole = inner.to_string();
            whole.lines().last().unwrap_or("it is too large").trim_start_matches("error: ").to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name).unwrap()
    }

    #[test]
    fn a_pattern_is_matched_from_the_start_only_like_pythons_match() {
        assert!(matches("t", "two") && !matches("w", "two") && matches(".*o$", "two"));
        assert!(matches("a|tw", "two") && !matches("a|w", "two"));
        assert!(matches(r"(?!x)t", "two") && matches(r"(?P<c>t)w(?P=c)", "twt") && matches(r"(.)w\1", "twt"));
        assert!(matches("(?i)TWO", "two"));
    }

    #[test]
    fn what_is_wrong_is_said_in_pythons_words() {
        let why = |pattern: &str| Pattern::new(pattern).unwrap_err();
        assert_eq!(why("("), "missing ), unterminated subpattern at position 0");
        assert_eq!(why("a(b"), "missing ), unterminated subpattern at position 1");
        assert_eq!(why("*"), "nothing to repeat at position 0");
        assert_eq!(why("[a"), "unterminated character set at position 0");
        assert!(Pattern::new("a)|(?:b").is_err(), "no brackets of ours are closed by a client");
        assert_eq!(why(&"a".repeat(257)), "it has 257 bytes, 256 are taken");
        assert!(Pattern::new(&"(".repeat(256)).is_err() && Pattern::new(r"\w{1000}{1000}{1000}").is_err());
    }

    #[test]
    fn a_pattern_that_never_ends_ends() {
        let pattern = Pattern::new(r"(?:(t|.a*)*\1)*b").unwrap();
        assert_eq!(pattern.matches(&"a".repeat(200)), Err(TooExpensive));
    }
}
