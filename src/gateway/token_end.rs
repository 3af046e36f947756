//! Streams and WebSockets that end when their token does.
//!
//! A watch of its own sleeps until the token ends or has to be asked about again, and then shuts the
//! connection to the upstream, which ends the request however quiet it is. Such a request has its
//! upstream connection to itself, so that nobody else's goes with it.

use std::{
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::{Error, ErrorType, OrErr, proxy::Session, upstreams::peer::HttpPeer};
use tokio::task::JoinHandle;

use super::{Snapshot, context::Context, refusal::Refusal};
use crate::{
    auth::{Moment, NoVerdict, Unavailable},
    domain::{AccessToken, Denial, Grant, Policy, Secret, UnixSeconds, Verdict},
    telemetry::TraceContext,
};

/// A stream is not asked about more often, however short the life of an answer is.
const SHORTEST_USE: Duration = Duration::from_secs(1);
/// How soon a key manager that could not be asked is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// The watch over one request; ends with it.
pub struct TokenEnd {
    line: Arc<Line>,
    watch: JoinHandle<()>,
}

/// What the watch needs to know.
struct Watched {
    /// For the verifier in force at the time: a reload may replace it.
    current: Arc<ArcSwap<Snapshot>>,
    policy: Policy,
    grant: Arc<Grant>,
    /// The one that the route names.
    key_manager: Option<Box<str>>,
    /// Kept for as long as the request, whose header has it anyway.
    token: Secret,
    trace: TraceContext,
}

/// The connection to the upstream, and why it was cut.
#[derive(Debug, Default)]
pub struct Line {
    socket: Mutex<Option<TcpStream>>,
    ended: OnceLock<Refusal>,
}

/// Sets a watch on the request and its connection to `peer`, where the route asks for it.
///
/// # Errors
/// Never in practice: the request has passed by its token.
pub fn watch(
    peer: &mut HttpPeer,
    session: &Session,
    context: &mut Context,
    current: &Arc<ArcSwap<Snapshot>>,
) -> pingora::Result<()> {
    let Some(route) = context.known_route().filter(|route| route.end_with_token) else {
        return Ok(());
    };
    let (Err(policy), Some(grant)) = (route.access.without_token(), context.grant()) else {
        return Ok(());
    };
    if context.token_end.is_none() {
        let request = session.req_header();
        let Ok(token) = route.token(&request.headers, request.uri.query()) else {
            return Error::e_explain(ErrorType::InternalError, "a permit without a token");
        };
        let watched = Watched {
            current: Arc::clone(current),
            policy: policy.clone(),
            grant: Arc::clone(grant),
            key_manager: route.key_manager.clone(),
            token: Secret::new(token.expose()),
            trace: context.trace.child(),
        };
        context.token_end = Some(TokenEnd::of(watched));
    }
    if let Some(token_end) = &context.token_end {
        token_end.attach(peer);
    }
    Ok(())
}

impl TokenEnd {
    fn of(watched: Watched) -> Self {
        let line = Arc::new(Line::default());
        let watch = {
            let line = Arc::clone(&line);
            tokio::spawn(async move { line.cut(watched.until_it_ends().await) })
        };
        Self { line, watch }
    }

    /// Makes the request's connection one of its own that can be cut.
    fn attach(&self, peer: &mut HttpPeer) {
        let line = Arc::clone(&self.line);
        peer.group_key ^= fastrand::u64(1..);
        // Nobody else can use it, so it is not kept.
        peer.options.idle_timeout = Some(Duration::ZERO);
        peer.options.upstream_tcp_sock_tweak_hook =
            Some(Arc::new(move |socket| line.hold(socket.as_fd())));
    }

    /// The connection that the watch cuts.
    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// Why the request was cut, if it was.
    pub fn ended(&self) -> Option<&Refusal> {
        self.line.ended.get()
    }
}

impl Drop for TokenEnd {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Line {
    /// Keeps a second handle on the socket: by it the watch can shut what Pingora reads from.
    pub fn hold(&self, socket: BorrowedFd<'_>) -> pingora::Result<()> {
        let handle = socket.try_clone_to_owned();
        let handle = handle.or_err(ErrorType::SocketError, "no second handle on a socket")?;
        let mut held = self.socket.lock();
        if self.ended.get().is_some() {
            return Error::e_explain(ErrorType::ConnectError, "the token has ended");
        }
        *held = Some(TcpStream::from(handle));
        Ok(())
    }

    fn cut(&self, why: Refusal) {
        let mut held = self.socket.lock();
        let first = self.ended.set(why).is_ok();
        if let (true, Some(socket)) = (first, held.take()) {
            // One that is closed already needs no shutting.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Watched {
    async fn until_it_ends(mut self) -> Refusal {
        let mut due = Instant::now() + self.longest_use();
        let mut doubted: Option<Instant> = None;
        loop {
            let end = self.time_left();
            let wait = due.saturating_duration_since(Instant::now());
            tokio::time::sleep(end.map_or(wait, |end| end.min(wait))).await;
            let known = Verdict::Active(Arc::clone(&self.grant));
            if let Err(denial) = self.policy.check(&known, Moment::now().unix, true) {
                return denial.into();
            }
            if Instant::now() < due {
                continue;
            }
            match self.ask().await {
                Ok(verdict) => {
                    match self.policy.check(&verdict, Moment::now().unix, false) {
                        Ok(permit) => self.grant = permit.grant().cloned().unwrap_or(self.grant),
                        Err(denial) => return denial.into(),
                    }
                    (due, doubted) = (Instant::now() + self.longest_use(), None);
                }
                Err(NoVerdict::Untrusted(fault)) => return Denial::BadJwt(fault).into(),
                // An answer is used twice as long, and then not without another one.
                Err(NoVerdict::Unavailable(unavailable)) => {
                    let since = *doubted.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.longest_use() {
                        return unavailable.into();
                    }
                    due = Instant::now() + RETRY.min(self.longest_use());
                }
            }
        }
    }

    /// How long an answer of the key manager is used.
    fn longest_use(&self) -> Duration {
        let current = self.current.load();
        let verifier = current.verifier.as_ref();
        verifier.map_or(SHORTEST_USE, |verifier| {
            verifier.longest_use().max(SHORTEST_USE)
        })
    }

    /// Until `exp`, with the leeway of the policy.
    fn time_left(&self) -> Option<Duration> {
        let leeway = UnixSeconds::try_from(self.policy.clock_skew.as_secs()).ok()?;
        let end = self.grant.expires_at()?.saturating_add(leeway);
        let left = end.saturating_sub(Moment::now().unix);
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    async fn ask(&self) -> Result<Verdict, NoVerdict> {
        let verifier = self.current.load().verifier.clone();
        let verifier = verifier.ok_or(Unavailable::Lost)?;
        // It has been one before.
        let token = AccessToken::parse(self.token.expose().as_bytes());
        let token = token.map_err(|_| Unavailable::Lost)?;
        let named = self.key_manager.as_deref();
        let (key, known) = verifier.recall(token, named, Instant::now());
        match known {
            Some(verified) => Ok(verified.verdict),
            None => {
                let verified = verifier.fetch(key, token, named, &self.trace).await?;
                Ok(verified.verdict)
            }
        }
    }
}
