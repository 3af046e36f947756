//! What is known of a token: the answer of RFC 7662 §2.2, or what a JWT says, read strictly.

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::Value;

use super::{
    UnixSeconds,
    claims::{Claims, Draft, Span},
    members::{self, MAX_MEMBERS, Members},
    vouched_by::VouchedBy,
};

/// The word on a token: the key manager's or, where the token is signed, its issuer's.
#[derive(Clone, Debug)]
pub enum Verdict {
    Inactive,
    Active(Arc<Grant>),
}

/// An active token's meta-information (RFC 7662 §2.2). Only `active` is required of the answer, so
/// everything here may be absent.
///
/// A hundred thousand of these are kept, so the text of the answer is held once: what policy reads
/// of it are places in [`Claims`]. Where these hold it in another form (an array, or with characters
/// that no header can carry) it is kept beside them.
#[derive(Debug)]
pub struct Grant {
    claims: Claims,
    scope: Option<Span>,
    issuer: Option<Span>,
    client: Option<Span>,
    audience: Audience,
    expires_at: Option<Seconds>,
    not_before: Option<Seconds>,
    issued_at: Option<Seconds>,
    bearer_access_token: bool,
    vouched_by: Arc<VouchedBy>,
}

#[derive(Debug)]
enum Audience {
    One(Option<Span>),
    Many(Box<[Span]>),
}

/// A time in eight bytes, with room for "none".
#[derive(Clone, Copy, Debug)]
struct Seconds(std::num::NonZeroI64);

impl Seconds {
    /// The first second of 1970 is as good as the one before it: both are long over.
    fn new(time: UnixSeconds) -> Self {
        Self(std::num::NonZeroI64::new(time).unwrap_or(std::num::NonZeroI64::MIN))
    }

    fn get(self) -> UnixSeconds {
        self.0.get()
    }
}

/// Why an answer is not one of RFC 7662. Repeats nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// Not one JSON object: HTML, nonsense, two documents, too deep, a number out of range.
    NotAJsonObject,
    /// A member stands twice; which one counts would be anybody's guess.
    DuplicateMember,
    /// More members than any server sends.
    TooManyMembers,
    /// `active` is missing or not a boolean.
    NoBooleanActive,
    /// A member that the gateway reads has a type that RFC 7662 does not give it.
    WrongType(&'static str),
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJsonObject => f.write_str("the answer is not a JSON object"),
            Self::DuplicateMember => f.write_str("the answer has a member twice"),
            Self::TooManyMembers => write!(f, "the answer has more than {MAX_MEMBERS} members"),
            Self::NoBooleanActive => f.write_str("the answer has no boolean member `active`"),
            Self::WrongType(member) => write!(f, "the answer's `{member}` has the wrong type"),
        }
    }
}

impl Verdict {
    /// Reads the body of an introspection answer, for which the key manager that sent it vouches.
    ///
    /// # Errors
    /// [`BadAnswer`] for everything that RFC 7662 does not allow; of an inactive answer only
    /// `active` is looked at.
    pub fn parse(body: &[u8], key_manager: &Arc<VouchedBy>) -> Result<Self, BadAnswer> {
        let members = members::read(body)?;
        match members::get(&members, "active") {
            Some(Value::Bool(false)) => return Ok(Self::Inactive),
            Some(Value::Bool(true)) => {}
            _ => return Err(BadAnswer::NoBooleanActive),
        }
        let grant = Grant::new(&members, Arc::clone(key_manager))?;
        Ok(Self::Active(Arc::new(grant)))
    }
}

impl Grant {
    /// What a token says by its members.
    ///
    /// # Errors
    /// One of the members that the gateway reads has the wrong type.
    pub(super) fn new(members: &Members, vouched_by: Arc<VouchedBy>) -> Result<Self, BadAnswer> {
        let get = |name: &str| members::get(members, name);
        let mut draft = Draft::new(members);
        let scope = scope(get("scope"))?;
        let issuer = text("iss", get("iss"))?;
        Ok(Self {
            scope: scope.map(|scope| draft.keep("scope", &scope)),
            issuer: issuer.map(|issuer| draft.keep("iss", issuer)),
            client: client(get).map(|(name, client)| draft.keep(name, client)),
            audience: audience(&mut draft, get("aud"))?,
            expires_at: time("exp", get("exp"))?.map(Seconds::new),
            not_before: time("nbf", get("nbf"))?.map(Seconds::new),
            issued_at: time("iat", get("iat"))?.map(Seconds::new),
            bearer_access_token: is_bearer_access_token(get)?,
            claims: draft.finish(),
            vouched_by,
        })
    }

    /// Whose word all this is.
    pub fn vouched_by(&self) -> &VouchedBy {
        &self.vouched_by
    }

    /// Whether the signature that vouched for it is one of a key that is no good any more.
    pub fn is_withdrawn(&self) -> bool {
        self.vouched_by.is_withdrawn()
    }

    /// Whether the token may be used as a bearer token: not a refresh token, not another scheme's,
    /// and not bound to a key or certificate (RFC 7800 `cnf`), since nobody checked that proof.
    pub fn is_bearer_access_token(&self) -> bool {
        self.bearer_access_token
    }

    /// `exp`.
    pub fn expires_at(&self) -> Option<UnixSeconds> {
        self.expires_at.map(Seconds::get)
    }

    /// `nbf`.
    pub fn not_before(&self) -> Option<UnixSeconds> {
        self.not_before.map(Seconds::get)
    }

    /// `iat`.
    pub fn issued_at(&self) -> Option<UnixSeconds> {
        self.issued_at.map(Seconds::get)
    }

    /// Whether `scope` is among the token's scopes (RFC 6749 §3.3: separated by spaces, exact).
    pub fn has_scope(&self, scope: &str) -> bool {
        // As bytes: on every request, so that nothing is looked at twice.
        let have = self.scope.map_or(&[][..], |span| self.claims.bytes(span));
        have.split(|byte| *byte == b' ')
            .any(|have| *have == *scope.as_bytes())
    }

    /// The scopes as one string, separated by spaces.
    pub fn scope(&self) -> &str {
        self.read(self.scope).unwrap_or_default()
    }

    pub fn issuer(&self) -> Option<&str> {
        self.read(self.issuer)
    }

    /// Whom the token was given to: `client_id`, or `azp` as OpenID Connect and JWTs have it.
    pub fn client_id(&self) -> Option<&str> {
        self.read(self.client)
    }

    pub fn audience(&self) -> impl Iterator<Item = &str> {
        let names = match &self.audience {
            Audience::One(name) => name.as_slice(),
            Audience::Many(names) => names,
        };
        names.iter().filter_map(|name| self.claims.read(*name))
    }

    fn read(&self, text: Option<Span>) -> Option<&str> {
        self.claims.read(text?)
    }

    /// Every member of the answer, known or not, as header values.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Bytes that this grant holds, for the bound of the token cache.
    pub fn size(&self) -> usize {
        let audience = match &self.audience {
            Audience::One(_) => 0,
            Audience::Many(names) => size_of_val(&**names),
        };
        size_of::<Self>() + audience + self.claims.size()
    }
}

/// A `NumericDate`. Integers of any size are taken (some servers say "never" by the largest one);
/// a fraction is cut off; anything that is not a number is refused.
fn time(member: &'static str, value: Option<&Value>) -> Result<Option<UnixSeconds>, BadAnswer> {
    /// Up to here every whole number is exact in a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Some(value) = value else { return Ok(None) };
    if let Some(seconds) = value.as_i64() {
        return Ok(Some(seconds));
    }
    if value.is_u64() {
        return Ok(Some(UnixSeconds::MAX));
    }
    match value.as_f64() {
        #[allow(clippy::cast_possible_truncation)] // bounded on this line
        Some(seconds) if seconds.abs() <= EXACT => Ok(Some(seconds.floor() as UnixSeconds)),
        _ => Err(BadAnswer::WrongType(member)),
    }
}

fn text<'a>(member: &'static str, value: Option<&'a Value>) -> Result<Option<&'a str>, BadAnswer> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(BadAnswer::WrongType(member)),
    }
}

/// `scope` is a string of names; some servers send an array of them.
fn scope(value: Option<&Value>) -> Result<Option<Cow<'_, str>>, BadAnswer> {
    match value {
        Some(Value::String(scope)) => Ok(Some(Cow::Borrowed(scope))),
        None => Ok(None),
        array => Ok(Some(strings("scope", array)?.join(" ").into())),
    }
}

/// `aud` is a string or an array of them (RFC 7519 §4.1.3).
fn audience(draft: &mut Draft, value: Option<&Value>) -> Result<Audience, BadAnswer> {
    match value {
        Some(Value::Array(_)) => {
            let names = strings("aud", value)?;
            let names = names.into_iter().map(|name| draft.keep_apart(name));
            Ok(Audience::Many(names.collect()))
        }
        one => {
            let one = text("aud", one)?;
            Ok(Audience::One(one.map(|name| draft.keep("aud", name))))
        }
    }
}

/// The client by whichever name it goes; one of another type, or an empty one, is none.
fn client<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Option<(&'static str, &'a str)> {
    ["client_id", "azp"].into_iter().find_map(|name| {
        let text = get(name)?.as_str().filter(|text| !text.is_empty())?;
        Some((name, text))
    })
}

/// An array of strings.
fn strings<'a>(member: &'static str, value: Option<&'a Value>) -> Result<Vec<&'a str>, BadAnswer> {
    match value {
        Some(Value::Array(list)) => list
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or(BadAnswer::WrongType(member)),
        _ => Err(BadAnswer::WrongType(member)),
    }
}

/// A refresh token introspects as active too (RFC 7662 §4), and a bound token comes back as
/// `token_type: Bearer` with a `cnf` from real servers.
fn is_bearer_access_token<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Result<bool, BadAnswer> {
    let kind = |member| {
        let kind = text(member, get(member))?;
        Ok(kind.is_none_or(|kind| {
            ["bearer", "access_token", "access"]
                .iter()
                .any(|word| kind.eq_ignore_ascii_case(word))
        }))
    };
    Ok(get("cnf").is_none() && kind("token_type")? && kind("token_use")?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grant(json: &str) -> Arc<Grant> {
        match Verdict::parse(json.as_bytes(), &Arc::default()) {
            Ok(Verdict::Active(grant)) => grant,
            other => panic!("{json}: {other:?}"),
        }
    }

    fn fault(json: &[u8]) -> BadAnswer {
        match Verdict::parse(json, &Arc::default()) {
            Err(fault) => fault,
            Ok(verdict) => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn reads_the_answer_of_rfc_7662() {
        let grant = grant(
            r#"{"active":true,"client_id":"l238j323ds-23ij4","username":"jdoe",
                "scope":"read write dolphin","sub":"Z5O3upPC88QrAjx00dis",
                "aud":"https://protected.example.net/resource",
                "iss":"https://server.example.com/","exp":1419356238,"iat":1419350238,
                "extension_field":"twenty-seven"}"#,
        );
        assert_eq!(grant.expires_at(), Some(1_419_356_238));
        assert_eq!(grant.issued_at(), Some(1_419_350_238));
        assert_eq!(grant.not_before(), None);
        assert!(grant.has_scope("write") && !grant.has_scope("writ"));
        assert_eq!(grant.issuer(), Some("https://server.example.com/"));
        assert!(
            grant
                .audience()
                .eq(["https://protected.example.net/resource"])
        );
        assert_eq!(grant.claims().text("extension_field"), Some("twenty-seven"));
        assert_eq!(grant.claims().text("missing"), None);
    }

    #[test]
    fn a_client_goes_by_two_names() {
        let client = |json: &str| grant(json).client_id().map(str::to_owned);
        let cases = [
            (r#"{"active":true,"client_id":"a","azp":"b"}"#, Some("a")),
            (r#"{"active":true,"azp":"b"}"#, Some("b")),
            (r#"{"active":true,"client_id":"","azp":"b"}"#, Some("b")),
            (r#"{"active":true,"client_id":7}"#, None),
            (r#"{"active":true,"client_id":"100% ü"}"#, Some("100% ü")),
            (r#"{"active":true}"#, None),
        ];
        for (json, expected) in cases {
            assert_eq!(client(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn only_a_boolean_active_counts() {
        for json in [
            r#"{}"#,
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            r#"{"Active":true}"#,
        ] {
            assert_eq!(fault(json.as_bytes()), BadAnswer::NoBooleanActive, "{json}");
        }
        assert!(matches!(
            Verdict::parse(
                br#"{"active":false,"exp":"garbage","aud":7}"#,
                &Arc::default()
            ),
            Ok(Verdict::Inactive)
        ));
    }

    #[test]
    fn duplicates_are_refused_however_they_are_spelt() {
        for json in [
            r#"{"active":false,"active":true}"#,
            r#"{"active":true,"\u0061ctive":false}"#,
            r#"{"active":true,"scope":"a","scope":"b"}"#,
        ] {
            assert_eq!(fault(json.as_bytes()), BadAnswer::DuplicateMember, "{json}");
        }
    }

    #[test]
    fn nonsense_is_an_error_never_a_panic() {
        let deep = format!("{{\"active\":true,\"x\":{}", "[".repeat(200_000));
        let deep_closed = format!(
            "{{\"active\":true,\"x\":{}{}}}",
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        let cases: [&[u8]; 13] = [
            b"",
            b"<html></html>",
            b"true",
            b"[]",
            b"null",
            b"{\"active\":true}{\"active\":true}",
            b"{\"active\":true} x",
            b"\xef\xbb\xbf{\"active\":true}",
            b"\xff\xfe{\0\"\0",
            b"{\"active\":true,\"x\":\"\xff\"}",
            b"{\"active\":true,\"exp\":1e400}",
            b"{\"active\":true,\"exp\":NaN}",
            deep.as_bytes(),
        ];
        for case in cases {
            assert_eq!(fault(case), BadAnswer::NotAJsonObject);
        }
        assert_eq!(fault(deep_closed.as_bytes()), BadAnswer::NotAJsonObject);

        let crowd: Vec<String> = (0..300).map(|n| format!("\"m{n}\":1")).collect();
        let crowd = format!("{{\"active\":true,{}}}", crowd.join(","));
        assert_eq!(fault(crowd.as_bytes()), BadAnswer::TooManyMembers);
    }

    #[test]
    fn times_of_odd_kinds() {
        let exp = |value: &str| {
            Verdict::parse(
                format!(r#"{{"active":true,"exp":{value}}}"#).as_bytes(),
                &Arc::default(),
            )
            .map(|verdict| match verdict {
                Verdict::Active(grant) => grant.expires_at(),
                Verdict::Inactive => panic!("inactive"),
            })
        };
        assert_eq!(exp("1419356238.9"), Ok(Some(1_419_356_238)));
        assert_eq!(exp("-1"), Ok(Some(-1)));
        assert!(exp("0").unwrap().unwrap() < 1);
        assert_eq!(exp("null"), Ok(None));
        assert_eq!(exp("18446744073709551615"), Ok(Some(i64::MAX)));
        for wrong in ["\"1419356238\"", "true", "[1]", "{}", "1e300"] {
            assert_eq!(exp(wrong), Err(BadAnswer::WrongType("exp")), "{wrong}");
        }
    }

    /// Fixed seeds.
    #[test]
    fn policy_reads_what_the_answer_said_whatever_else_is_in_it() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let (iss, client) = (odd_text(&mut random), odd_text(&mut random));
            let scopes: Vec<String> = (0..random.usize(0..4))
                .map(|_| odd_text(&mut random))
                .collect();
            let audience: Vec<String> = (0..random.usize(0..4))
                .map(|_| odd_text(&mut random))
                .collect();
            let mut members = vec![
                ("active", json!(true)),
                ("iss", json!(iss)),
                ("client_id", json!(client)),
                ("other", json!(odd_text(&mut random))),
                (
                    "scope",
                    if random.bool() {
                        json!(scopes)
                    } else {
                        json!(scopes.join(" "))
                    },
                ),
                (
                    "aud",
                    if audience.len() == 1 && random.bool() {
                        json!(audience[0])
                    } else {
                        json!(audience)
                    },
                ),
            ];
            random.shuffle(&mut members);
            let members = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"));
            let members: Vec<String> = members.collect();
            let grant = grant(&format!("{{{}}}", members.join(",")));
            assert_eq!(grant.issuer(), Some(&*iss));
            assert_eq!(
                grant.client_id(),
                Some(&*client).filter(|client| !client.is_empty())
            );
            assert_eq!(grant.scope(), scopes.join(" "));
            assert!(grant.audience().eq(audience.iter().map(String::as_str)));
            for scope in scopes.join(" ").split(' ') {
                assert!(grant.has_scope(scope));
            }
            assert!(!grant.has_scope("nobody's"));
        }
    }

    /// As they stand in headers, or not, or of a length that claims may not have.
    fn odd_text(random: &mut fastrand::Rng) -> String {
        let letters = ["a", "b", "%", "ü", "\"", "\\", "\n", "\0", "€"];
        match random.u8(0..20) {
            0 => String::new(),
            1 => "long".repeat(3_000),
            _ => (0..random.usize(1..12))
                .map(|_| letters[random.usize(0..letters.len())])
                .collect(),
        }
    }

    #[test]
    fn scope_and_audience_of_odd_kinds() {
        assert!(grant(r#"{"active":true,"scope":["a","b"]}"#).has_scope("b"));
        assert!(
            grant(r#"{"active":true,"aud":["a","b"]}"#)
                .audience()
                .eq(["a", "b"])
        );
        assert!(
            grant(r#"{"active":true,"aud":null}"#)
                .audience()
                .next()
                .is_none()
        );
        for (json, member) in [
            (r#"{"active":true,"scope":7}"#, "scope"),
            (r#"{"active":true,"scope":["a",7]}"#, "scope"),
            (r#"{"active":true,"aud":{}}"#, "aud"),
            (r#"{"active":true,"iss":7}"#, "iss"),
            (r#"{"active":true,"token_type":7}"#, "token_type"),
        ] {
            assert_eq!(
                fault(json.as_bytes()),
                BadAnswer::WrongType(member),
                "{json}"
            );
        }
    }
}
