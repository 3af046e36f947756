//! Events of API Manager as changes of rows (`wso2` names of fields are those of its events).

use serde_json::{Map, Value};

use super::{
    envelope::{Malformed, Notification, integer},
    event_kind::EventKind,
};
use crate::domain::{
    Api, Application, Change, Edit, KeyMapping, KeyType, Millis, PolicyKind, Row, RowId,
    Subscription, SubscriptionState,
};

/// A time so far ahead of the source's clock is a mistake of whoever wrote it.
const MAX_AHEAD: Millis = 24 * 3600 * 1000;

/// What is to be done about an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Apply(Change),
    /// The event has only a part of the row: it is applied, and the list is wanted again.
    ApplyAndReload(Change),
    /// The event says a time that has not come yet. It is applied as if it were of now, since it would hide
    /// every change until then; whether others were later only lists can tell.
    ApplyInDoubt(Change),
    /// The event says that something is different, but not what.
    Reload,
    /// It is about another tenant.
    OtherTenant,
    /// It is about something that does not matter here.
    Nothing,
}

impl Notification {
    /// What the event means for a gateway of `tenant`. `now`: the source's clock says no more than this.
    ///
    /// # Errors
    /// [`Malformed`]: the event lacks something.
    pub fn effect(&self, tenant: &str, now: Millis) -> Result<Effect, Malformed> {
        let fields = Fields(&self.event);
        if self.kind == EventKind::Other {
            return Ok(Effect::Nothing);
        }
        let of_other = |domain: &str| !domain.is_empty() && !domain.eq_ignore_ascii_case(tenant);
        if fields.text("tenantDomain").is_some_and(of_other) {
            return Ok(Effect::OtherTenant);
        }
        let told = self.at(now)?;
        let at = told.min(now);
        let put = |row| Change {
            at,
            what: Edit::Put(row),
        };
        let remove = |id| Change {
            at,
            what: Edit::Remove(id),
        };
        let effect = match self.kind {
            EventKind::ApiCreate | EventKind::ApiUpdate | EventKind::ApiLifecycleChange => {
                match fields.is_retired() {
                    true => Effect::Apply(remove(RowId::Api(fields.id("apiId")?))),
                    // Events do not have the tier of the API.
                    false => Effect::ApplyAndReload(put(Row::Api(fields.api()?))),
                }
            }
            EventKind::ApiDelete => Effect::Apply(remove(RowId::Api(fields.id("apiId")?))),
            EventKind::ApiDeployed | EventKind::ApiUndeployed => Effect::Reload,
            EventKind::ApplicationCreate | EventKind::ApplicationUpdate => {
                Effect::Apply(put(Row::Application(fields.application()?)))
            }
            EventKind::ApplicationDelete => {
                Effect::Apply(remove(RowId::Application(fields.id("applicationId")?)))
            }
            EventKind::KeyMappingCreate => {
                Effect::Apply(put(Row::KeyMapping(fields.key_mapping()?)))
            }
            EventKind::KeyMappingRemove => Effect::Apply(remove(fields.key_mapping_id()?)),
            EventKind::SubscriptionCreate | EventKind::SubscriptionUpdate => {
                Effect::Apply(put(Row::Subscription(fields.subscription()?)))
            }
            EventKind::SubscriptionDelete => Effect::Apply(remove(fields.subscription_id()?)),
            EventKind::PolicyCreate | EventKind::PolicyUpdate => match fields.policy_kind()? {
                // Events do not have the number of requests.
                Some(_) => Effect::Reload,
                None => Effect::Nothing,
            },
            EventKind::PolicyDelete => match fields.policy_kind()? {
                Some(kind) => {
                    Effect::Apply(remove(RowId::Policy(kind, fields.name("policyName")?)))
                }
                None => Effect::Nothing,
            },
            EventKind::Other => Effect::Nothing,
        };
        Ok(match effect {
            Effect::Apply(change) | Effect::ApplyAndReload(change) if told > now => {
                Effect::ApplyInDoubt(change)
            }
            effect => effect,
        })
    }

    /// When it happened: the event's own time, or else that of the envelope.
    fn at(&self, now: Millis) -> Result<Millis, Malformed> {
        let own = self.event.get("timeStamp").and_then(integer);
        let at = own.filter(|at| *at > 0).or(self.timestamp);
        let at = at.and_then(|at| Millis::try_from(at).ok());
        at.filter(|at| (1..=now.saturating_add(MAX_AHEAD)).contains(at))
            .ok_or(Malformed::Timestamp)
    }
}

/// The fields of an event.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A number that is needed.
    fn id(&self, name: &str) -> Result<u32, Malformed> {
        let number = self.0.get(name).and_then(integer);
        number
            .and_then(|number| u32::try_from(number).ok())
            .ok_or(Malformed::Fields)
    }

    /// A text that is needed.
    fn name(&self, name: &str) -> Result<Box<str>, Malformed> {
        let text = self.text(name).filter(|text| !text.is_empty());
        text.map(Box::from).ok_or(Malformed::Fields)
    }

    /// A text that may be missing.
    fn word<'a, T: From<&'a str>>(&'a self, name: &str) -> T {
        T::from(self.text(name).unwrap_or_default())
    }

    /// Nobody can call an API in this state, and nobody will again.
    fn is_retired(&self) -> bool {
        self.text("apiStatus")
            .is_some_and(|status| status.eq_ignore_ascii_case("RETIRED"))
    }

    fn api(&self) -> Result<Api, Malformed> {
        Ok(Api {
            id: self.id("apiId")?,
            name: self.name("apiName")?,
            version: self.name("apiVersion")?,
            context: self.word("apiContext"),
            provider: self.word("apiProvider"),
            policy: None,
        })
    }

    fn application(&self) -> Result<Application, Malformed> {
        Ok(Application {
            id: self.id("applicationId")?,
            uuid: self.text("uuid").map(Box::from),
            name: self.name("applicationName")?,
            owner: self.word("subscriber"),
            policy: self.word("applicationPolicy"),
        })
    }

    fn key_mapping(&self) -> Result<KeyMapping, Malformed> {
        let key_type = self.text("keyType").and_then(KeyType::parse);
        Ok(KeyMapping {
            consumer_key: self.name("consumerKey")?,
            key_manager: self.word("keyManager"),
            application: self.id("applicationId")?,
            key_type: key_type.ok_or(Malformed::Fields)?,
        })
    }

    fn key_mapping_id(&self) -> Result<RowId, Malformed> {
        Ok(RowId::KeyMapping {
            consumer_key: self.name("consumerKey")?,
            key_manager: self.word("keyManager"),
        })
    }

    fn subscription(&self) -> Result<Subscription, Malformed> {
        let state = self.text("subscriptionState").ok_or(Malformed::Fields)?;
        Ok(Subscription {
            application: self.id("applicationId")?,
            api: self.id("apiId")?,
            policy: self.word("policyId"),
            state: SubscriptionState::parse(state),
        })
    }

    fn subscription_id(&self) -> Result<RowId, Malformed> {
        Ok(RowId::Subscription {
            application: self.id("applicationId")?,
            api: self.id("apiId")?,
        })
    }

    /// `None`: a policy for what the gateway does not limit by policies of API Manager.
    fn policy_kind(&self) -> Result<Option<PolicyKind>, Malformed> {
        let kind = self.name("policyType")?.to_ascii_uppercase();
        Ok(match kind.as_str() {
            "SUBSCRIPTION" => Some(PolicyKind::Subscription),
            "APPLICATION" => Some(PolicyKind::Application),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_700_000_000_500;
    const AT: Millis = 1_700_000_000_123;

    fn effect_of(kind: &str, event: &str) -> Result<Effect, Malformed> {
        let event: Map<String, Value> = serde_json::from_str(event).unwrap();
        let notification = Notification {
            kind: EventKind::parse(kind),
            timestamp: None,
            event,
        };
        notification.effect("carbon.super", NOW)
    }

    /// With the fields that every event has.
    fn effect(kind: &str, fields: &str) -> Effect {
        let event = format!(
            r#"{{"eventId":"e","timeStamp":{AT},"tenantId":-1234,"tenantDomain":"carbon.super",{fields}}}"#
        );
        effect_of(kind, &event).unwrap()
    }

    fn put(row: Row) -> Change {
        Change {
            at: AT,
            what: Edit::Put(row),
        }
    }

    fn removed(id: RowId) -> Effect {
        Effect::Apply(Change {
            at: AT,
            what: Edit::Remove(id),
        })
    }

    #[test]
    fn applications() {
        let fields = r#""uuid":"u-2","applicationId":2,"applicationName":"app","subscriber":"ann",
            "applicationPolicy":"10PerMin","tokenType":"JWT""#;
        let expected = Effect::Apply(put(Row::Application(Application {
            id: 2,
            uuid: Some("u-2".into()),
            name: "app".into(),
            owner: "ann".into(),
            policy: "10PerMin".into(),
        })));
        assert_eq!(effect("APPLICATION_CREATE", fields), expected);
        assert_eq!(effect("application_update", fields), expected);
        let id = RowId::Application(2);
        assert_eq!(
            effect("APPLICATION_DELETE", r#""applicationId":"2""#),
            removed(id)
        );
    }

    #[test]
    fn apis() {
        let fields = r#""apiId":7,"apiName":"Pizza","apiVersion":"1.0.0","apiContext":"/pizza/1.0.0",
            "apiProvider":"admin","apiStatus":"PUBLISHED""#;
        let row = Row::Api(Api {
            id: 7,
            name: "Pizza".into(),
            version: "1.0.0".into(),
            context: "/pizza/1.0.0".into(),
            provider: "admin".into(),
            policy: None,
        });
        let expected = Effect::ApplyAndReload(put(row));
        for kind in [
            "API_CREATE",
            "API_UPDATE",
            "API_LIFECYCLE_CHANGE",
            "LIFECYCLE_CHANGE",
        ] {
            assert_eq!(effect(kind, fields), expected, "{kind}");
        }
        assert_eq!(effect("API_DELETE", r#""apiId":7"#), removed(RowId::Api(7)));
        let retired = r#""apiId":7,"apiStatus":"Retired""#;
        assert_eq!(
            effect("API_LIFECYCLE_CHANGE", retired),
            removed(RowId::Api(7))
        );
        for kind in ["DEPLOY_API_IN_GATEWAY", "REMOVE_API_FROM_GATEWAY"] {
            assert_eq!(effect(kind, r#""apiId":7"#), Effect::Reload);
        }
    }

    #[test]
    fn key_mappings() {
        let fields =
            r#""applicationId":2,"consumerKey":"CK","keyType":"sandbox","keyManager":"KM""#;
        let row = Row::KeyMapping(KeyMapping {
            consumer_key: "CK".into(),
            key_manager: "KM".into(),
            application: 2,
            key_type: KeyType::Sandbox,
        });
        assert_eq!(
            effect("APPLICATION_REGISTRATION_CREATE", fields),
            Effect::Apply(put(row))
        );
        let id = |key_manager: &str| RowId::KeyMapping {
            consumer_key: "CK".into(),
            key_manager: key_manager.into(),
        };
        let kind = "REMOVE_APPLICATION_KEYMAPPING";
        assert_eq!(effect(kind, fields), removed(id("KM")));
        assert_eq!(effect(kind, r#""consumerKey":"CK""#), removed(id("")));
    }

    #[test]
    fn subscriptions() {
        let fields = r#""subscriptionId":1,"apiId":7,"applicationId":2,"policyId":"Gold",
            "subscriptionState":"ON_HOLD""#;
        let row = Row::Subscription(Subscription {
            application: 2,
            api: 7,
            policy: "Gold".into(),
            state: SubscriptionState::OnHold,
        });
        for kind in ["SUBSCRIPTIONS_CREATE", "SUBSCRIPTIONS_UPDATE"] {
            assert_eq!(effect(kind, fields), Effect::Apply(put(row.clone())));
        }
        let id = RowId::Subscription {
            application: 2,
            api: 7,
        };
        assert_eq!(effect("SUBSCRIPTIONS_DELETE", fields), removed(id));
    }

    #[test]
    fn policies() {
        let of = |kind: &str| format!(r#""policyId":3,"policyName":"Gold","policyType":"{kind}""#);
        for kind in ["POLICY_CREATE", "POLICY_UPDATE"] {
            assert_eq!(effect(kind, &of("SUBSCRIPTION")), Effect::Reload);
            assert_eq!(effect(kind, &of("application")), Effect::Reload);
            assert_eq!(effect(kind, &of("GLOBAL")), Effect::Nothing);
        }
        let id = RowId::Policy(PolicyKind::Subscription, "Gold".into());
        assert_eq!(effect("POLICY_DELETE", &of("SUBSCRIPTION")), removed(id));
        assert_eq!(effect("POLICY_DELETE", &of("API")), Effect::Nothing);
    }

    #[test]
    fn only_the_own_tenant_counts() {
        let event = |domain: &str| {
            format!(r#"{{"timeStamp":{AT},"tenantDomain":{domain},"applicationId":2}}"#)
        };
        let of = |domain: &str| effect_of("APPLICATION_DELETE", &event(domain)).unwrap();
        assert_eq!(of(r#""example.com""#), Effect::OtherTenant);
        for domain in [r#""Carbon.Super""#, r#""""#, "null"] {
            assert_eq!(of(domain), removed(RowId::Application(2)));
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let at = format!(r#""timeStamp":{AT}"#);
        for (kind, fields, expected) in [
            (
                "API_DELETE",
                r#""apiId":7"#.to_owned(),
                Malformed::Timestamp,
            ),
            (
                "API_DELETE",
                r#""timeStamp":"soon","apiId":7"#.to_owned(),
                Malformed::Timestamp,
            ),
            (
                "API_DELETE",
                format!(r#""timeStamp":{},"apiId":7"#, NOW + MAX_AHEAD + 1),
                Malformed::Timestamp,
            ),
            ("API_DELETE", at.clone(), Malformed::Fields),
            (
                "API_DELETE",
                format!(r#"{at},"apiId":null"#),
                Malformed::Fields,
            ),
            (
                "API_DELETE",
                format!(r#"{at},"apiId":-1"#),
                Malformed::Fields,
            ),
            (
                "API_DELETE",
                format!(r#"{at},"apiId":4294967296"#),
                Malformed::Fields,
            ),
            (
                "API_CREATE",
                format!(r#"{at},"apiId":1,"apiName":"a""#),
                Malformed::Fields,
            ),
            (
                "APPLICATION_REGISTRATION_CREATE",
                format!(r#"{at},"applicationId":1,"consumerKey":"a","keyType":"x""#),
                Malformed::Fields,
            ),
            (
                "SUBSCRIPTIONS_CREATE",
                format!(r#"{at},"applicationId":1,"apiId":1"#),
                Malformed::Fields,
            ),
            ("POLICY_UPDATE", at, Malformed::Fields),
        ] {
            let result = effect_of(kind, &format!("{{{fields}}}"));
            assert_eq!(result, Err(expected), "{kind} {fields}");
        }
        assert_eq!(effect_of("SCOPE_CREATE", "{}"), Ok(Effect::Nothing));
    }

    #[test]
    fn what_is_ahead_of_its_time_is_of_now() {
        for ahead in [1, MAX_AHEAD] {
            let event = format!(r#"{{"timeStamp":{},"apiId":7}}"#, NOW + ahead);
            let removed = Change {
                at: NOW,
                what: Edit::Remove(RowId::Api(7)),
            };
            assert_eq!(
                effect_of("API_DELETE", &event),
                Ok(Effect::ApplyInDoubt(removed))
            );
        }
    }

    #[test]
    fn the_time_of_the_envelope_stands_in() {
        let notification = Notification {
            kind: EventKind::ApiDelete,
            timestamp: i64::try_from(AT).ok(),
            event: serde_json::from_str(r#"{"apiId":7,"timeStamp":0}"#).unwrap(),
        };
        let effect = notification.effect("carbon.super", NOW).unwrap();
        assert_eq!(effect, removed(RowId::Api(7)));
    }
}
