//! The members of a JSON object, strictly: what stands twice is refused, whatever other readers make
//! of it.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::BadAnswer;

/// Most members that an object may have.
pub const MAX_MEMBERS: usize = 256;

/// In their order.
pub type Members = Vec<(String, Value)>;

/// Reads a document that is one JSON object.
///
/// # Errors
/// It is not one, or has a member twice, or too many of them.
pub fn read(json: &[u8]) -> Result<Members, BadAnswer> {
    match serde_json::from_slice::<Object>(json) {
        Ok(Object(members)) => members,
        Err(_) => Err(BadAnswer::NotAJsonObject),
    }
}

/// The member of this name; one that is `null` is as good as none.
pub fn get<'a>(members: &'a Members, name: &str) -> Option<&'a Value> {
    members
        .iter()
        .find(|(member, _)| member == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

struct Object(Result<Members, BadAnswer>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members: Members = Vec::new();
        let mut fault = None;
        // Names arrive decoded, so `\u0061ctive` beside `active` is a duplicate too.
        while let Some(name) = map.next_key::<String>()? {
            if fault.is_some() {
                map.next_value::<de::IgnoredAny>()?;
                continue;
            }
            if members.iter().any(|(other, _)| *other == name) {
                fault = Some(BadAnswer::DuplicateMember);
            } else if members.len() == MAX_MEMBERS {
                fault = Some(BadAnswer::TooManyMembers);
            }
            members.push((name, map.next_value()?));
        }
        Ok(Object(fault.map_or(Ok(members), Err)))
    }
}
