//! Arguments by position and by name, bound to parameters as Python does, with Python's complaints.

use super::refusal::{Class, Refusal};
use super::value::Value;

/// A method as a client calls it.
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Parameters that must be given; then those that may.
    pub required: &'static [&'static str],
    /// Those that may.
    pub optional: &'static [&'static str],
}

/// A method's arguments, by the names of its parameters.
#[derive(Debug)]
pub struct Arguments<'v, 'a> {
    method: &'static Method,
    given: Vec<Option<&'v Value<'a>>>,
}

impl Method {
    fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.optional).copied()
    }

    /// Binds what a call gives.
    ///
    /// # Errors
    /// `TypeError`, naming the argument.
    pub fn bind<'v, 'a>(
        &'static self,
        positional: &'v Value<'a>,
        keywords: &'v Value<'a>,
    ) -> Result<Arguments<'v, 'a>, Refusal> {
        let bad = |why: String| Refusal::new(Class::Type, format!("{}() {why}", self.name));
        let by_place = positional.items();
        let by_place = by_place.ok_or_else(|| bad("argument after * must be an iterable".to_owned()))?;
        let (least, most) = (self.required.len(), self.required.len() + self.optional.len());
        if by_place.len() > most {
            // Python counts `self`.
            let takes = match (least + 1, most + 1) {
                (1, 1) => "takes 1 positional argument".to_owned(),
                (least, most) if least == most => format!("takes {most} positional arguments"),
                (least, most) => format!("takes from {least} to {most} positional arguments"),
            };
            return Err(bad(format!("{takes} but {} were given", by_place.len() + 1)));
        }
        let mut given: Vec<_> = by_place.iter().map(Some).collect();
        given.resize(most, None);
        let pairs = match keywords {
            Value::None => &[][..],
            Value::Map(pairs) => pairs,
            _ => return Err(bad("argument after ** must be a mapping".to_owned())),
        };
        for (name, value) in pairs {
            let name = name.as_text().ok_or_else(|| bad("keywords must be strings".to_owned()))?;
            let shown = || name.chars().take(80).collect::<String>();
            let Some(at) = self.parameters().position(|parameter| parameter == name) else {
                return Err(bad(format!("got an unexpected keyword argument '{}'", shown())));
            };
            if at < by_place.len() {
                return Err(bad(format!("got multiple values for argument '{}'", shown())));
            }
            given[at] = Some(value);
        }
        let missing: Vec<_> = self
            .required
            .iter()
            .zip(&given)
            .filter(|(_, given)| given.is_none())
            .map(|(name, _)| name)
            .collect();
        match missing[..] {
            [] => Ok(Arguments { method: self, given }),
            [one] => Err(bad(format!("missing 1 required positional argument: '{one}'"))),
            [ref some @ .., last] => {
                let some: Vec<_> = some.iter().map(|name| format!("'{name}'")).collect();
                let count = missing.len();
                Err(bad(format!(
                    "missing {count} required positional arguments: {} and '{last}'",
                    some.join(", ")
                )))
            }
        }
    }
}

impl<'v, 'a> Arguments<'v, 'a> {
    /// What was given for `parameter`; `None` when nothing was, or Python's None.
    ///
    /// # Panics
    /// When the method has no such parameter: our mistake.
    pub fn get(&self, parameter: &str) -> Option<&'v Value<'a>> {
        let at = self.method.parameters().position(|name| name == parameter);
        self.given[at.expect("a parameter of this method")].filter(|value| **value != Value::None)
    }

    /// What was given for `parameter`, when Python takes it for true.
    pub fn truthy(&self, parameter: &str) -> Option<&'v Value<'a>> {
        self.get(parameter).filter(|value| value.is_true())
    }

    /// Whether `parameter` is true; `default` when it was not given at all.
    pub fn flag(&self, parameter: &str, default: bool) -> bool {
        let at = self.method.parameters().position(|name| name == parameter);
        self.given[at.expect("a parameter of this method")].map_or(default, Value::is_true)
    }
}
