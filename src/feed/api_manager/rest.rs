//! Questions to the internal data API. They block.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use ureq::{Agent, Body};

use super::{
    clock::Clock,
    list::{Broken, List, RawRow},
    row,
};
use crate::{
    auth::{NoReply, agent, basic},
    config::{CredentialEncoding, EventHubSettings},
    domain::{Millis, Row, RowKind},
    metrics::{ApiManagerMetrics, ApiManagerOutcome, RowFault as Fault},
};

/// For a whole list: API Manager makes it of its database before it begins to answer.
const LIST_TIMEOUT: Duration = Duration::from_secs(300);
/// For a question about one row, for which a request may wait.
const ROW_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer to a question about one row, in bytes.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// The data API of an API Manager.
pub struct Rest {
    agent: Agent,
    /// Without a slash at its end.
    data_url: String,
    authorization: HeaderValue,
    tenant: Option<HeaderValue>,
    max_list_bytes: u64,
    /// What is asked for from now on is at least as new as this, whatever a clock of whole seconds says.
    newest: AtomicU64,
    clock: Arc<Clock>,
    metrics: Arc<ApiManagerMetrics>,
}

/// Takes the rows of an answer.
pub trait Sink {
    /// The rows are to come, as they were at this time by the clock of the API Manager. False: they are
    /// not wanted.
    fn begin(&mut self, at: Millis) -> bool;
    fn put(&mut self, row: Row);
    /// One that cannot be used.
    fn skip(&mut self, fault: Fault);
}

/// Why an API Manager's answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    Unreachable(String),
    Timeout,
    /// 401 or 403.
    Refused,
    Status(StatusCode),
    TooLarge,
    /// It ends early, or is no list.
    Broken,
}

impl NoAnswer {
    fn outcome(&self) -> ApiManagerOutcome {
        match self {
            Self::Unreachable(_) => ApiManagerOutcome::ConnectError,
            Self::Timeout => ApiManagerOutcome::Timeout,
            Self::Refused => ApiManagerOutcome::ClientRefused,
            Self::Status(_) => ApiManagerOutcome::HttpError,
            Self::TooLarge => ApiManagerOutcome::TooLarge,
            Self::Broken => ApiManagerOutcome::BadBody,
        }
    }
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::Timeout => f.write_str("it does not answer in time"),
            Self::Refused => f.write_str("it does not accept the name and password"),
            Self::Status(StatusCode::NOT_FOUND) => {
                f.write_str("it answers 404: the path of its data API is another one")
            }
            Self::Status(status) => write!(f, "it answers {}", status.as_u16()),
            Self::TooLarge => f.write_str("its answer is longer than is allowed"),
            Self::Broken => f.write_str("its answer breaks off, or is not a list"),
        }
    }
}

impl From<NoReply> for NoAnswer {
    fn from(fault: NoReply) -> Self {
        match fault {
            NoReply::Timeout => Self::Timeout,
            NoReply::TooLarge => Self::TooLarge,
            NoReply::Unreachable(why) => Self::Unreachable(why),
        }
    }
}

impl Rest {
    /// `max_list_bytes`: longest list that is read.
    pub fn new(
        settings: &EventHubSettings,
        max_list_bytes: u64,
        metrics: Arc<ApiManagerMetrics>,
    ) -> Self {
        let (name, password) = (&settings.username, settings.password.expose());
        let authorization = basic(name, password, CredentialEncoding::Raw)
            .unwrap_or_else(|_| unreachable!("Base64 has no odd characters"));
        Self {
            agent: agent(&settings.tls, LIST_TIMEOUT),
            data_url: settings
                .data_url
                .to_string()
                .trim_end_matches('/')
                .to_owned(),
            authorization,
            tenant: settings.tenant.clone(),
            max_list_bytes,
            newest: AtomicU64::new(0),
            clock: Arc::default(),
            metrics,
        }
    }

    /// That of the API Manager.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// All rows of a kind.
    ///
    /// # Errors
    /// What has been put into the sink until then is not all that there is.
    pub fn list(&self, kind: RowKind, sink: &mut impl Sink) -> Result<(), NoAnswer> {
        let limits = (LIST_TIMEOUT, self.max_list_bytes);
        self.count(kind, self.ask(kind, &[], limits, sink))
    }

    /// The rows that fit; none is an answer, too.
    ///
    /// # Errors
    /// Nobody knows whether there are some.
    pub fn find(
        &self,
        kind: RowKind,
        query: &[(&str, &str)],
        sink: &mut impl Sink,
    ) -> Result<(), NoAnswer> {
        let limits = (ROW_TIMEOUT, MAX_ANSWER_BYTES);
        self.count(kind, self.ask(kind, query, limits, sink))
    }

    fn count(&self, kind: RowKind, result: Result<(), NoAnswer>) -> Result<(), NoAnswer> {
        let outcome = result.as_ref().err().map(NoAnswer::outcome);
        self.metrics
            .asked(kind, outcome.unwrap_or(ApiManagerOutcome::Ok));
        result
    }

    fn ask(
        &self,
        kind: RowKind,
        query: &[(&str, &str)],
        (timeout, max_bytes): (Duration, u64),
        sink: &mut impl Sink,
    ) -> Result<(), NoAnswer> {
        let (asked, newest) = (Instant::now(), self.newest.load(Ordering::Acquire));
        let mut answer = self.send(&self.url(kind, query), timeout)?;
        let date = date(answer.headers());
        if let Some(date) = date {
            self.clock.set(date);
        }
        let at = begun_at(date, asked.elapsed()).max(newest);
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(NoAnswer::Refused),
            other => return Err(NoAnswer::Status(other)),
        }
        // A row that is found after a list must be newer than the list, in which it may be missing.
        let next = at + Millis::from(query.is_empty());
        self.newest.fetch_max(next, Ordering::AcqRel);
        if !sink.begin(at) {
            return Ok(());
        }
        let body = answer.body_mut().with_config().limit(max_bytes).reader();
        read(kind, body, sink)
    }

    fn send(&self, url: &str, timeout: Duration) -> Result<http::Response<Body>, NoAnswer> {
        let mut request = self
            .agent
            .get(url)
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, &self.authorization);
        if let Some(tenant) = &self.tenant {
            request = request.header("xWSO2Tenant", tenant);
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        request.call().map_err(|fault| NoReply::from(fault).into())
    }

    fn url(&self, kind: RowKind, query: &[(&str, &str)]) -> String {
        let mut url = format!("{}/{}", self.data_url, path(kind));
        if !query.is_empty() {
            let mut encoded = form_urlencoded::Serializer::new(String::new());
            encoded.extend_pairs(query);
            // A plus is a space in forms only.
            url = format!("{url}?{}", encoded.finish().replace('+', "%20"));
        }
        url
    }
}

/// Of the data API.
fn path(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Applications => "applications",
        RowKind::KeyMappings => "application-key-mappings",
        RowKind::Apis => "apis",
        RowKind::Subscriptions => "subscriptions",
        RowKind::ApplicationPolicies => "application-policies",
        RowKind::SubscriptionPolicies => "subscription-policies",
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// When the API Manager may first have looked at its rows, by its own clock: `Date` is when it began to
/// answer, in whole seconds, and it had been asked for some time then. Where it does not say, its clock
/// is taken to be ours.
fn begun_at(date: Option<SystemTime>, waited: Duration) -> Millis {
    let answered = date.unwrap_or_else(SystemTime::now);
    let begun = answered.checked_sub(waited).unwrap_or(UNIX_EPOCH);
    let since = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Puts the rows of an answer into a sink.
///
/// # Errors
/// It is not whole.
pub fn read(kind: RowKind, body: impl io::Read, sink: &mut impl Sink) -> Result<(), NoAnswer> {
    let mut list = List::new(body);
    loop {
        match list.next() {
            Ok(Some(RawRow::Text(text))) => match row::read(kind, text) {
                Ok(Some(row)) => sink.put(row),
                Ok(None) => {}
                Err(fault) => sink.skip(fault),
            },
            Ok(Some(RawRow::TooLong)) => sink.skip(Fault::OutOfRange),
            Ok(None) => return Ok(()),
            Err(Broken::Form) => return Err(NoAnswer::Broken),
            Err(Broken::Io(fault)) => return Err(broken_off(fault)),
        }
    }
}

fn broken_off(fault: io::Error) -> NoAnswer {
    match NoReply::from(ureq::Error::from(fault)) {
        // The answer had begun.
        NoReply::Unreachable(_) => NoAnswer::Broken,
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_list_is_before_it_was_made() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::DATE,
            HeaderValue::from_static("Thu, 01 Jan 1970 00:01:40 GMT"),
        );
        let began = date(&headers);
        assert_eq!(begun_at(began, Duration::from_millis(1500)), 98_500);
        assert_eq!(begun_at(began, Duration::from_secs(1000)), 0);
        headers.insert(header::DATE, HeaderValue::from_static("yesterday"));
        assert!(begun_at(date(&headers), Duration::ZERO) > 1_600_000_000_000);
    }

    #[test]
    fn queries_are_encoded() {
        let settings = EventHubSettings {
            data_url: "https://apim.example:9443/internal/data/v1"
                .parse()
                .unwrap(),
            username: "gateway".to_owned(),
            password: crate::domain::Secret::new("s3cret"),
            tenant: None,
            resync_interval: Duration::from_secs(1),
            tls: crate::config::TlsSettings::default(),
            events: None,
        };
        let metrics = crate::metrics::Metrics::new().unwrap().api_manager("a");
        let rest = Rest::new(&settings, 1 << 20, metrics);
        let query = [("consumerKey", "a+b c&d=é")];
        assert_eq!(
            rest.url(RowKind::KeyMappings, &query),
            "https://apim.example:9443/internal/data/v1/application-key-mappings?consumerKey=a%2Bb%20c%26d%3D%C3%A9"
        );
    }
}
