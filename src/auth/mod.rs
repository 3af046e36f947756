//! Who is calling: a token to a verdict, by way of the cache.
//!
//! [`Verifier`] is the page to read: whose word counts, then the cache, then the signature where the token
//! has one of an issuer of ours, else one flight to the key manager.

mod asked;
mod cache;
mod control_plane;
mod credential;
mod discovery;
mod flight;
mod jwt;
mod key_manager;
mod outbound;
mod revocation;
mod tls;
mod unavailable;
mod upkeep;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use cache::{ENTRY_OVERHEAD, Lookup, TokenCache};
pub use control_plane::{NoReply, agent};
pub use credential::{Backoff, basic};
pub use jwt::{Issuer, IssuerUpkeep, Issuers};
pub use key_manager::{Introspect, KeyManager, Question};
pub use revocation::Revocations;
pub use tls::client_config;
pub use unavailable::Unavailable;
pub use upkeep::{KeyManagerReadiness, Readiness, Upkeep};

use crate::{
    config::{Introspection, KeyManagerSettings, TokenCacheSettings},
    domain::{
        AccessToken, AskedAbout, Grant, JwtFault, TokenDigester, TokenKey, UnixSeconds, Verdict,
    },
    metrics::Metrics,
    telemetry::TraceContext,
};
use asked::Asked;

/// The moment of a request on both clocks: lives are measured on the monotonic one, which no
/// adjustment moves; `exp` is a date and is compared with the calendar.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub instant: Instant,
    pub unix: UnixSeconds,
}

impl Moment {
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            // A clock before 1970 is a broken clock; then nothing is valid yet.
            unix: unix.map_or(0, |since| since.as_secs().cast_signed()),
        }
    }
}

/// Where a verdict came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The cache.
    Hit,
    /// A call of our own.
    Fetched,
    /// A call that another request had started.
    Joined,
    /// The token's own signature.
    Signature,
    /// The cache, past the end of its answer: the key manager could not be asked.
    Stale,
}

impl From {
    /// The word for the access log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Fetched => "miss",
            Self::Joined => "joined",
            Self::Signature => "signature",
            Self::Stale => "stale",
        }
    }

    /// Whether the answer is one from before.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Hit | Self::Stale)
    }
}

/// What is known of a token, and how it came to be known.
#[derive(Clone, Debug)]
pub struct Verified {
    pub verdict: Verdict,
    pub from: From,
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoVerdict {
    /// Nobody can be asked, which is not the caller's fault.
    Unavailable(Unavailable),
    /// The token itself is no good, whoever would be asked.
    Untrusted(JwtFault),
}

impl std::convert::From<Unavailable> for NoVerdict {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

/// Turns tokens into verdicts.
pub struct Verifier {
    asked: Box<[Asked]>,
    /// For tokens that nobody can be asked about.
    nobody: TokenDigester,
    issuers: Issuers,
    memory: Memory,
}

/// Whose word counts on a token.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// This key manager's alone, since the route names it.
    Only(&'a Asked),
    /// That of the token's issuer, if it is one of ours, or of this key manager; `None`: of nobody else.
    Anyones(Option<&'a Asked>),
    /// The route names a key manager that is not there.
    Nobodys,
}

/// What is known already.
#[derive(Clone)]
struct Memory {
    cache: Arc<TokenCache>,
    lives: TokenCacheSettings,
}

impl Verifier {
    /// `key_managers`: who is asked, and by which client. `seed` is random and of this process. The cache
    /// may be shared with verifiers before and after this one: their answers are found only where key
    /// manager and credentials are the same.
    pub fn new(
        key_managers: Vec<(&KeyManagerSettings, Arc<dyn Introspect>)>,
        issuers: Issuers,
        lives: &TokenCacheSettings,
        seed: &[u8; 32],
        cache: Arc<TokenCache>,
        metrics: &Metrics,
    ) -> Self {
        let asked = key_managers
            .into_iter()
            .map(|(settings, client)| Asked::new(settings, client, seed, metrics));
        Self {
            asked: asked.collect(),
            nobody: TokenDigester::new(seed, &[]),
            issuers,
            memory: Memory {
                cache,
                lives: lives.clone(),
            },
        }
    }

    /// How long an active answer is used without asking again.
    pub fn longest_use(&self) -> Duration {
        self.memory.lives.max_ttl
    }

    /// The token's digest, and what the cache has for it. Neither allocates nor waits. `named`: the key
    /// manager that the route names.
    pub fn recall(
        &self,
        token: AccessToken<'_>,
        named: Option<&str>,
        now: Instant,
    ) -> (TokenKey, Option<Verified>) {
        let digester = match self.whose(token, named) {
            Whose::Only(asked) => &asked.alone,
            Whose::Anyones(Some(asked)) => &asked.beside_issuers,
            Whose::Anyones(None) => &self.nobody,
            Whose::Nobodys => return (self.nobody.digest(token), None),
        };
        let key = digester.digest(token);
        let (verdict, from) = match self.memory.cache.lookup(&key, now) {
            Lookup::Active(grant, _) | Lookup::Stale(grant) if grant.is_withdrawn() => {
                return (key, None);
            }
            Lookup::Active(grant, _) => (Verdict::Active(grant), From::Hit),
            Lookup::Stale(grant) => (Verdict::Active(grant), From::Stale),
            Lookup::Inactive => (Verdict::Inactive, From::Hit),
            Lookup::Expired | Lookup::Miss => return (key, None),
        };
        (key, Some(Verified { verdict, from }))
    }

    /// Finds out about a token that the cache does not have: by its signature if it is a JWT of an
    /// issuer of ours, else from the key manager; from the latter alone where the route names it.
    /// Requests with the same token share one call, which goes into the trace of the first: `trace` is
    /// the span of a call for this request.
    ///
    /// # Errors
    /// [`NoVerdict`] when there is no proper answer, for everybody who waited and for nobody after
    /// them; or when the token is no good by itself.
    pub async fn fetch(
        &self,
        key: TokenKey,
        token: AccessToken<'_>,
        named: Option<&str>,
        trace: &TraceContext,
    ) -> Result<Verified, NoVerdict> {
        let (asked, recognised) = match self.whose(token, named) {
            Whose::Only(asked) => (Some(asked), None),
            Whose::Anyones(asked) => (asked, self.issuers.recognise(token)),
            Whose::Nobodys => return Err(Unavailable::Lost.into()),
        };
        let mut signed = None;
        if let Some((issuer, jwt)) = recognised {
            let asks = issuer.settings().introspect;
            signed = match issuer.verify(jwt).await {
                Ok(grant) => Some(Verdict::Active(Arc::new(grant))),
                Err(_) if asks == Introspection::Failed => None,
                Err(why) => return Err(why.into()),
            };
            if let Some(verdict) = signed.clone().filter(|_| asks != Introspection::Also) {
                self.memory.keep(key, &verdict, Moment::now());
                let from = From::Signature;
                return Ok(Verified { verdict, from });
            }
        }
        match asked {
            Some(asked) => Ok(asked.ask(key, token, signed, trace, &self.memory).await?),
            None => Err(NoVerdict::Untrusted(JwtFault::UnknownIssuer)),
        }
    }

    /// Drops what is kept of a token.
    pub fn forget(&self, token: AccessToken<'_>) {
        let asked = self.asked.iter();
        let of_asked = asked.flat_map(|asked| [&asked.alone, &asked.beside_issuers]);
        for digester in of_asked.chain([&self.nobody]) {
            self.memory.cache.remove(&digester.digest(token));
        }
    }

    fn whose(&self, token: AccessToken<'_>, named: Option<&str>) -> Whose<'_> {
        let Some(name) = named else {
            let about = self.asked.iter().map(|asked| &asked.about);
            let position = AskedAbout::whom(about, token);
            return Whose::Anyones(position.map(|position| &self.asked[position]));
        };
        match self.asked.iter().find(|asked| *asked.name == *name) {
            Some(asked) => Whose::Only(asked),
            None => Whose::Nobodys,
        }
    }

    /// Answers that are kept: active, inactive.
    #[cfg(test)]
    fn cached(&self) -> (usize, usize) {
        self.memory.cache.len()
    }
}

impl Memory {
    /// An active answer, without counting the look-up.
    fn find(&self, key: &TokenKey) -> Option<Arc<Grant>> {
        let grant = self.cache.peek(key, Instant::now())?;
        (!grant.is_withdrawn()).then_some(grant)
    }

    /// An active answer past its end, for want of a new one: in the time for it, and before `exp`.
    fn revive(&self, key: &TokenKey, why: Unavailable, now: Moment) -> Option<Verified> {
        if self.lives.stale_if_error.is_zero() || !why.is_outage() {
            return None;
        }
        let grant = self.cache.revive(key, now.instant)?;
        let has_ended = grant.expires_at().is_some_and(|exp| exp <= now.unix);
        (!has_ended && !grant.is_withdrawn()).then(|| Verified {
            verdict: Verdict::Active(grant),
            from: From::Stale,
        })
    }

    fn keep(&self, key: TokenKey, verdict: &Verdict, now: Moment) {
        match verdict {
            Verdict::Active(grant) => {
                let life = life(grant, self.lives.max_ttl, now.unix);
                match life.is_zero() {
                    true => self.cache.remove(&key),
                    false => self.cache.insert_active(
                        key,
                        Arc::clone(grant),
                        now.instant + life,
                        now.instant,
                    ),
                }
            }
            Verdict::Inactive if self.lives.inactive_ttl.is_zero() => self.cache.remove(&key),
            Verdict::Inactive => {
                let until = now.instant + self.lives.inactive_ttl;
                self.cache.insert_inactive(key, until, now.instant);
            }
        }
    }
}

/// How long an active answer may be kept: `max_ttl`, and never past `exp` (RFC 7662 §4).
pub fn life(grant: &Grant, max_ttl: Duration, now: UnixSeconds) -> Duration {
    match grant.expires_at() {
        None => max_ttl,
        Some(exp) => {
            let left = u64::try_from(exp.saturating_sub(now)).unwrap_or(0);
            max_ttl.min(Duration::from_secs(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::config::{Environment, Source, load_source};

    type Answers = Box<dyn Fn(usize) -> Result<&'static str, Unavailable> + Send + Sync>;

    /// Answers by a script and counts; yields once, so that others can join.
    struct Fake {
        calls: Arc<AtomicUsize>,
        answers: Answers,
    }

    #[async_trait]
    impl Introspect for Fake {
        async fn introspect(&self, _: &Question) -> Result<Verdict, Unavailable> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            (self.answers)(call)
                .map(|json| Verdict::parse(json.as_bytes(), &Arc::default()).unwrap())
        }
    }

    fn verifier(
        max_ttl: &str,
        answers: impl Fn(usize) -> Result<&'static str, Unavailable> + Send + Sync + 'static,
    ) -> (Verifier, Arc<AtomicUsize>) {
        let text = format!(
            "[keyManager]\nintrospectUrl = \"http://127.0.0.1:1/i\"\n\
             [token_cache]\nmax_ttl = \"{max_ttl}\""
        );
        let settings = load_source(Source::memory(text), &Environment::default())
            .unwrap_or_else(|problems| panic!("{problems}"))
            .settings;
        let metrics = Arc::new(Metrics::new().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let fake = Fake {
            calls: Arc::clone(&calls),
            answers: Box::new(answers),
        };
        let verifier = Verifier::new(
            vec![(&settings.key_managers[0], Arc::new(fake))],
            Issuers::default(),
            &settings.token_cache,
            &[0; 32],
            Arc::new(TokenCache::new(&settings.token_cache, Arc::clone(&metrics))),
            &metrics,
        );
        (verifier, calls)
    }

    async fn verify(verifier: &Verifier, token: &str) -> Result<Verified, NoVerdict> {
        let token = AccessToken::parse(token.as_bytes()).unwrap();
        match verifier.recall(token, None, Instant::now()) {
            (_, Some(verified)) => Ok(verified),
            (key, None) => verifier.fetch(key, token, None, &TraceContext::NONE).await,
        }
    }

    #[tokio::test]
    async fn asks_once_and_then_remembers() {
        let (verifier, calls) = verifier("60s", |_| Ok(r#"{"active":true}"#));
        assert_eq!(verify(&verifier, "a").await.unwrap().from, From::Fetched);
        assert_eq!(verify(&verifier, "a").await.unwrap().from, From::Hit);
        assert_eq!(verify(&verifier, "b").await.unwrap().from, From::Fetched);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn concurrent_requests_make_one_call() {
        let (verifier, calls) = verifier("60s", |_| Ok(r#"{"active":true}"#));
        let verifier = Arc::new(verifier);
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let verifier = Arc::clone(&verifier);
                tokio::spawn(async move { verify(&verifier, "a").await.unwrap().from })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn failures_are_not_remembered() {
        let (verifier, calls) = verifier("60s", |call| match call {
            0 => Err(Unavailable::ServerError),
            _ => Ok(r#"{"active":true}"#),
        });
        assert_eq!(
            verify(&verifier, "a").await.unwrap_err(),
            NoVerdict::Unavailable(Unavailable::ServerError)
        );
        assert_eq!(verify(&verifier, "a").await.unwrap().from, From::Fetched);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn inactive_is_remembered_apart() {
        let (verifier, calls) = verifier("60s", |_| Ok(r#"{"active":false}"#));
        for _ in 0..3 {
            assert!(matches!(
                verify(&verifier, "a").await.unwrap().verdict,
                Verdict::Inactive
            ));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(verifier.cached(), (0, 1));
    }

    #[tokio::test]
    async fn an_answer_that_is_over_already_is_not_kept() {
        let (verifier, calls) = verifier("60s", |_| Ok(r#"{"active":true,"exp":1}"#));
        verify(&verifier, "a").await.unwrap();
        verify(&verifier, "a").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        assert_eq!(verifier.cached(), (0, 0));
    }

    #[tokio::test]
    async fn a_life_of_zero_keeps_nothing() {
        let (verifier, calls) = verifier("0s", |_| Ok(r#"{"active":true}"#));
        verify(&verifier, "a").await.unwrap();
        verify(&verifier, "a").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn lives_end_at_exp_or_at_max_ttl() {
        let grant = |json: &str| match Verdict::parse(json.as_bytes(), &Arc::default()) {
            Ok(Verdict::Active(grant)) => grant,
            other => panic!("{other:?}"),
        };
        let max = Duration::from_secs(60);
        for (json, expected) in [
            (r#"{"active":true}"#, 60),
            (r#"{"active":true,"exp":1010}"#, 10),
            (r#"{"active":true,"exp":1000}"#, 0),
            (r#"{"active":true,"exp":-5}"#, 0),
            (r#"{"active":true,"exp":9223372036854775807}"#, 60),
        ] {
            assert_eq!(life(&grant(json), max, 1_000).as_secs(), expected, "{json}");
        }
    }
}
