//! The types of events, a closed list.

macro_rules! event_kinds {
    ($($variant:ident = $word:literal;)*) => {
        /// What an event tells of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventKind {
            $($variant,)*
            /// One that changes nothing here.
            Other,
        }

        impl EventKind {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)* Self::Other];

            /// For labels: the source's word in small letters.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

event_kinds! {
    ApiCreate = "api_create";
    ApiUpdate = "api_update";
    ApiDelete = "api_delete";
    ApiLifecycleChange = "api_lifecycle_change";
    ApiDeployed = "deploy_api_in_gateway";
    ApiUndeployed = "remove_api_from_gateway";
    ApplicationCreate = "application_create";
    ApplicationUpdate = "application_update";
    ApplicationDelete = "application_delete";
    KeyMappingCreate = "application_registration_create";
    KeyMappingRemove = "remove_application_keymapping";
    SubscriptionCreate = "subscriptions_create";
    SubscriptionUpdate = "subscriptions_update";
    SubscriptionDelete = "subscriptions_delete";
    PolicyCreate = "policy_create";
    PolicyUpdate = "policy_update";
    PolicyDelete = "policy_delete";
}

impl EventKind {
    /// The source's word, in any case.
    pub fn parse(word: &str) -> Self {
        let word = word.trim();
        // 4.x has another name for it.
        if word.eq_ignore_ascii_case("LIFECYCLE_CHANGE") {
            return Self::ApiLifecycleChange;
        }
        let known = Self::ALL
            .iter()
            .find(|kind| word.eq_ignore_ascii_case(kind.word()));
        known.copied().unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_in_any_case() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(&kind.word().to_ascii_uppercase()), *kind);
        }
        assert_eq!(
            EventKind::parse("Lifecycle_Change"),
            EventKind::ApiLifecycleChange
        );
        assert_eq!(EventKind::parse("SCOPE_CREATE"), EventKind::Other);
    }
}
