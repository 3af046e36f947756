//! The table of subscriptions at the size that it is made for: how long it takes to fill, what a row
//! costs, and how long a request asks, also while all rows come in anew. Budgets: 10 s, 100 bytes,
//! 200 ns, and no heap allocation.

use std::{
    hint::black_box,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use divan::{AllocProfiler, Bencher};
use portcullis::{
    domain::{
        Api, ApiIdentity, Application, KeyMapping, KeyType, Outcome, Row, RowKind, Subscription,
        SubscriptionState,
    },
    subscription::{Sought, Table},
};

#[global_allocator]
static ALLOCATOR: AllocProfiler<mimalloc::MiMalloc> = AllocProfiler::new(mimalloc::MiMalloc);

const SUBSCRIPTIONS: u32 = 1_000_000;
const APPLICATIONS: u32 = 100_000;
const APIS: u32 = 1_000;
const TIERS: [&str; 4] = ["Unlimited", "Gold", "Silver", "Bronze"];
const CHECKS: u32 = 1_000_000;

fn main() {
    // Asked for one by its name: the check asks so itself.
    if std::env::args().any(|argument| argument == "--exact") {
        return divan::main();
    }
    assert!(
        seen_allocating("subscriptions::control_one_box"),
        "the profiler sees no allocation where there is one"
    );
    assert!(
        !seen_allocating("subscriptions::check"),
        "a check must not allocate"
    );
    println!("heap allocations of a check: 0 (and the control's were seen)");
    let before = resident();
    let table = Table::new(Arc::default());
    let began = Instant::now();
    fill(&table, SUBSCRIPTIONS, 1_000);
    let took = began.elapsed();
    let bytes = resident().saturating_sub(before);
    println!("{SUBSCRIPTIONS} subscriptions, {APPLICATIONS} applications, {APIS} APIs");
    println!(
        "filled in {took:.2?}; {} bytes for each subscription",
        bytes / u64::from(SUBSCRIPTIONS)
    );
    assert_eq!(table.count(RowKind::Subscriptions), SUBSCRIPTIONS as usize);
    for clients in [1, 100, 1_000, 10_000, 100_000] {
        let time = Asked::new(clients).time(&table);
        println!("a check, of any of {clients} clients: {time} ns");
    }
    println!(
        "for comparison, one read of memory that is in no cache: {} ns",
        cold_read()
    );
    beside_a_reading(&table, &Asked::new(APPLICATIONS));
}

#[divan::bench]
fn check(bencher: Bencher) {
    let table = Table::new(Arc::default());
    fill(&table, 1_000, 1_000);
    let asked = Asked::new(100);
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        assert!(matches!(asked.ask(&table, number), Outcome::Known(_)));
    });
}

#[divan::bench]
fn control_one_box(bencher: Bencher) {
    bencher.bench_local(|| Box::new(black_box(1)));
}

/// Runs a benchmark in a process of its own and reads what divan says of allocations.
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

/// Each application has `subscriptions / applications` APIs, and one key.
fn fill(table: &Table, subscriptions: u32, at: u64) {
    let applications = subscriptions / 10;
    let list = |kind, rows: &mut dyn Iterator<Item = Row>| {
        assert!(table.load(kind, rows, at).is_some());
    };
    list(
        RowKind::Applications,
        &mut (0..applications).map(application),
    );
    list(RowKind::KeyMappings, &mut (0..applications).map(key));
    list(RowKind::Apis, &mut (0..APIS).map(api));
    list(
        RowKind::Subscriptions,
        &mut (0..subscriptions).map(subscription),
    );
}

fn application(id: u32) -> Row {
    Row::Application(Application {
        id,
        uuid: Some(format!("3f2504e0-4f89-11d3-9a0c-{id:012}").into()),
        name: format!("application-{id}").into(),
        owner: format!("owner-{}", id % 1000).into(),
        policy: "Unlimited".into(),
    })
}

fn client_id(application: u32) -> String {
    format!("ConsumerKeyOfApplication{application:06}") // of CLIENT_ID bytes
}

fn key(application: u32) -> Row {
    Row::KeyMapping(KeyMapping {
        consumer_key: client_id(application).into(),
        key_manager: "Resident Key Manager".into(),
        application,
        key_type: KeyType::Production,
    })
}

fn api(id: u32) -> Row {
    Row::Api(Api {
        id,
        name: format!("Api{id}").into(),
        version: "1.0.0".into(),
        context: format!("/api{id}/1.0.0").into(),
        provider: "admin".into(),
        policy: None,
    })
}

/// The API of the subscription with this number.
fn api_of(number: u32) -> u32 {
    (number / 10).wrapping_mul(7) % APIS / 10 * 10 + number % 10
}

fn subscription(number: u32) -> Row {
    Row::Subscription(Subscription {
        application: number / 10,
        api: api_of(number),
        policy: TIERS[number as usize % TIERS.len()].into(),
        state: SubscriptionState::Unblocked,
    })
}

/// What requests ask, in their order, so that reading them costs nothing that a request would not pay.
struct Asked {
    clients: String,
    apis: Vec<Sought>,
    /// The positions of the APIs.
    requests: Vec<u32>,
}

/// Bytes of a client id.
const CLIENT_ID: usize = 30;

impl Asked {
    /// By any of so many clients, about one of its APIs.
    fn new(clients: u32) -> Self {
        let apis = (0..APIS).map(|id| {
            Sought::new(ApiIdentity {
                name: format!("Api{id}").into(),
                version: "1.0.0".into(),
                context: Some(format!("/api{id}").into()),
            })
        });
        let mut random = fastrand::Rng::with_seed(7);
        let mut asked = Self {
            clients: String::new(),
            apis: apis.collect(),
            requests: Vec::new(),
        };
        for _ in 0..CHECKS {
            let client = random.u32(..clients);
            asked.clients.push_str(&client_id(client));
            asked.requests.push(api_of(client * 10 + random.u32(..10)));
        }
        asked
    }

    fn ask(&self, table: &Table, number: usize) -> Outcome {
        let number = number % self.requests.len();
        let client = &self.clients[number * CLIENT_ID..][..CLIENT_ID];
        let api = &self.apis[self.requests[number] as usize];
        table.check(black_box(client), None, api)
    }

    /// Nanoseconds of processor time for a check.
    fn time(&self, table: &Table) -> u64 {
        let before = processor_time();
        for number in 0..CHECKS as usize {
            assert!(matches!(self.ask(table, number), Outcome::Known(_)));
        }
        (processor_time() - before) / u64::from(CHECKS)
    }
}

/// Nanoseconds for a read whose place the one before it tells, in as much memory as the table has.
fn cold_read() -> u64 {
    const LINE: usize = 16; // words of a cache line
    const LINES: usize = 80 << 20 >> 6;
    let mut order: Vec<u32> = (0..LINES as u32).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut order);
    let mut memory = vec![0; LINES * LINE];
    for (place, next) in order.iter().zip(order.iter().cycle().skip(1)) {
        memory[*place as usize * LINE] = *next;
    }
    let (before, mut place) = (processor_time(), 0);
    for _ in 0..CHECKS {
        place = memory[place as usize * LINE];
    }
    black_box(place);
    (processor_time() - before) / u64::from(CHECKS)
}

/// Checks while every row comes in again, and again.
fn beside_a_reading(table: &Table, asked: &Asked) {
    let over = AtomicBool::new(false);
    let (readings, mut times) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut at = 2_000;
            while !over.load(Ordering::Relaxed) {
                fill(table, SUBSCRIPTIONS, at);
                at += 1;
            }
            at - 2_000
        });
        let began = Instant::now();
        let mut times = Vec::with_capacity(50_000_000);
        while began.elapsed() < Duration::from_secs(5) {
            for _ in 0..100 {
                let asked_at = Instant::now();
                let outcome = asked.ask(table, times.len());
                times.push(u32::try_from(asked_at.elapsed().as_nanos()).unwrap_or(u32::MAX));
                assert!(matches!(outcome, Outcome::Known(_)));
            }
        }
        over.store(true, Ordering::Relaxed);
        (reading.join().expect("readings"), times)
    });
    times.sort_unstable();
    let at = |part: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let position = (times.len() as f64 * part) as usize;
        times[position.min(times.len() - 1)]
    };
    println!(
        "beside {readings} readings of all rows: {} checks, median {} ns, 99 % {} ns, 99.9 % {} ns, longest {} µs",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0) / 1000
    );
}

/// Time that this thread has had a processor, in nanoseconds: others may use the machine, too.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let time = text.split(' ').next().expect("a time");
    time.parse().expect("a number")
}

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .expect("pages")
        .parse()
        .expect("a number");
    pages * 4096
}
