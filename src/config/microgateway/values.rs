//! The original's values by type, with what may stand in its strings: `@env:{}`, `@encrypted:{}` and the
//! folder that it was installed in.

use std::{fs::File, io::Read, path::Path};

use super::{
    encrypted,
    original::{Found, Original},
};
use crate::{
    config::{
        problem::Place,
        section::Placed,
        tree::{Node, Value},
    },
    domain::Secret,
};

const HOME: &str = "${mgw-runtime.home}";
/// Bytes of a file with the secret of `@encrypted:{}` values.
const MOST: u64 = 64 * 1024;
const DEFAULT_SECRET_FILE: &str = "secret.txt";

/// A secret, and how somebody else would give it.
pub struct GivenSecret {
    pub value: String,
    pub place: Place,
    /// The variable that it stands in, where it does not stand in the file.
    pub variable: Option<String>,
}

impl Original<'_> {
    /// A string; empty ones, as the original's templates have them, are none.
    pub fn text(&self, path: &str) -> Option<Placed<String>> {
        let found = self.find(path)?;
        let value = self.text_of(found)?;
        (!value.is_empty()).then(|| Placed {
            value,
            place: found.node.place.clone(),
        })
    }

    /// A list of strings, or one string; without empty ones.
    pub fn texts(&self, path: &str) -> Option<Placed<Vec<(String, Place)>>> {
        let found = self.find(path)?;
        let Value::Array(items) = &found.node.value else {
            let Placed { value, place } = self.text(path)?;
            return Some(Placed {
                value: vec![(value, place.clone())],
                place,
            });
        };
        let items = items
            .iter()
            .filter_map(|item| Some((self.text_in(found, item)?, item.place.clone())))
            .filter(|(text, _)| !text.is_empty());
        let items: Vec<(String, Place)> = items.collect();
        (!items.is_empty()).then(|| Placed {
            value: items,
            place: found.node.place.clone(),
        })
    }

    pub fn flag(&self, path: &str) -> Option<Placed<bool>> {
        let found = self.find(path)?;
        let value = match &found.node.value {
            Value::Boolean(value) => Some(*value),
            Value::Text(text) | Value::Loose(text) => match text.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        };
        self.typed(found, value, "true or false")
    }

    pub fn is_on(&self, path: &str) -> bool {
        self.flag(path).is_some_and(|flag| flag.value)
    }

    pub fn number(&self, path: &str) -> Option<Placed<i64>> {
        let found = self.find(path)?;
        let value = match &found.node.value {
            Value::Integer(value) => Some(*value),
            Value::Text(text) | Value::Loose(text) => text.trim().parse().ok(),
            _ => None,
        };
        self.typed(found, value, "a whole number")
    }

    /// A string that must not be shown.
    pub fn secret(&self, path: &str) -> Option<GivenSecret> {
        let found = self.find(path)?;
        let value = self.text_of(found).filter(|value| !value.is_empty())?;
        let (place, variable) = match (&found.node.place, &found.node.value) {
            (Place::Variable(name), _) => (found.node.place.clone(), Some(name.clone())),
            // Everybody may read the file, but not what is encrypted in it.
            (_, Value::Text(text)) if text.starts_with("@encrypted:{") => (Place::Nowhere, None),
            (place, Value::Text(text)) => {
                let variable = whole_variable(text).map(str::to_owned);
                let place = match variable {
                    Some(_) => Place::Nowhere,
                    None => place.clone(),
                };
                (place, variable)
            }
            (place, _) => (place.clone(), None),
        };
        Some(GivenSecret {
            value,
            place,
            variable,
        })
    }

    fn typed<T>(&self, found: &Found, value: Option<T>, wanted: &str) -> Option<Placed<T>> {
        match value {
            Some(value) => Some(Placed {
                value,
                place: found.node.place.clone(),
            }),
            None => {
                let what = format!("`{}` must be {wanted}", found.path);
                self.error(&found.node.place, what, "");
                None
            }
        }
    }

    fn text_of(&self, found: &Found) -> Option<String> {
        self.text_in(found, &found.node)
    }

    fn text_in(&self, found: &Found, node: &Node) -> Option<String> {
        match &node.value {
            Value::Loose(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Boolean(flag) => Some(flag.to_string()),
            Value::Text(text) => match self.resolve(text) {
                Ok(text) => Some(text),
                Err(what) => {
                    let what = format!("`{}` cannot be read: {what}", found.path);
                    self.error(&node.place, what, "");
                    None
                }
            },
            _ => {
                let what = format!("`{}` must be a string", found.path);
                self.error(&node.place, what, "");
                None
            }
        }
    }

    fn resolve(&self, text: &str) -> Result<String, String> {
        if let Some(rest) = text.trim().strip_prefix("@encrypted:{") {
            let value = rest.strip_suffix('}').ok_or("`@encrypted:{` has no end")?;
            let secret = self.secret_of_file()?;
            return encrypted::decrypt(value, &secret).map_err(str::to_owned);
        }
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("@env:{") {
            let (name, behind) = after.split_once('}').ok_or("`@env:{` has no end")?;
            let value = self.environment.get(name);
            resolved.push_str(before);
            let missing = || format!("the environment variable {name} is not set");
            resolved.push_str(value.ok_or_else(missing)?);
            rest = behind;
        }
        resolved.push_str(rest);
        match resolved.contains(HOME) {
            true => Ok(resolved.replace(HOME, &self.home())),
            false => Ok(resolved),
        }
    }

    /// The secret that values were encrypted with. The original deletes the file when it has read it;
    /// here it stays, for the next start and for reloads.
    fn secret_of_file(&self) -> Result<Secret, String> {
        let named = match self
            .find("b7a.config.secret")
            .map(|found| &found.node.value)
        {
            Some(Value::Text(name) | Value::Loose(name)) => Some(name.as_str()),
            _ => None,
        };
        let name = named.unwrap_or(DEFAULT_SECRET_FILE);
        let beside = Path::new(&self.source.name)
            .parent()
            .map(|folder| folder.join(name));
        let mut candidates = vec![Path::new(name).to_owned()];
        candidates.extend(beside);
        let mut text = String::new();
        let read = candidates.iter().any(|path| {
            text.clear();
            File::open(path)
                .and_then(|file| file.take(MOST).read_to_string(&mut text))
                .is_ok()
        });
        if !read {
            return Err(format!(
                "the secret of `@encrypted` values is not in {name}; say where by --b7a.config.secret=FILE"
            ));
        }
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }
}

/// The name in a text that is one `@env:{NAME}` and nothing else.
fn whole_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("@env:{")?.strip_suffix('}')?;
    (!name.contains(['}', '{'])).then_some(name)
}
