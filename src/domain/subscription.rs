//! Who may call which API: applications with their consumer keys, APIs, and the subscriptions between
//! the two, as WSO2 API Manager has them, in rows that any source can give.

use std::{sync::Arc, time::Duration};

use super::{Denial, claims::encode};

/// Milliseconds since 1970-01-01T00:00:00Z, by the clock of the source.
pub type Millis = u64;

/// What kind of consumer key a client came with. Decides about the endpoint, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// Also of clients about which nothing is known.
    #[default]
    Production,
    Sandbox,
}

impl KeyType {
    /// The word of the source, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Production, Self::Sandbox];
        let mut all = all.into_iter();
        all.find(|key_type| word.eq_ignore_ascii_case(key_type.word()))
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION",
            Self::Sandbox => "SANDBOX",
        }
    }
}

/// The states of a subscription; those that allow less are the greater ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubscriptionState {
    Unblocked,
    /// A change of the tier waits for approval; until then the old one is in force.
    TierUpdatePending,
    /// Blocked for production keys only.
    ProductionOnlyBlocked,
    /// Waits for approval.
    OnHold,
    Blocked,
    Rejected,
    /// A word that is not known here.
    Other,
}

impl SubscriptionState {
    /// The source's word, in any case. One that is not known allows nothing.
    pub fn parse(word: &str) -> Self {
        const WORDS: [(&str, SubscriptionState); 6] = [
            ("UNBLOCKED", SubscriptionState::Unblocked),
            ("TIER_UPDATE_PENDING", SubscriptionState::TierUpdatePending),
            (
                "PROD_ONLY_BLOCKED",
                SubscriptionState::ProductionOnlyBlocked,
            ),
            ("ON_HOLD", SubscriptionState::OnHold),
            ("BLOCKED", SubscriptionState::Blocked),
            ("REJECTED", SubscriptionState::Rejected),
        ];
        let known = WORDS
            .iter()
            .find(|(known, _)| word.eq_ignore_ascii_case(known));
        known.map_or(Self::Other, |(_, state)| *state)
    }

    /// Whether a client with such a key may call.
    ///
    /// # Errors
    /// The state's refusal.
    pub fn check(self, key_type: KeyType) -> Result<(), Denial> {
        match (self, key_type) {
            (Self::Unblocked | Self::TierUpdatePending, _)
            | (Self::ProductionOnlyBlocked, KeyType::Sandbox) => Ok(()),
            (Self::OnHold, _) => Err(Denial::SubscriptionOnHold),
            (Self::Blocked, _) | (Self::ProductionOnlyBlocked, KeyType::Production) => {
                Err(Denial::SubscriptionBlocked)
            }
            (Self::Rejected | Self::Other, _) => Err(Denial::SubscriptionRejected),
        }
    }
}

/// Which API a route belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiIdentity {
    /// As the source knows it; `info.title` of an OpenAPI document.
    pub name: Box<str>,
    pub version: Box<str>,
    /// The path that the API begins with, for a source that knows it by another name.
    pub context: Option<Box<str>>,
}

/// An application: what subscribes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Application {
    pub id: u32,
    pub uuid: Option<Box<str>>,
    pub name: Box<str>,
    /// The account that it belongs to; empty where the source does not say.
    pub owner: Arc<str>,
    /// The tier of all its requests together; empty where the source does not say.
    pub policy: Arc<str>,
}

/// A client of the key manager, and the application that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMapping {
    /// The client id.
    pub consumer_key: Box<str>,
    /// Empty where the source does not say.
    pub key_manager: Box<str>,
    pub application: u32,
    pub key_type: KeyType,
}

/// An API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api {
    pub id: u32,
    pub name: Box<str>,
    pub version: Box<str>,
    /// The path that it begins with; in WSO2's data its end is the version.
    pub context: Box<str>,
    /// Who published it.
    pub provider: Box<str>,
    /// The tier of all requests of the API together, if it has one.
    pub policy: Option<Box<str>>,
}

/// That an application may use an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub application: u32,
    pub api: u32,
    /// The tier.
    pub policy: Box<str>,
    pub state: SubscriptionState,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    Application,
    Subscription,
}

/// What the name of a tier means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TierPolicy {
    pub name: Box<str>,
    /// `None`: no limit.
    pub quota: Option<Quota>,
    /// For short times.
    pub burst: Option<Quota>,
    /// Whether requests beyond the quota are refused.
    pub stop_on_quota: bool,
}

/// So many requests in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quota {
    pub requests: u64,
    pub per: Duration,
}

/// The kinds of rows, which a source gives list by list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    Applications,
    KeyMappings,
    Apis,
    Subscriptions,
    ApplicationPolicies,
    SubscriptionPolicies,
}

impl RowKind {
    pub const ALL: [Self; 6] = [
        Self::Applications,
        Self::KeyMappings,
        Self::Apis,
        Self::Subscriptions,
        Self::ApplicationPolicies,
        Self::SubscriptionPolicies,
    ];

    /// For labels and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Applications => "applications",
            Self::KeyMappings => "key_mappings",
            Self::Apis => "apis",
            Self::Subscriptions => "subscriptions",
            Self::ApplicationPolicies => "application_policies",
            Self::SubscriptionPolicies => "subscription_policies",
        }
    }
}

/// One row of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Application(Application),
    KeyMapping(KeyMapping),
    Api(Api),
    Subscription(Subscription),
    Policy(PolicyKind, TierPolicy),
}

impl Row {
    pub fn kind(&self) -> RowKind {
        match self {
            Self::Application(_) => RowKind::Applications,
            Self::KeyMapping(_) => RowKind::KeyMappings,
            Self::Api(_) => RowKind::Apis,
            Self::Subscription(_) => RowKind::Subscriptions,
            Self::Policy(PolicyKind::Application, _) => RowKind::ApplicationPolicies,
            Self::Policy(PolicyKind::Subscription, _) => RowKind::SubscriptionPolicies,
        }
    }
}

/// What tells a row from others of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowId {
    Application(u32),
    KeyMapping {
        consumer_key: Box<str>,
        /// Empty: of every key manager.
        key_manager: Box<str>,
    },
    Api(u32),
    Subscription {
        application: u32,
        api: u32,
    },
    Policy(PolicyKind, Box<str>),
}

/// Something that became different at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: Millis,
    pub what: Edit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    Put(Row),
    Remove(RowId),
}

/// What is known of the client of a request. It is complete where it has a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    pub key_type: KeyType,
    pub application: Option<Arc<Application>>,
    pub subscription: Option<Subscribed>,
}

impl Subscriber {
    /// What upstreams may be told of it, by the names that stand among those of claims.
    pub const CLAIMS: [&str; 6] = [
        "subscription.application_id",
        "subscription.application_name",
        "subscription.application_owner",
        "subscription.application_tier",
        "subscription.key_type",
        "subscription.tier",
    ];
    /// What these begin with.
    pub const PREFIX: &str = "subscription.";

    /// Whether anything is.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// One of [`Subscriber::CLAIMS`], encoded as claims are, so that it can go into a header.
    pub fn claim(&self, name: &str) -> Option<String> {
        let application = self.application.as_ref()?;
        let number;
        let value = match name.strip_prefix(Self::PREFIX)? {
            "application_id" => {
                number = application.id.to_string();
                application.uuid.as_deref().unwrap_or(&number)
            }
            "application_name" => &application.name,
            "application_owner" => &application.owner,
            "application_tier" => &application.policy,
            "key_type" => self.key_type.word(),
            "tier" => self.subscription.as_ref()?.policy,
            _ => return None,
        };
        let mut encoded = Vec::with_capacity(value.len());
        encode(value, &mut encoded);
        String::from_utf8(encoded).ok()
    }
}

/// The subscription by which a request is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The number of the API.
    pub api: u32,
    /// The tier.
    pub policy: &'static str,
    pub state: SubscriptionState,
}

/// The first thing that is not known about a client and an API, in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The client is of no application.
    KeyMapping,
    Application(u32),
    Api,
    Subscription {
        application: u32,
        api: u32,
    },
}

/// What the table says of a client and an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a subscription; its state has the last word.
    Known(Subscriber),
    /// With what is known all the same.
    Unknown(Missing, Subscriber),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_decide_as_the_original_does() {
        let cases = [
            ("UNBLOCKED", Ok(()), Ok(())),
            ("unblocked", Ok(()), Ok(())),
            ("TIER_UPDATE_PENDING", Ok(()), Ok(())),
            (
                "ON_HOLD",
                Err(Denial::SubscriptionOnHold),
                Err(Denial::SubscriptionOnHold),
            ),
            (
                "BLOCKED",
                Err(Denial::SubscriptionBlocked),
                Err(Denial::SubscriptionBlocked),
            ),
            // The original refuses the sandbox, too, which is a mistake.
            (
                "PROD_ONLY_BLOCKED",
                Err(Denial::SubscriptionBlocked),
                Ok(()),
            ),
            (
                "REJECTED",
                Err(Denial::SubscriptionRejected),
                Err(Denial::SubscriptionRejected),
            ),
            (
                "SOMETHING_NEW",
                Err(Denial::SubscriptionRejected),
                Err(Denial::SubscriptionRejected),
            ),
        ];
        for (word, production, sandbox) in cases {
            let state = SubscriptionState::parse(word);
            assert_eq!(state.check(KeyType::Production), production, "{word}");
            assert_eq!(state.check(KeyType::Sandbox), sandbox, "{word}");
        }
    }

    #[test]
    fn key_types_are_two_words() {
        assert_eq!(KeyType::parse("sandbox"), Some(KeyType::Sandbox));
        assert_eq!(KeyType::parse("PRODUCTION"), Some(KeyType::Production));
        assert_eq!(KeyType::parse("TEST"), None);
    }
}
