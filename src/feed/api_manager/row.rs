//! One row of a list, as API Manager 3.x and 4.x write it, to a row of ours.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    domain::{
        Api, Application, KeyMapping, KeyType, PolicyKind, Quota, Row, RowKind, Subscription,
        SubscriptionState, TierPolicy,
    },
    metrics::RowFault as Fault,
};

/// Longest text in a row, in bytes: API Manager's own columns are shorter.
const MAX_TEXT_BYTES: usize = 1024;
/// What API Manager writes for no limit.
const UNLIMITED: u64 = i32::MAX as u64;

/// Reads one row of a list; `None`: it is of something that is over, as if it were not there.
///
/// # Errors
/// It cannot be used. What it has beside the keys that are needed does not matter.
pub fn read(kind: RowKind, text: &[u8]) -> Result<Option<Row>, Fault> {
    let row = match kind {
        RowKind::Applications => Row::Application(from::<RawApplication<'_>>(text)?.read()?),
        RowKind::KeyMappings => Row::KeyMapping(from::<RawKeyMapping<'_>>(text)?.read()?),
        RowKind::Apis => {
            let api = from::<RawApi<'_>>(text)?;
            if api.is_retired() {
                return Ok(None);
            }
            Row::Api(api.read()?)
        }
        RowKind::Subscriptions => Row::Subscription(from::<RawSubscription<'_>>(text)?.read()?),
        RowKind::ApplicationPolicies => Row::Policy(
            PolicyKind::Application,
            from::<RawPolicy<'_>>(text)?.read()?,
        ),
        RowKind::SubscriptionPolicies => Row::Policy(
            PolicyKind::Subscription,
            from::<RawPolicy<'_>>(text)?.read()?,
        ),
    };
    Ok(Some(row))
}

fn from<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Fault> {
    // Arrays can be read as structs, too.
    match text.first() {
        Some(b'{') => serde_json::from_slice(text).map_err(|_| Fault::Form),
        _ => Err(Fault::Form),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawApplication<'a> {
    #[serde(borrow, default)]
    uuid: Field<'a>,
    #[serde(borrow, default)]
    id: Field<'a>,
    #[serde(borrow, default)]
    name: Field<'a>,
    #[serde(borrow, default)]
    sub_name: Field<'a>,
    #[serde(borrow, default)]
    policy: Field<'a>,
}

impl RawApplication<'_> {
    fn read(self) -> Result<Application, Fault> {
        Ok(Application {
            id: self.id.id()?,
            uuid: self.uuid.optional_text()?.map(Into::into),
            name: self.name.text_or_empty()?.into(),
            owner: self.sub_name.text_or_empty()?.as_ref().into(),
            policy: self.policy.text_or_empty()?.as_ref().into(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKeyMapping<'a> {
    #[serde(borrow, default)]
    application_id: Field<'a>,
    #[serde(borrow, default)]
    consumer_key: Field<'a>,
    #[serde(borrow, default)]
    key_type: Field<'a>,
    #[serde(borrow, default)]
    key_manager: Field<'a>,
}

impl RawKeyMapping<'_> {
    fn read(self) -> Result<KeyMapping, Fault> {
        Ok(KeyMapping {
            consumer_key: self.consumer_key.text()?.into(),
            key_manager: self.key_manager.text_or_empty()?.into(),
            application: self.application_id.id()?,
            key_type: KeyType::parse(&self.key_type.text()?).ok_or(Fault::UnknownWord)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawApi<'a> {
    #[serde(borrow, default)]
    api_id: Field<'a>,
    #[serde(borrow, default)]
    provider: Field<'a>,
    #[serde(borrow, default)]
    name: Field<'a>,
    #[serde(borrow, default)]
    version: Field<'a>,
    #[serde(borrow, default)]
    context: Field<'a>,
    #[serde(borrow, default)]
    policy: Field<'a>,
    /// Since 4.x.
    #[serde(borrow, default)]
    status: Field<'a>,
}

impl RawApi<'_> {
    /// As events say it, too.
    fn is_retired(&self) -> bool {
        matches!(&self.status, Field::Text(status) if status.eq_ignore_ascii_case("RETIRED"))
    }

    fn read(self) -> Result<Api, Fault> {
        Ok(Api {
            id: self.api_id.id()?,
            name: self.name.text()?.into(),
            version: self.version.text()?.into(),
            context: self.context.text_or_empty()?.into(),
            provider: self.provider.text_or_empty()?.into(),
            policy: self.policy.optional_text()?.map(Into::into),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSubscription<'a> {
    #[serde(borrow, default)]
    policy_id: Field<'a>,
    #[serde(borrow, default)]
    api_id: Field<'a>,
    #[serde(borrow, default)]
    app_id: Field<'a>,
    #[serde(borrow, default)]
    subscription_state: Field<'a>,
}

impl RawSubscription<'_> {
    fn read(self) -> Result<Subscription, Fault> {
        Ok(Subscription {
            application: self.app_id.id()?,
            api: self.api_id.id()?,
            policy: self.policy_id.text_or_empty()?.into(),
            // A state that is not known is one, which lets nobody in.
            state: SubscriptionState::parse(&self.subscription_state.text()?),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPolicy<'a> {
    #[serde(borrow, default)]
    name: Field<'a>,
    #[serde(borrow, default)]
    quota_type: Field<'a>,
    #[serde(borrow, default)]
    default_limit: Option<RawLimit<'a>>,
    #[serde(borrow, default)]
    rate_limit_count: Field<'a>,
    #[serde(borrow, default)]
    rate_limit_time_unit: Field<'a>,
    #[serde(borrow, default)]
    stop_on_quota_reach: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLimit<'a> {
    #[serde(borrow, default)]
    request_count: Option<RawRequestCount<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequestCount<'a> {
    #[serde(borrow, default)]
    time_unit: Field<'a>,
    #[serde(borrow, default)]
    unit_time: Field<'a>,
    #[serde(borrow, default)]
    request_count: Field<'a>,
}

impl RawPolicy<'_> {
    /// A policy that counts something else than requests cannot be kept to, so it is none.
    fn read(self) -> Result<TierPolicy, Fault> {
        let name: Box<str> = self.name.text()?.into();
        let counts_requests = self
            .quota_type
            .optional_text()?
            .is_none_or(|kind| kind.eq_ignore_ascii_case("requestCount"));
        if !counts_requests {
            return Err(Fault::UnknownWord);
        }
        let limit = self.default_limit.and_then(|limit| limit.request_count);
        Ok(TierPolicy {
            name,
            quota: limit.ok_or(Fault::Missing)?.read()?,
            burst: burst(&self.rate_limit_count, &self.rate_limit_time_unit)?,
            stop_on_quota: self.stop_on_quota_reach.boolean_or(true)?,
        })
    }
}

impl RawRequestCount<'_> {
    /// `None`: no limit.
    fn read(self) -> Result<Option<Quota>, Fault> {
        let requests = self.request_count.number()?;
        if requests >= UNLIMITED {
            return Ok(None);
        }
        let units = u32::try_from(self.unit_time.number()?).map_err(|_| Fault::OutOfRange)?;
        let per = unit(&self.time_unit.text()?)?.checked_mul(units);
        let per = per.filter(|per| !per.is_zero()).ok_or(Fault::OutOfRange)?;
        Ok(Some(Quota { requests, per }))
    }
}

/// What a client may ask in a short time; API Manager writes 0 or -1 and `NA` for nothing said.
fn burst(count: &Field<'_>, time_unit: &Field<'_>) -> Result<Option<Quota>, Fault> {
    let requests = match count {
        Field::Null => return Ok(None),
        Field::Number(count) => *count,
        _ => return Err(Fault::WrongType),
    };
    match u64::try_from(requests) {
        Ok(requests) if requests > 0 => {
            let per = unit(&time_unit.text()?)?;
            Ok(Some(Quota { requests, per }))
        }
        _ => Ok(None),
    }
}

fn unit(word: &str) -> Result<Duration, Fault> {
    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 60 * MINUTE;
    let seconds = match word.to_ascii_lowercase().as_str() {
        "sec" | "second" | "s" => 1,
        "min" | "minute" | "m" => MINUTE,
        "hour" | "h" => 60 * MINUTE,
        "day" | "days" | "d" => DAY,
        "week" | "w" => 7 * DAY,
        "month" => 30 * DAY,
        "year" | "y" => 365 * DAY,
        _ => return Err(Fault::UnknownWord),
    };
    Ok(Duration::from_secs(seconds))
}

/// A value of whatever type: a wrong one is a fault of its row and not of the reading.
#[derive(Debug, Default)]
enum Field<'a> {
    /// Also where there is none.
    #[default]
    Null,
    Text(Cow<'a, str>),
    Number(i64),
    Boolean(bool),
    Other,
}

impl<'a> Field<'a> {
    /// An id is a whole number from 1 on. Some versions write it as a text.
    fn id(&self) -> Result<u32, Fault> {
        let number = match self {
            Self::Text(text) => text.parse().map_err(|_| Fault::WrongType)?,
            other => other.number()?,
        };
        u32::try_from(number)
            .ok()
            .filter(|id| *id > 0)
            .ok_or(Fault::OutOfRange)
    }

    fn number(&self) -> Result<u64, Fault> {
        match self {
            Self::Number(number) => u64::try_from(*number).map_err(|_| Fault::OutOfRange),
            Self::Null => Err(Fault::Missing),
            _ => Err(Fault::WrongType),
        }
    }

    fn boolean_or(&self, default: bool) -> Result<bool, Fault> {
        match self {
            Self::Boolean(value) => Ok(*value),
            Self::Null => Ok(default),
            _ => Err(Fault::WrongType),
        }
    }

    fn optional_text(&self) -> Result<Option<Cow<'a, str>>, Fault> {
        match self {
            Self::Text(text) if text.len() > MAX_TEXT_BYTES => Err(Fault::OutOfRange),
            Self::Text(text) if text.is_empty() => Ok(None),
            Self::Text(text) => Ok(Some(text.clone())),
            Self::Null => Ok(None),
            _ => Err(Fault::WrongType),
        }
    }

    fn text(&self) -> Result<Cow<'a, str>, Fault> {
        self.optional_text()?.ok_or(Fault::Missing)
    }

    fn text_or_empty(&self) -> Result<Cow<'a, str>, Fault> {
        Ok(self.optional_text()?.unwrap_or_default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Field::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field::Number(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Field::Boolean(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &str = r#"{"subscriptionId":1,"policyId":"Unlimited","apiId":1,"appId":2,"subscriptionState":"UNBLOCKED"}"#;

    fn read(kind: RowKind, text: &[u8]) -> Result<Row, Fault> {
        super::read(kind, text).map(|row| row.expect("it is not over"))
    }

    #[test]
    fn an_api_that_is_retired_is_not_there() {
        let api = |status: &str| {
            let text = format!(r#"{{"apiId":1,"name":"a","version":"1","status":{status}}}"#);
            super::read(RowKind::Apis, text.as_bytes()).map(|row| row.is_some())
        };
        for status in [r#""PUBLISHED""#, r#""BLOCKED""#, "null", "7"] {
            assert_eq!(api(status), Ok(true), "{status}");
        }
        assert_eq!(api(r#""Retired""#), Ok(false));
    }

    fn fault(kind: RowKind, text: &str) -> Fault {
        read(kind, text.as_bytes()).unwrap_err()
    }

    #[test]
    fn rows_of_both_generations_are_read() {
        let of_3 = SUBSCRIPTION;
        let of_4 = r#"{"subscriptionUUID":"u","subscriptionId":1,"policyId":"Unlimited","apiUUID":"a","apiId":1,
                       "applicationUUID":"b","appId":2,"subscriptionState":"UNBLOCKED"}"#;
        let wanted = Row::Subscription(Subscription {
            application: 2,
            api: 1,
            policy: "Unlimited".into(),
            state: SubscriptionState::Unblocked,
        });
        for text in [of_3, of_4] {
            assert_eq!(
                read(RowKind::Subscriptions, text.as_bytes()),
                Ok(wanted.clone())
            );
        }
        let application = r#"{"uuid":null,"id":2,"name":"newAPP","subName":"admin","policy":"10PerMin",
                              "tokenType":"OAUTH","groupIds":null,"attributes":null,"organization":"carbon.super"}"#;
        let Ok(Row::Application(application)) = read(RowKind::Applications, application.as_bytes())
        else {
            panic!("an application")
        };
        assert_eq!(
            (application.id, &*application.owner, application.uuid),
            (2, "admin", None)
        );
        let mapping =
            r#"{"applicationId":2,"consumerKey":"CK","keyType":"SANDBOX","keyManager":"Default"}"#;
        assert_eq!(
            read(RowKind::KeyMappings, mapping.as_bytes()),
            Ok(Row::KeyMapping(KeyMapping {
                consumer_key: "CK".into(),
                key_manager: "Default".into(),
                application: 2,
                key_type: KeyType::Sandbox,
            }))
        );
        let api = r#"{"apiId":1,"provider":"admin","name":"Pizza\u0053hackAPI","version":"1.0.0",
                      "context":"/pizzashack/1.0.0","policy":null,"apiType":null,
                      "urlMappings":[{"authScheme":"x","scopes":[{"a":[]}]}]}"#;
        let Ok(Row::Api(api)) = read(RowKind::Apis, api.as_bytes()) else {
            panic!("an API")
        };
        assert_eq!(
            (&*api.name, &*api.context, api.policy),
            ("PizzaShackAPI", "/pizzashack/1.0.0", None)
        );
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told() {
        let cases = [
            ("", Fault::Form),
            ("null", Fault::Form),
            ("[1,2,3,4]", Fault::Form),
            (r#"{"apiId":}"#, Fault::Form),
            (r#"{"apiId":1,"apiId":2}"#, Fault::Form),
            ("{}", Fault::Missing),
            (
                r#"{"apiId":null,"appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::Missing,
            ),
            (
                r#"{"apiId":1,"appId":2,"subscriptionState":null}"#,
                Fault::Missing,
            ),
            (
                r#"{"apiId":1,"appId":2,"subscriptionState":{"a":1}}"#,
                Fault::WrongType,
            ),
            (
                r#"{"apiId":1,"appId":2,"policyId":7,"subscriptionState":"BLOCKED"}"#,
                Fault::WrongType,
            ),
            (
                r#"{"apiId":1.5,"appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::WrongType,
            ),
            (
                r#"{"apiId":true,"appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::WrongType,
            ),
            (
                r#"{"apiId":"x","appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::WrongType,
            ),
            (
                r#"{"apiId":-1,"appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::OutOfRange,
            ),
            (
                r#"{"apiId":0,"appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::OutOfRange,
            ),
            (
                r#"{"apiId":18446744073709551615,"appId":2,"subscriptionState":"BLOCKED"}"#,
                Fault::OutOfRange,
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(fault(RowKind::Subscriptions, text), wanted, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_row_is_none() {
        let bytes = b"{\"apiId\":1,\"appId\":2,\"subscriptionState\":\"\xff\"}";
        assert_eq!(read(RowKind::Subscriptions, bytes), Err(Fault::Form));
        let long = format!(
            r#"{{"applicationId":1,"consumerKey":"{}","keyType":"SANDBOX"}}"#,
            "k".repeat(2000)
        );
        assert_eq!(fault(RowKind::KeyMappings, &long), Fault::OutOfRange);
        let test = r#"{"applicationId":1,"consumerKey":"k","keyType":"TEST"}"#;
        assert_eq!(fault(RowKind::KeyMappings, test), Fault::UnknownWord);
        let nested = format!(r#"{{"apiId":{}}}"#, "[".repeat(100_000));
        assert_eq!(fault(RowKind::Subscriptions, &nested), Fault::Form);
    }

    #[test]
    fn a_state_that_is_not_known_lets_nobody_in() {
        let text = SUBSCRIPTION.replace("UNBLOCKED", "SOMETHING_NEW");
        let Ok(Row::Subscription(row)) = read(RowKind::Subscriptions, text.as_bytes()) else {
            panic!("a subscription")
        };
        assert_eq!(row.state, SubscriptionState::Other);
    }

    #[test]
    fn policies_say_how_much_in_how_long() {
        let policy = |limit: &str, more: &str| {
            let text = format!(
                r#"{{"id":1,"tenantId":-1234,"name":"Gold","quotaType":"requestCount",
                     "defaultLimit":{{"quotaType":"requestCount","requestCount":{limit},"bandwidth":null}}{more}}}"#
            );
            match read(RowKind::SubscriptionPolicies, text.as_bytes()) {
                Ok(Row::Policy(PolicyKind::Subscription, policy)) => {
                    Ok((policy.quota, policy.burst, policy.stop_on_quota))
                }
                Ok(other) => panic!("{other:?}"),
                Err(fault) => Err(fault),
            }
        };
        let quota = |requests, seconds| {
            Some(Quota {
                requests,
                per: Duration::from_secs(seconds),
            })
        };
        let gold = r#"{"timeUnit":"min","unitTime":1,"requestCount":5000}"#;
        assert_eq!(policy(gold, ""), Ok((quota(5000, 60), None, true)));
        let spike = r#","rateLimitCount":10,"rateLimitTimeUnit":"sec","stopOnQuotaReach":false"#;
        assert_eq!(
            policy(gold, spike),
            Ok((quota(5000, 60), quota(10, 1), false))
        );
        let none = r#","rateLimitCount":-1,"rateLimitTimeUnit":"NA""#;
        assert_eq!(policy(gold, none), Ok((quota(5000, 60), None, true)));
        let unlimited = r#"{"timeUnit":"min","unitTime":1,"requestCount":2147483647}"#;
        assert_eq!(policy(unlimited, ""), Ok((None, None, true)));
        let never = r#"{"timeUnit":"min","unitTime":0,"requestCount":1}"#;
        assert_eq!(policy(never, ""), Err(Fault::OutOfRange));
        let odd = r#"{"timeUnit":"fortnight","unitTime":1,"requestCount":1}"#;
        assert_eq!(policy(odd, ""), Err(Fault::UnknownWord));
        assert_eq!(policy("null", ""), Err(Fault::Missing));
        let bytes =
            r#"{"name":"Gold","quotaType":"bandwidthVolume","defaultLimit":{"requestCount":null}}"#;
        assert_eq!(
            fault(RowKind::ApplicationPolicies, bytes),
            Fault::UnknownWord
        );
    }
}
