//! Revoked tokens: those that a broker tells of, and the list that is read at the start (`GET
//! …/revokedjwt` of API Manager).

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{StatusCode, header};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::interval,
};

use super::events::{Revoked, integer, unix_time};
use crate::{
    auth::{Backoff, NoReply, Revocations, agent, basic},
    config::{CredentialEncoding, RevocationListSettings},
    domain::UnixSeconds,
    metrics::RevocationMetrics,
};

/// How often tokens that have ended are looked for.
const PURGE: Duration = Duration::from_secs(30);
/// For the whole list.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest list that is read, in bytes: some hundred thousand tokens.
const MAX_LIST_BYTES: u64 = 64 * 1024 * 1024;
/// A date that is greater is in milliseconds: as seconds it would be in the year 5138.
const LEAST_MILLIS: i64 = 100_000_000_000;

/// Takes what a broker tells.
#[derive(Clone)]
pub struct Revoker {
    revocations: Arc<Revocations>,
    again: Arc<Notify>,
}

impl Revoker {
    /// `again` is told when the list should be read again.
    pub fn new(revocations: Arc<Revocations>, again: Arc<Notify>) -> Self {
        Self { revocations, again }
    }

    pub fn revoke(&self, revoked: &Revoked) {
        let now = now();
        let ends = ends(revoked, now);
        self.revocations.revoke(&revoked.token, ends, now);
    }

    /// Something may have been missed.
    pub fn reload(&self) {
        self.again.notify_one();
    }
}

/// Reads the list, and forgets tokens that have ended.
pub struct RevocationWatch {
    pub revocations: Arc<Revocations>,
    pub list: Option<RevocationListSettings>,
    pub again: Arc<Notify>,
    pub metrics: Arc<RevocationMetrics>,
}

impl RevocationWatch {
    /// Works until `stop` says true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            // A sender that is gone means the end as well.
            _ = stop.wait_for(|over| *over) => {}
            () = self.purge() => {}
            () = self.follow_list() => {}
        }
    }

    async fn purge(&self) {
        let mut ticks = interval(PURGE);
        loop {
            ticks.tick().await;
            self.revocations.purge(now());
        }
    }

    async fn follow_list(&self) {
        let Some(list) = &self.list else {
            return std::future::pending().await;
        };
        loop {
            self.read_until_it_succeeds(list).await;
            self.again.notified().await;
        }
    }

    async fn read_until_it_succeeds(&self, list: &RevocationListSettings) {
        let mut backoff = Backoff::default();
        loop {
            let (list, revocations) = (list.clone(), Arc::clone(&self.revocations));
            let work = move || read(&list, &revocations);
            let result = tokio::task::spawn_blocking(work).await;
            let fault = match result.unwrap_or_else(|fault| Err(fault.to_string())) {
                Ok((read, skipped)) => {
                    tracing::info!(read, skipped, "read the list of revoked tokens");
                    self.metrics.list_ok.inc();
                    return;
                }
                Err(fault) => fault,
            };
            self.metrics.list_failed.inc();
            let pause = backoff.pause();
            tracing::warn!(fault, again_in = ?pause, "the list of revoked tokens cannot be read");
            tokio::time::sleep(pause).await;
        }
    }
}

/// Reads the list; returns how many rows were taken, and how many skipped. Blocks.
fn read(
    list: &RevocationListSettings,
    revocations: &Revocations,
) -> Result<(usize, usize), String> {
    let mut request = agent(&list.tls, TIMEOUT)
        .get(&list.url)
        .header(header::ACCEPT, "application/json");
    if let Some(account) = &list.account {
        let encoding = CredentialEncoding::Raw;
        let header = basic(&account.name, account.password.expose(), encoding);
        let header = header.map_err(|_| "the account cannot stand in a header")?;
        request = request.header(header::AUTHORIZATION, header);
    }
    let mut answer = request.call().map_err(words)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("the answer is {}", answer.status()));
    }
    let body = answer.body_mut().with_config().limit(MAX_LIST_BYTES);
    let rows = rows(&body.read_to_vec().map_err(words)?)?;
    let now = now();
    let mut taken = 0;
    for row in &rows {
        if let Some((token, ends)) = row_of(row) {
            revocations.revoke(token, ends, now);
            taken += 1;
        }
    }
    Ok((taken, rows.len() - taken))
}

fn words(fault: ureq::Error) -> String {
    match NoReply::from(fault) {
        NoReply::Timeout => "it does not come in time".to_owned(),
        NoReply::TooLarge => "it is longer than 64 MiB".to_owned(),
        NoReply::Unreachable(why) => why,
    }
}

/// An array, by itself or as the `list` of an object.
fn rows(body: &[u8]) -> Result<Vec<Value>, String> {
    let list = match serde_json::from_slice(body) {
        Ok(Value::Object(mut object)) => object.remove("list").unwrap_or_default(),
        Ok(value) => value,
        Err(_) => Value::Null,
    };
    match list {
        Value::Array(rows) => Ok(rows),
        _ => Err("the answer is no list".to_owned()),
    }
}

/// `jwt_signature` and `expiry_time`, or as 3.1.0 spelt them.
fn row_of(row: &Value) -> Option<(&str, Option<UnixSeconds>)> {
    let field = |names: [&str; 2]| names.iter().find_map(|name| row.get(name));
    let token = field(["jwt_signature", "jwtSignature"])?.as_str()?.trim();
    let ends = field(["expiry_time", "expiryTime"]).and_then(integer);
    let ends = ends.filter(|ends| *ends > 0).map(seconds);
    (!token.is_empty()).then_some((token, ends))
}

/// When the token would have ended: the latest of what is said about it. `None`: nothing is.
fn ends(revoked: &Revoked, now: UnixSeconds) -> Option<UnixSeconds> {
    let positive = |number: &i64| *number > 0;
    let by_ttl = revoked
        .ttl
        .filter(positive)
        .map(|ttl| match ttl >= LEAST_MILLIS / 100 {
            // No life is so long: it is a date.
            true => seconds(ttl),
            false => now.saturating_add(ttl),
        });
    let by_date = revoked.expiry.filter(positive).map(seconds);
    by_ttl.max(by_date).max(exp(&revoked.token))
}

/// A date in seconds, whichever it is in.
fn seconds(date: i64) -> UnixSeconds {
    match date >= LEAST_MILLIS {
        true => date / 1000,
        false => date,
    }
}

/// `exp` of a JWT.
fn exp(token: &str) -> Option<UnixSeconds> {
    let payload = token.split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get("exp")?.as_i64()
}

fn now() -> UnixSeconds {
    unix_time().as_secs().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = 1_700_000_000;

    fn end(token: &str, ttl: Option<i64>, expiry: Option<i64>) -> Option<i64> {
        let token = token.to_owned();
        let revoked = Revoked { token, ttl, expiry };
        ends(&revoked, NOW)
    }

    #[test]
    fn the_latest_end_counts() {
        assert_eq!(end("a", None, None), None);
        assert_eq!(end("a", Some(3600), None), Some(NOW + 3600));
        assert_eq!(end("a", Some(3600), Some(0)), Some(NOW + 3600));
        assert_eq!(end("a", Some(0), Some(-1)), None);
        let date = NOW + 5000;
        assert_eq!(end("a", Some(3600), Some(date * 1000)), Some(date));
        assert_eq!(end("a", Some(date), None), Some(date));
        assert_eq!(end("a", Some(date * 1000), None), Some(date));
        let payload = BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", NOW + 9999));
        let jwt = format!("eyJhIjoxfQ.{payload}.c2ln");
        assert_eq!(end(&jwt, Some(60), None), Some(NOW + 9999));
        assert_eq!(end("eyJhIjoxfQ.%.c2ln", Some(60), None), Some(NOW + 60));
        assert_eq!(
            end("a", Some(i64::MAX), Some(i64::MAX)),
            Some(i64::MAX / 1000)
        );
    }

    #[test]
    fn rows_of_all_releases() {
        let body = br#"[
            {"jwt_signature":"a","expiry_time":1700000000123},
            {"jwtSignature":"b","expiryTime":"1700000000"},
            {"jwt_signature":"c"},
            {"jwt_signature":"d","expiry_time":-1},
            {"jwt_signature":" "}, {"jwt_signature":null}, {}, 7, null
        ]"#;
        let rows = rows(body).unwrap();
        let read: Vec<_> = rows.iter().filter_map(row_of).collect();
        assert_eq!(
            read,
            [
                ("a", Some(1_700_000_000)),
                ("b", Some(1_700_000_000)),
                ("c", None),
                ("d", None)
            ]
        );
    }

    #[test]
    fn a_list_may_be_wrapped_and_must_be_one() {
        assert_eq!(rows(br#"{"count":0,"list":[]}"#), Ok(Vec::new()));
        for body in [&b""[..], b"{}", b"null", b"\"a\"", b"[", b"<html>"] {
            assert!(rows(body).is_err());
        }
    }
}
