//! What comes from the broker, in either of its two encodings: a JMS MapMessage (API Manager 3.x) or
//! the JSON text `{"event":{"payloadData":{…}}}` (4.x).

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{event_kind::EventKind, map_message::MapMessage};

/// Longest message that is read, in bytes. Events of API Manager have some hundreds.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message of the topic `notification`.
#[derive(Debug, PartialEq)]
pub struct Notification {
    pub kind: EventKind,
    /// Of the envelope, in milliseconds since 1970; the event has one of its own.
    pub timestamp: Option<i64>,
    pub event: Map<String, Value>,
}

/// A message of the topic `tokenRevocation`.
#[derive(PartialEq, Eq)]
pub struct Revoked {
    /// A token, the last part of a JWT, or the `jti` of one.
    pub token: String,
    /// How long it would have lived, in seconds.
    pub ttl: Option<i64>,
    /// When it would have ended, in milliseconds since 1970.
    pub expiry: Option<i64>,
}

/// What is wrong with a message. One word for each, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    TooLong,
    /// Neither a MapMessage nor the JSON text.
    Envelope,
    /// There is no type of event.
    EventType,
    /// The event is not there, or not base64.
    Base64,
    /// The event is no JSON object.
    Json,
    /// No time, or one that cannot be.
    Timestamp,
    /// A field that is needed is missing, or of the wrong type.
    Fields,
    /// There is no token.
    Token,
}

impl Malformed {
    pub const ALL: [Self; 8] = [
        Self::TooLong,
        Self::Envelope,
        Self::EventType,
        Self::Base64,
        Self::Json,
        Self::Timestamp,
        Self::Fields,
        Self::Token,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Envelope => "envelope",
            Self::EventType => "event_type",
            Self::Base64 => "base64",
            Self::Json => "json",
            Self::Timestamp => "timestamp",
            Self::Fields => "fields",
            Self::Token => "token",
        }
    }
}

impl Notification {
    /// # Errors
    /// [`Malformed`]; the message is of no use then.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::parse(body)?;
        let kind = fields.text("eventType").ok_or(Malformed::EventType)?;
        let event = fields.text("event").ok_or(Malformed::Base64)?;
        let event = BASE64.decode(event.trim()).map_err(|_| Malformed::Base64)?;
        Ok(Self {
            kind: EventKind::parse(kind),
            timestamp: fields.integer("timestamp"),
            event: serde_json::from_slice(&event).map_err(|_| Malformed::Json)?,
        })
    }
}

impl Revoked {
    /// # Errors
    /// [`Malformed`]; the message is of no use then.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::parse(body)?;
        let token = fields.text("revokedToken").map(str::trim);
        Ok(Self {
            token: token
                .filter(|token| !token.is_empty())
                .ok_or(Malformed::Token)?
                .to_owned(),
            ttl: fields.integer("ttl"),
            expiry: fields.integer("expiryTime"),
        })
    }
}

/// The fields of either encoding.
enum Fields<'a> {
    Map(MapMessage<'a>),
    Json(Map<String, Value>),
}

#[derive(Deserialize)]
struct Outer {
    event: Inner,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "payloadData")]
    payload_data: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// No MapMessage begins as a JSON text does: it would have two billion entries. So the body says
    /// what it is, whatever its content type.
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed::TooLong);
        }
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'{') {
            let outer: Outer = serde_json::from_slice(body).map_err(|_| Malformed::Envelope)?;
            return Ok(Self::Json(outer.event.payload_data));
        }
        let map = MapMessage::parse(body).map_err(|_| Malformed::Envelope)?;
        Ok(Self::Map(map))
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Map(map) => map.text(name),
            Self::Json(map) => map.get(name)?.as_str(),
        }
    }

    /// A whole number, however it is written.
    fn integer(&self, name: &str) -> Option<i64> {
        match self {
            Self::Map(map) => map.integer(name),
            Self::Json(map) => integer(map.get(name)?),
        }
    }
}

/// A whole number, or a text that is one: senders write both.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a":1}`.
    const EVENT: &str = "eyJhIjoxfQ==";

    fn map(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut body = u32::try_from(entries.len()).unwrap().to_be_bytes().to_vec();
        for (name, value) in entries {
            body.extend_from_slice(format!("{name}\0\n{value}\0").as_bytes());
        }
        body
    }

    fn json(payload: &str) -> Vec<u8> {
        format!(" {{\"event\":{{\"payloadData\":{payload}}}}}").into_bytes()
    }

    #[test]
    fn both_encodings_say_the_same() {
        let old = map(&[
            ("eventType", "api_Update"),
            ("timestamp", "1700000000123"),
            ("event", EVENT),
        ]);
        let new = json(&format!(
            r#"{{"eventType":"API_UPDATE","timestamp":1700000000123,"event":"{EVENT}","x":null}}"#
        ));
        for body in [old, new] {
            let read = Notification::parse(&body).unwrap();
            assert_eq!(read.kind, EventKind::ApiUpdate);
            assert_eq!(read.timestamp, Some(1_700_000_000_123));
            assert_eq!(read.event.get("a"), Some(&Value::from(1)));
        }
    }

    #[test]
    fn revocations_of_both_encodings() {
        let old = map(&[("revokedToken", "t"), ("ttl", "3600")]);
        let new =
            json(r#"{"revokedToken":"t","ttl":3600,"expiryTime":1700000000000,"tenantId":-1}"#);
        let read = |body: &[u8]| {
            let revoked = Revoked::parse(body).unwrap_or_else(|fault| panic!("{fault:?}"));
            (revoked.token, revoked.ttl, revoked.expiry)
        };
        assert_eq!(read(&old), ("t".to_owned(), Some(3600), None));
        assert_eq!(
            read(&new),
            ("t".to_owned(), Some(3600), Some(1_700_000_000_000))
        );
        assert_eq!(
            read(&json(r#"{"revokedToken":"t","ttl":"soon"}"#)),
            ("t".to_owned(), None, None)
        );
    }

    #[test]
    fn what_is_malformed_is_told_apart() {
        let cases: [(Vec<u8>, Malformed); 13] = [
            (vec![0; MAX_MESSAGE_BYTES + 1], Malformed::TooLong),
            (Vec::new(), Malformed::Envelope),
            (b"hello".to_vec(), Malformed::Envelope),
            (b"{\"event\":1}".to_vec(), Malformed::Envelope),
            (json("[]"), Malformed::Envelope),
            (b"{".repeat(10_000), Malformed::Envelope),
            (json("{}"), Malformed::EventType),
            (json(r#"{"eventType":1}"#), Malformed::EventType),
            (map(&[("eventType", "API_UPDATE")]), Malformed::Base64),
            (
                map(&[("eventType", "A"), ("event", "%%")]),
                Malformed::Base64,
            ),
            (
                map(&[("eventType", "A"), ("event", "e30x")]),
                Malformed::Json,
            ),
            (
                map(&[("eventType", "A"), ("event", "W10=")]),
                Malformed::Json,
            ),
            (json(r#"{"eventType":"A","event":{}}"#), Malformed::Base64),
        ];
        for (body, expected) in cases {
            assert_eq!(Notification::parse(&body), Err(expected));
        }
        for body in [
            json("{}"),
            json(r#"{"revokedToken":" "}"#),
            json(r#"{"revokedToken":1}"#),
        ] {
            assert!(matches!(Revoked::parse(&body), Err(Malformed::Token)));
        }
    }
}
