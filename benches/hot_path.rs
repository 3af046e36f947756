//! What the gateway adds to a request whose token is cached: token out of the header, digest,
//! look-up, policy. Budget: 1 µs, and no heap allocation, which is checked before anything is timed.
//!
//! `cargo bench --bench hot_path -- --count N` runs the path N times and nothing else, for
//! `benches/instructions.sh`; `--look-up ROUTES N` does it with the look-up of a route.

use std::{
    hint::black_box,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use divan::{AllocProfiler, Bencher};
use http::{HeaderMap, HeaderValue, header};
use portcullis::{
    auth::{Introspect, Issuers, Question, TokenCache, Unavailable, Verified, Verifier},
    config::{Environment, Settings, Source, load_source},
    domain::{
        AccessToken, KnownMethod, Permit, Policy, Quota, RequestPath, RouteTable, Routed, Tier,
        TierKind, TokenDigester, Verdict, extract,
    },
    limits::{At, Claim, TierCounts},
    metrics::Metrics,
    telemetry::TraceContext,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler<mimalloc::MiMalloc> = AllocProfiler::new(mimalloc::MiMalloc);

const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA-0123456789abc";
const ANSWER: &str = r#"{"active":true,"client_id":"web-shop","sub":"Z5O3upPC88QrAjx00dis",
    "username":"jdoe","scope":"orders.read orders.write profile","token_type":"Bearer",
    "iss":"https://id.example.com","aud":"orders","iat":1700000000,"exp":4000000000}"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, count, ..] = &arguments[..]
        && flag == "--count"
    {
        return repeat(count.parse().expect("a number"));
    }
    if let [flag, routes, count, ..] = &arguments[..]
        && flag == "--look-up"
    {
        let look_up = LookUp::new(routes.parse().expect("a number"));
        for _ in 0..count.parse().expect("a number") {
            look_up.find().expect("a route");
        }
        return;
    }
    // Asked for one by its name: the check asks so itself.
    if !arguments.iter().any(|argument| argument == "--exact") {
        check_that_a_hit_allocates_nothing();
    }
    divan::main();
}

/// The whole: what every request with a known token goes through.
#[divan::bench]
fn hit(bencher: Bencher) {
    let path = HitPath::new();
    bencher.bench_local(|| path.walk(black_box(&path.headers)));
}

#[divan::bench]
fn part_1_extract(bencher: Bencher) {
    let path = HitPath::new();
    bencher.bench_local(|| extract(black_box(&path.headers), Some("page=2")).is_ok());
}

#[divan::bench]
fn part_2_digest(bencher: Bencher) {
    let digester = TokenDigester::new(
        &[7; 32],
        &["https://id.example.com/introspect", "basic:gateway"],
    );
    let token = AccessToken::parse(TOKEN.as_bytes()).expect("a token");
    bencher.bench_local(|| digester.digest(black_box(token)));
}

#[divan::bench]
fn part_2_and_3_digest_and_look_up(bencher: Bencher) {
    let path = HitPath::new();
    let token = AccessToken::parse(TOKEN.as_bytes()).expect("a token");
    bencher.bench_local(|| {
        path.verifier
            .recall(black_box(token), None, path.now)
            .1
            .is_some()
    });
}

#[divan::bench]
fn part_4_policy(bencher: Bencher) {
    let path = HitPath::new();
    let verdict = path.verdict();
    bencher.bench_local(|| path.policy().check(black_box(&verdict), NOW, true).is_ok());
}

/// What a request counts for on a route with every kind of tier.
#[divan::bench]
fn tiers_of_all_kinds(bencher: Bencher) {
    let counts = TierCounts::default();
    let tier = Tier {
        quota: Some(Quota {
            requests: u64::from(u32::MAX),
            per: Duration::from_secs(60),
        }),
        rate: None,
    };
    let kinds = TierKind::ALL.into_iter().zip(1..);
    let claims: Vec<_> = kinds
        .map(|(kind, key)| Some(Claim { kind, key, tier }))
        .collect();
    let at = At {
        instant: Instant::now(),
        unix: NOW,
    };
    let take = || counts.take(black_box(&claims), at).is_ok();
    // The first request of anybody makes room for the count.
    assert!(take());
    bencher.bench_local(take);
}

#[divan::bench]
fn path_normal_form() -> bool {
    RequestPath::parse(black_box("/service-7/orders/12345/items")).is_ok()
}

/// Whatever their number, it costs the same: a table of 10,000 routes on 100 hosts.
#[divan::bench(args = [10, 10_000])]
fn route_look_up(bencher: Bencher, routes: usize) {
    let look_up = LookUp::new(routes);
    bencher.bench_local(|| look_up.find().expect("a route"));
}

/// A request for a route in the middle of a table.
struct LookUp {
    settings: Settings,
    host: String,
    path: String,
    headers: HeaderMap,
}

impl LookUp {
    fn new(routes: usize) -> Self {
        let middle = routes / 2;
        Self {
            settings: settings(routes),
            host: host(middle),
            path: format!("/service-{middle}/orders/12345/items"),
            headers: HeaderMap::new(),
        }
    }

    fn find(&self) -> Option<usize> {
        find(
            &self.settings.routes,
            black_box(&self.host),
            black_box(&self.path),
            &self.headers,
        )
    }
}

/// Every other host has its routes by a wildcard.
fn host(route: usize) -> String {
    match route % 100 {
        team if team % 2 == 0 => format!("team{team}.example.com"),
        team => format!("api.team{team}.example.com"),
    }
}

fn find(routes: &RouteTable, host: &str, path: &str, headers: &HeaderMap) -> Option<usize> {
    let path = RequestPath::parse(path).ok()?;
    match routes.find(host, KnownMethod::Get, &path.matched, headers) {
        Routed::To(position) => Some(position),
        _ => None,
    }
}

/// Seconds since 1970 at which the token of [`ANSWER`] is valid.
const NOW: i64 = 1_800_000_000;

/// A verifier that knows the token, and a request that carries it.
struct HitPath {
    settings: Settings,
    verifier: Verifier,
    headers: HeaderMap,
    now: Instant,
}

impl HitPath {
    fn new() -> Self {
        let settings = settings(10);
        let verifier = verifier(&settings);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("api.example.com"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("bench"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let credential = HeaderValue::from_str(&format!("Bearer {TOKEN}")).expect("a header");
        headers.insert(header::AUTHORIZATION, credential);
        let path = Self {
            settings,
            verifier,
            headers,
            now: Instant::now(),
        };
        path.learn();
        path
    }

    /// Fetches the token once, so that the cache has it.
    fn learn(&self) {
        let token = AccessToken::parse(TOKEN.as_bytes()).expect("a token");
        let (key, known) = self.verifier.recall(token, None, self.now);
        assert!(known.is_none(), "nothing is known at the start");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime
            .block_on(self.verifier.fetch(key, token, None, &TraceContext::NONE))
            .expect("the fake answers");
    }

    fn policy(&self) -> &Policy {
        let access = &self.settings.routes.route(0).access;
        access.without_token().expect_err("a protected route")
    }

    fn verdict(&self) -> Verdict {
        let token = AccessToken::parse(TOKEN.as_bytes()).expect("a token");
        let (_, known) = self.verifier.recall(token, None, self.now);
        known.expect("a hit").verdict
    }

    fn walk(&self, headers: &HeaderMap) -> Permit {
        let token = extract(headers, Some("page=2")).expect("a token");
        let (_, known) = self.verifier.recall(token, None, self.now);
        let Verified { verdict, .. } = known.expect("a hit");
        self.policy().check(&verdict, NOW, true).expect("a permit")
    }
}

fn settings(routes: usize) -> Settings {
    let mut text = String::from(
        "[keyManager]\nintrospectUrl = \"http://127.0.0.1:1/introspect\"\n\
         [token_cache]\nmax_ttl = \"15m\"\n",
    );
    for number in 0..routes {
        text += &format!(
            "[[route]]\nname = \"r{number}\"\nhost = \"{}\"\npath = \"/service-{number}/orders/:id/*\"\n\
             scopes = [\"orders.read\", \"orders.write\"]\nupstream = \"http://127.0.0.1:2\"\n",
            host(number).replace("api.", "*.")
        );
    }
    load_source(Source::memory(text), &Environment::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .settings
}

struct Fake;

#[async_trait]
impl Introspect for Fake {
    async fn introspect(&self, _: &Question) -> Result<Verdict, Unavailable> {
        Ok(Verdict::parse(ANSWER.as_bytes(), &Arc::default()).expect("an answer"))
    }
}

fn verifier(settings: &Settings) -> Verifier {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Verifier::new(
        vec![(&settings.key_managers[0], Arc::new(Fake))],
        Issuers::default(),
        &settings.token_cache,
        &[7; 32],
        Arc::new(TokenCache::new(&settings.token_cache, Arc::clone(&metrics))),
        &metrics,
    )
}

fn repeat(count: u64) {
    let path = HitPath::new();
    for _ in 0..count {
        black_box(path.walk(black_box(&path.headers)));
    }
}

/// Runs two benchmarks in a process of its own and reads what divan says of allocations: of the hit,
/// nothing; of the control, something, or the profiler does not look.
fn check_that_a_hit_allocates_nothing() {
    assert!(
        seen_allocating("hot_path::control_one_box"),
        "the profiler sees no allocation where there is one"
    );
    for path in ["hit", "tiers_of_all_kinds"] {
        let name = format!("hot_path::{path}");
        assert!(!seen_allocating(&name), "a {path} must not allocate");
    }
    println!("heap allocations on a hit, and for its tiers: 0 (and the control's were seen)");
}

fn seen_allocating(name: &str) -> bool {
    let itself = std::env::current_exe().expect("a path");
    let output = Command::new(itself)
        .args(["--bench", "--sample-count", "50", "--exact", name])
        .output()
        .expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("fastest"),
        "{text}"
    );
    text.contains("alloc:")
}

#[divan::bench]
fn control_one_box(bencher: Bencher) {
    bencher.bench_local(|| drop(black_box(Box::new([0_u8; 64]))));
}
