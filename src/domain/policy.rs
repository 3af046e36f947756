//! What a route asks of a token, and the proof that it was met.
//!
//! The policy is evaluated on every request, whether the verdict came from the cache or fresh from
//! the key manager (Oathkeeper CVE-2021-32701 is what happens otherwise).

use std::{fmt, sync::Arc, time::Duration};

use super::{Denial, Grant, UnixSeconds, Verdict};

/// Whether a route asks for a token at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody may pass; a token that comes along is not looked at.
    Public,
    Token(Policy),
}

/// What an active token must be for a route. Empty lists ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub scopes: ScopeRule,
    /// The token's `aud` must have one of these.
    pub audience: Box<[Box<str>]>,
    /// The token's `iss` must be one of these.
    pub issuer: Box<[Box<str>]>,
    /// How far the clocks of gateway and key manager may differ: `exp`, `nbf` and `iat` are read
    /// with this leeway.
    pub clock_skew: Duration,
}

/// Which scopes a route asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ScopeRule {
    #[default]
    None,
    All(Box<[Box<str>]>),
    Any(Box<[Box<str>]>),
    AnySet(ScopeSets),
}

/// Sets of scopes, of which a token needs one as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeSets {
    sets: Box<[Box<[Box<str>]>]>,
    /// All that are in one of them, each once.
    names: Box<[Box<str>]>,
}

impl ScopeSets {
    pub fn new(sets: Vec<Box<[Box<str>]>>) -> Self {
        let mut names: Vec<Box<str>> = Vec::new();
        for name in sets.iter().flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Self {
            sets: sets.into(),
            names: names.into(),
        }
    }

    pub fn sets(&self) -> impl Iterator<Item = &[Box<str>]> {
        self.sets.iter().map(|set| &**set)
    }
}

/// Proof that a route's access rule was met. Only this file can make one, and nothing reaches an
/// upstream without it (ARCHITECTURE.md, invariant 2).
#[derive(Clone, Debug)]
pub struct Permit {
    grant: Option<Arc<Grant>>,
}

impl Permit {
    /// What the key manager said of the caller; `None` on a public route.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }
}

impl Access {
    /// The permit of a public route; the policy to meet otherwise.
    pub fn without_token(&self) -> Result<Permit, &Policy> {
        match self {
            Self::Public => Ok(Permit { grant: None }),
            Self::Token(policy) => Err(policy),
        }
    }
}

/// What a caller needs, in few words.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("nothing"),
            Self::Token(policy) => match &policy.scopes {
                ScopeRule::None => f.write_str("a token"),
                ScopeRule::All(scopes) => f.write_str(&scopes.join(" ")),
                ScopeRule::Any(scopes) => f.write_str(&scopes.join(" or ")),
                ScopeRule::AnySet(sets) => {
                    let sets: Vec<String> = sets.sets().map(|set| set.join(" ")).collect();
                    f.write_str(&sets.join(" or "))
                }
            },
        }
    }
}

impl Policy {
    /// Decides about `verdict` at the time `now`. `cached` says whether it came from memory, which
    /// only changes the word for a refusal.
    ///
    /// # Errors
    /// The first rule that is not met, in the order: active, kind of token, times, issuer,
    /// audience, scopes.
    pub fn check(
        &self,
        verdict: &Verdict,
        now: UnixSeconds,
        cached: bool,
    ) -> Result<Permit, Denial> {
        let Verdict::Active(grant) = verdict else {
            return Err(Denial::Inactive { cached });
        };
        if !grant.is_bearer_access_token() {
            return Err(Denial::WrongTokenType);
        }
        self.check_times(grant, now)?;
        if !self.issuer.is_empty() && !contains_any(&self.issuer, grant.issuer().into_iter()) {
            return Err(Denial::IssuerMismatch);
        }
        if !self.audience.is_empty() && !contains_any(&self.audience, grant.audience()) {
            return Err(Denial::AudienceMismatch);
        }
        if !self.scopes.met_by(grant) {
            return Err(Denial::InsufficientScope {
                required: self.scopes.names().join(" ").into(),
            });
        }
        Ok(Permit {
            grant: Some(Arc::clone(grant)),
        })
    }

    /// `exp`, `nbf` and `iat` (RFC 7662 §2.2). An `iat` that lies ahead is refused like an `nbf`:
    /// nobody can have issued the token yet.
    fn check_times(&self, grant: &Grant, now: UnixSeconds) -> Result<(), Denial> {
        let skew = i64::try_from(self.clock_skew.as_secs()).unwrap_or(i64::MAX);
        if grant
            .expires_at()
            .is_some_and(|exp| exp.saturating_add(skew) <= now)
        {
            return Err(Denial::Expired);
        }
        let earliest = grant.not_before().max(grant.issued_at());
        if earliest.is_some_and(|time| time > now.saturating_add(skew)) {
            return Err(Denial::NotYetValid);
        }
        Ok(())
    }
}

impl ScopeRule {
    fn met_by(&self, grant: &Grant) -> bool {
        match self {
            Self::None => true,
            Self::All(needed) => needed.iter().all(|scope| grant.has_scope(scope)),
            Self::Any(needed) => needed.iter().any(|scope| grant.has_scope(scope)),
            Self::AnySet(needed) => needed
                .sets()
                .any(|set| set.iter().all(|scope| grant.has_scope(scope))),
        }
    }

    pub fn names(&self) -> &[Box<str>] {
        match self {
            Self::None => &[],
            Self::All(names) | Self::Any(names) => names,
            Self::AnySet(sets) => &sets.names,
        }
    }
}

fn contains_any<'a>(wanted: &[Box<str>], mut have: impl Iterator<Item = &'a str>) -> bool {
    have.any(|value| wanted.iter().any(|name| **name == *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = 1_000_000;

    fn verdict(json: &str) -> Verdict {
        Verdict::parse(json.as_bytes(), &Arc::default()).unwrap()
    }

    fn names(list: &[&str]) -> Box<[Box<str>]> {
        list.iter().map(|name| Box::from(*name)).collect()
    }

    fn check(policy: &Policy, json: &str) -> Result<(), Denial> {
        policy.check(&verdict(json), NOW, false).map(drop)
    }

    #[test]
    fn a_public_route_permits_without_a_grant() {
        assert!(Access::Public.without_token().unwrap().grant().is_none());
        assert!(Access::Token(Policy::default()).without_token().is_err());
    }

    #[test]
    fn only_active_is_needed_when_nothing_is_asked() {
        assert_eq!(check(&Policy::default(), r#"{"active":true}"#), Ok(()));
        assert_eq!(
            check(&Policy::default(), r#"{"active":false}"#),
            Err(Denial::Inactive { cached: false })
        );
    }

    #[test]
    fn times_are_checked_with_leeway() {
        let strict = Policy::default();
        let lenient = Policy {
            clock_skew: Duration::from_secs(5),
            ..Policy::default()
        };
        let cases = [
            (r#"{"active":true,"exp":1000001}"#, Ok(()), Ok(())),
            (
                r#"{"active":true,"exp":1000000}"#,
                Err(Denial::Expired),
                Ok(()),
            ),
            (
                r#"{"active":true,"exp":999995}"#,
                Err(Denial::Expired),
                Err(Denial::Expired),
            ),
            (r#"{"active":true,"nbf":1000000}"#, Ok(()), Ok(())),
            (
                r#"{"active":true,"nbf":1000005}"#,
                Err(Denial::NotYetValid),
                Ok(()),
            ),
            (
                r#"{"active":true,"iat":1000006}"#,
                Err(Denial::NotYetValid),
                Err(Denial::NotYetValid),
            ),
            (
                r#"{"active":true,"nbf":9223372036854775807}"#,
                Err(Denial::NotYetValid),
                Err(Denial::NotYetValid),
            ),
            (
                r#"{"active":true,"exp":9223372036854775807}"#,
                Ok(()),
                Ok(()),
            ),
        ];
        for (json, by_strict, by_lenient) in cases {
            assert_eq!(check(&strict, json), by_strict, "{json}");
            assert_eq!(check(&lenient, json), by_lenient, "{json}");
        }
    }

    #[test]
    fn scopes_any_and_all() {
        let all = Policy {
            scopes: ScopeRule::All(names(&["a", "b"])),
            ..Policy::default()
        };
        let any = Policy {
            scopes: ScopeRule::Any(names(&["a", "b"])),
            ..Policy::default()
        };
        let refused = Err(Denial::InsufficientScope {
            required: "a b".into(),
        });
        for (scope, by_all, by_any) in [
            ("a b", Ok(()), Ok(())),
            ("b c a", Ok(()), Ok(())),
            ("a", refused.clone(), Ok(())),
            ("ab", refused.clone(), refused.clone()),
            ("", refused.clone(), refused.clone()),
        ] {
            let json = format!(r#"{{"active":true,"scope":"{scope}"}}"#);
            assert_eq!(check(&all, &json), by_all, "{scope}");
            assert_eq!(check(&any, &json), by_any, "{scope}");
        }
        assert_eq!(check(&all, r#"{"active":true}"#), refused);
    }

    #[test]
    fn one_set_of_scopes_as_a_whole() {
        let sets = vec![names(&["a", "b"]), names(&["b", "c"]), names(&["d"])];
        let policy = Policy {
            scopes: ScopeRule::AnySet(ScopeSets::new(sets)),
            ..Policy::default()
        };
        for scope in ["a b", "c b", "d", "a c d"] {
            let json = format!(r#"{{"active":true,"scope":"{scope}"}}"#);
            assert_eq!(check(&policy, &json), Ok(()), "{scope}");
        }
        for scope in ["", "a", "b", "a c"] {
            let json = format!(r#"{{"active":true,"scope":"{scope}"}}"#);
            let required = "a b c d".into();
            let refused = Err(Denial::InsufficientScope { required });
            assert_eq!(check(&policy, &json), refused, "{scope}");
        }
    }

    #[test]
    fn issuer_and_audience() {
        let policy = Policy {
            issuer: names(&["https://id"]),
            audience: names(&["orders", "all"]),
            ..Policy::default()
        };
        let cases = [
            (
                r#"{"active":true,"iss":"https://id","aud":"orders"}"#,
                Ok(()),
            ),
            (
                r#"{"active":true,"iss":"https://id","aud":["x","all"]}"#,
                Ok(()),
            ),
            (
                r#"{"active":true,"iss":"https://id","aud":["x"]}"#,
                Err(Denial::AudienceMismatch),
            ),
            (
                r#"{"active":true,"iss":"https://id"}"#,
                Err(Denial::AudienceMismatch),
            ),
            (
                r#"{"active":true,"aud":"orders"}"#,
                Err(Denial::IssuerMismatch),
            ),
            (
                r#"{"active":true,"iss":"https://id/","aud":"orders"}"#,
                Err(Denial::IssuerMismatch),
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(check(&policy, json), expected, "{json}");
        }
    }

    #[test]
    fn bound_tokens_and_refresh_tokens_are_no_bearer_tokens() {
        for json in [
            r#"{"active":true,"cnf":{"x5t#S256":"abc"},"token_type":"Bearer"}"#,
            r#"{"active":true,"cnf":{"jkt":"abc"}}"#,
            r#"{"active":true,"token_type":"DPoP"}"#,
            r#"{"active":true,"token_type":"refresh_token"}"#,
            r#"{"active":true,"token_type":"bearer","token_use":"refresh_token"}"#,
        ] {
            assert_eq!(
                check(&Policy::default(), json),
                Err(Denial::WrongTokenType),
                "{json}"
            );
        }
        for json in [
            r#"{"active":true,"token_type":"bearer"}"#,
            r#"{"active":true,"token_type":"access_token","token_use":"access_token"}"#,
        ] {
            assert_eq!(check(&Policy::default(), json), Ok(()), "{json}");
        }
    }

    #[test]
    fn more_scopes_never_turn_yes_into_no() {
        let pool = ["a", "b", "c", "d"];
        for needed in 0..16_u32 {
            for rule in [ScopeRule::All, ScopeRule::Any] {
                let needed: Vec<&str> = subset(&pool, needed).collect();
                let policy = Policy {
                    scopes: rule(names(&needed)),
                    ..Policy::default()
                };
                for have in 0..16_u32 {
                    for more in 0..16_u32 {
                        let json = |bits: u32| {
                            let scopes: Vec<&str> = subset(&pool, bits).collect();
                            format!(r#"{{"active":true,"scope":"{}"}}"#, scopes.join(" "))
                        };
                        if check(&policy, &json(have)).is_ok() {
                            assert_eq!(check(&policy, &json(have | more)), Ok(()));
                        }
                    }
                }
            }
        }
    }

    fn subset<'a>(pool: &'a [&'a str], bits: u32) -> impl Iterator<Item = &'a str> {
        pool.iter()
            .enumerate()
            .filter(move |(position, _)| bits & (1 << position) != 0)
            .map(|(_, name)| *name)
    }
}
