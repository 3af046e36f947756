//! The token cache against two well-known ones: time of a look-up with insert on a miss, and how
//! many look-ups hit.
//!
//! The same work for all: a key of 32 bytes that hashes by its first eight, a value of one shared
//! grant with its time of expiry, the expiry compared on every hit. Ours also counts hits and
//! misses, keeps a histogram of lives left, and is bounded by bytes besides entries; the others
//! count nothing.
//!
//! Hit ratios: `cargo bench --bench token_cache -- --hit-ratios`.

use std::{
    hash::BuildHasherDefault,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use divan::{Bencher, counter::ItemsCount};
use portcullis::{
    auth::{Lookup, TokenCache},
    config::{Environment, Source, load_source},
    domain::{AccessToken, Grant, TokenDigester, TokenKey, Verdict},
    metrics::Metrics,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SMALL: usize = 10_000;
const LARGE: usize = 1_000_000;
/// Look-ups in one measured turn: long enough that reading the clock does not count.
const TURN: usize = 20_000;
const LIFE: Duration = Duration::from_secs(3600);

fn main() {
    if std::env::args().any(|argument| argument == "--hit-ratios") {
        print_hit_ratios();
    } else {
        divan::main();
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ours,
    Moka,
    QuickCache,
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Zipf,
    Uniform,
}

const KINDS: [Kind; 3] = [Kind::Ours, Kind::Moka, Kind::QuickCache];

/// All keys fit: what a look-up costs when nothing is evicted.
#[divan::bench(args = cases(), threads = [1, 2], sample_count = 30, sample_size = 1)]
fn all_fit(bencher: Bencher, case: &Case) {
    run(bencher, case, case.keys);
}

/// One key in ten fits: look-ups, inserts and evictions, as many as the policy makes of them.
#[divan::bench(args = cases(), threads = [1, 2], sample_count = 30, sample_size = 1)]
fn one_in_ten_fits(bencher: Bencher, case: &Case) {
    run(bencher, case, case.keys / 10);
}

struct Case {
    keys: usize,
    pattern: Pattern,
    kind: Kind,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {} keys, {:?}", self.pattern, self.keys, self.kind)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for keys in [SMALL, LARGE] {
        for pattern in [Pattern::Zipf, Pattern::Uniform] {
            cases.extend(KINDS.map(|kind| Case {
                keys,
                pattern,
                kind,
            }));
        }
    }
    cases
}

fn run(bencher: Bencher, case: &Case, capacity: usize) {
    let cache = case.kind.build(capacity);
    let keys = keys(case.keys);
    let draws = draws(case.keys, case.pattern);
    let now = Instant::now();
    let (before, draws) = draws.split_at(DRAWS / 2);
    warm(&*cache, keys, before, now);
    let turns = AtomicUsize::new(0);
    bencher.counter(ItemsCount::new(TURN)).bench(|| {
        // Threads and turns go through the draws at places of their own.
        let begin = turns.fetch_add(1, Ordering::Relaxed) * TURN;
        let mut hits = 0;
        for step in begin..begin + TURN {
            hits += usize::from(ask(&*cache, &keys[draws[step % draws.len()] as usize], now));
        }
        hits
    });
}

/// Fills a cache the way that traffic does.
fn warm(cache: &dyn Cache, keys: &[TokenKey], draws: &[u32], now: Instant) {
    for key in keys {
        ask(cache, key, now);
    }
    for draw in draws {
        ask(cache, &keys[*draw as usize], now);
    }
}

/// Looks up, and inserts on a miss; says whether it was a hit.
fn ask(cache: &dyn Cache, key: &TokenKey, now: Instant) -> bool {
    let hit = cache.get(key, now).is_some();
    if !hit {
        cache.insert(*key, Arc::clone(&GRANT), now);
    }
    hit
}

trait Cache: Sync {
    fn get(&self, key: &TokenKey, now: Instant) -> Option<Arc<Grant>>;
    fn insert(&self, key: TokenKey, grant: Arc<Grant>, now: Instant);
}

impl Kind {
    fn build(self, capacity: usize) -> Box<dyn Cache> {
        match self {
            Self::Ours => Box::new(ours(capacity)),
            Self::Moka => Box::new(
                moka::sync::Cache::builder()
                    .max_capacity(capacity as u64)
                    .build_with_hasher(Hasher::default()),
            ),
            Self::QuickCache => Box::new(QuickCache::with(
                capacity,
                capacity as u64,
                quick_cache::UnitWeighter,
                Hasher::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            )),
        }
    }
}

fn ours(capacity: usize) -> TokenCache {
    let text = format!(
        "[keyManager]\nintrospectUrl = \"http://127.0.0.1:1/i\"\n[token_cache]\n\
         max_entries = {capacity}\nmax_bytes = \"8GiB\""
    );
    let settings = load_source(Source::memory(text), &Environment::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .settings;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    TokenCache::new(&settings.token_cache, metrics)
}

impl Cache for TokenCache {
    fn get(&self, key: &TokenKey, now: Instant) -> Option<Arc<Grant>> {
        match self.lookup(key, now) {
            Lookup::Active(grant, _) => Some(grant),
            _ => None,
        }
    }

    fn insert(&self, key: TokenKey, grant: Arc<Grant>, now: Instant) {
        self.insert_active(key, grant, now + LIFE, now);
    }
}

#[derive(Clone)]
struct Entry {
    grant: Arc<Grant>,
    expires: Instant,
}

impl Entry {
    fn alive(self, now: Instant) -> Option<Arc<Grant>> {
        (self.expires > now).then_some(self.grant)
    }
}

type Hasher = BuildHasherDefault<FirstBytes>;
type Moka = moka::sync::Cache<TokenKey, Entry, Hasher>;
type QuickCache = quick_cache::sync::Cache<TokenKey, Entry, quick_cache::UnitWeighter, Hasher>;

impl Cache for Moka {
    fn get(&self, key: &TokenKey, now: Instant) -> Option<Arc<Grant>> {
        self.get(key)?.alive(now)
    }

    fn insert(&self, key: TokenKey, grant: Arc<Grant>, now: Instant) {
        let expires = now + LIFE;
        self.insert(key, Entry { grant, expires });
    }
}

impl Cache for QuickCache {
    fn get(&self, key: &TokenKey, now: Instant) -> Option<Arc<Grant>> {
        self.get(key)?.alive(now)
    }

    fn insert(&self, key: TokenKey, grant: Arc<Grant>, now: Instant) {
        let expires = now + LIFE;
        self.insert(key, Entry { grant, expires });
    }
}

/// The key hands over eight bytes of a digest: they are the hash.
#[derive(Default)]
struct FirstBytes(u64);

impl std::hash::Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

static GRANT: LazyLock<Arc<Grant>> = LazyLock::new(|| {
    let answer = br#"{"active":true,"client_id":"bench","sub":"somebody","scope":"orders.read"}"#;
    match Verdict::parse(answer, &Arc::default()) {
        Ok(Verdict::Active(grant)) => grant,
        other => panic!("{other:?}"),
    }
});

static KEYS: LazyLock<Vec<TokenKey>> = LazyLock::new(|| {
    let digester = TokenDigester::new(&[7; 32], &["bench", "bench"]);
    (0..LARGE)
        .map(|number| {
            let token = format!("token-{number:030}");
            digester.digest(AccessToken::parse(token.as_bytes()).expect("a token"))
        })
        .collect()
});

fn keys(count: usize) -> &'static [TokenKey] {
    &KEYS[..count]
}

/// Which keys are asked for, one after the other: drawn once, so that drawing is not measured.
fn draws(keys: usize, pattern: Pattern) -> &'static [u32] {
    static SMALL_ZIPF: LazyLock<Vec<u32>> = LazyLock::new(|| zipf(SMALL));
    static LARGE_ZIPF: LazyLock<Vec<u32>> = LazyLock::new(|| zipf(LARGE));
    static SMALL_UNIFORM: LazyLock<Vec<u32>> = LazyLock::new(|| uniform(SMALL));
    static LARGE_UNIFORM: LazyLock<Vec<u32>> = LazyLock::new(|| uniform(LARGE));
    match (pattern, keys) {
        (Pattern::Zipf, SMALL) => &SMALL_ZIPF,
        (Pattern::Zipf, _) => &LARGE_ZIPF,
        (Pattern::Uniform, SMALL) => &SMALL_UNIFORM,
        (Pattern::Uniform, _) => &LARGE_UNIFORM,
    }
}

const DRAWS: usize = 4_000_000;

/// The n-th most popular key is asked for 1/n as often as the first.
fn zipf(keys: usize) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut sums = Vec::with_capacity(keys);
    let mut sum = 0.0;
    for rank in 1..=keys {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let draw = |_| {
        let place = random.f64() * sum;
        sums.partition_point(|sum| *sum < place).min(keys - 1) as u32
    };
    (0..DRAWS).map(draw).collect()
}

fn uniform(keys: usize) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(2);
    (0..DRAWS).map(|_| random.u32(..keys as u32)).collect()
}

/// Of the second half of the draws, on a cache that holds a tenth of the keys and saw the first half.
fn print_hit_ratios() {
    println!("hit ratio, capacity one key in ten:");
    for case in cases() {
        let cache = case.kind.build(case.keys / 10);
        let (keys, draws) = (keys(case.keys), draws(case.keys, case.pattern));
        let now = Instant::now();
        let (before, draws) = draws.split_at(DRAWS / 2);
        warm(&*cache, keys, before, now);
        let hits = draws
            .iter()
            .filter(|draw| ask(&*cache, &keys[**draw as usize], now))
            .count();
        let name = case.to_string();
        println!("  {name:<32} {:.4}", hits as f64 / draws.len() as f64);
    }
}
