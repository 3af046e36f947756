//! The body of a JMS MapMessage as Andes and Qpid put it on the wire (content type
//! `jms/map-message`): the number of entries, then each with its name, one byte for its type, and
//! its value. Numbers are big-endian, names and strings end with a zero byte.

/// Most entries that are read: what API Manager sends has three to ten.
const MAX_ENTRIES: u32 = 256;

/// The entries of a message, in its order. Borrows from the body.
#[derive(Debug, PartialEq, Eq)]
pub struct MapMessage<'a>(Vec<(&'a str, Value<'a>)>);

/// The value of an entry, as far as events have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Integer(i64),
    Null,
    /// Anything else: bytes, a character, a fraction.
    Other,
}

/// The body is no MapMessage, or ends too early, or too late.
#[derive(Debug, PartialEq, Eq)]
pub struct NoMapMessage;

impl<'a> MapMessage<'a> {
    /// Reads a whole body. Nothing is allocated for what the body only promises.
    ///
    /// # Errors
    /// The body is none, or ends too early, or too late.
    pub fn parse(body: &'a [u8]) -> Result<Self, NoMapMessage> {
        let mut rest = Rest(body);
        let count = u32::from_be_bytes(rest.array()?);
        if count > MAX_ENTRIES {
            return Err(NoMapMessage);
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let name = rest.text()?;
            entries.push((name, rest.value()?));
        }
        match rest.0.is_empty() {
            true => Ok(Self(entries)),
            false => Err(NoMapMessage),
        }
    }

    /// The value of the first entry with this name.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let entry = self.0.iter().find(|(other, _)| *other == name)?;
        Some(entry.1)
    }

    /// The value as a text, where it is one.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a whole number, whether it came as a number or as a text.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Integer(number) => Some(number),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], NoMapMessage> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(NoMapMessage)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoMapMessage> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(NoMapMessage)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// Up to a zero byte.
    fn text(&mut self) -> Result<&'a str, NoMapMessage> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let bytes = self.bytes(end.ok_or(NoMapMessage)?)?;
        self.bytes(1)?;
        std::str::from_utf8(bytes).map_err(|_| NoMapMessage)
    }

    fn value(&mut self) -> Result<Value<'a>, NoMapMessage> {
        let [kind] = self.array()?;
        Ok(match kind {
            // A truth value.
            1 => Value::Integer(i64::from(self.array::<1>()?[0] != 0)),
            2 => Value::Integer(i64::from(i8::from_be_bytes(self.array()?))),
            3 => {
                // A negative length means that there are no bytes at all.
                let length = i32::from_be_bytes(self.array()?);
                self.bytes(usize::try_from(length).unwrap_or(0))?;
                Value::Other
            }
            4 => Value::Integer(i64::from(i16::from_be_bytes(self.array()?))),
            // A character.
            5 => {
                self.bytes(2)?;
                Value::Other
            }
            6 => Value::Integer(i64::from(i32::from_be_bytes(self.array()?))),
            7 => Value::Integer(i64::from_be_bytes(self.array()?)),
            // Fractions.
            8 => {
                self.bytes(4)?;
                Value::Other
            }
            9 => {
                self.bytes(8)?;
                Value::Other
            }
            10 => Value::Text(self.text()?),
            11 => Value::Null,
            _ => return Err(NoMapMessage),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(count: u32, entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut body = count.to_be_bytes().to_vec();
        for (name, kind, value) in entries {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&[0, *kind]);
            body.extend_from_slice(value);
        }
        body
    }

    fn every_type() -> Vec<u8> {
        body(
            12,
            &[
                ("bool", 1, &[1]),
                ("byte", 2, &[0xff]),
                ("bytes", 3, &[0, 0, 0, 2, 7, 7]),
                ("no bytes", 3, &[0xff, 0xff, 0xff, 0xff]),
                ("short", 4, &[0xff, 0xfe]),
                ("char", 5, &[0, 65]),
                ("int", 6, &[0, 0, 1, 0]),
                ("long", 7, &1_700_000_000_123_i64.to_be_bytes()),
                ("float", 8, &1.5_f32.to_be_bytes()),
                ("double", 9, &1.5_f64.to_be_bytes()),
                ("string", 10, b"12\0"),
                ("null", 11, &[]),
            ],
        )
    }

    #[test]
    fn reads_every_type() {
        let body = every_type();
        let map = MapMessage::parse(&body).unwrap();
        for (name, value) in [
            ("bool", Value::Integer(1)),
            ("byte", Value::Integer(-1)),
            ("bytes", Value::Other),
            ("no bytes", Value::Other),
            ("short", Value::Integer(-2)),
            ("char", Value::Other),
            ("int", Value::Integer(256)),
            ("long", Value::Integer(1_700_000_000_123)),
            ("float", Value::Other),
            ("double", Value::Other),
            ("string", Value::Text("12")),
            ("null", Value::Null),
        ] {
            assert_eq!(map.get(name), Some(value), "{name}");
        }
        assert_eq!(
            (map.integer("string"), map.integer("int")),
            (Some(12), Some(256))
        );
        assert_eq!((map.text("int"), map.get("other")), (None, None));
    }

    #[test]
    fn every_cut_is_noticed() {
        let body = every_type();
        for end in 0..body.len() {
            assert_eq!(MapMessage::parse(&body[..end]), Err(NoMapMessage), "{end}");
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(MapMessage::parse(&longer), Err(NoMapMessage));
    }

    #[test]
    fn what_no_sender_writes_is_refused() {
        for bad in [
            body(u32::MAX, &[]),
            body(MAX_ENTRIES + 1, &[]),
            body(1, &[("a", 0, &[])]),
            body(1, &[("a", 12, &[])]),
            body(1, &[("a", 3, &[0x7f, 0xff, 0xff, 0xff])]),
            body(1, &[("a", 10, b"\xff\0")]),
            b"{\"event\":{}}".to_vec(),
        ] {
            assert_eq!(MapMessage::parse(&bad), Err(NoMapMessage), "{bad:?}");
        }
        assert_eq!(MapMessage::parse(&[0; 4]), Ok(MapMessage(Vec::new())));
    }
}
