//! Events that may not have been understood as they were meant, and what is done about them.

use std::{sync::Arc, time::Duration};

use base64::Engine;

use super::{Server, everything, parts, pizza, rest, run, until};
use crate::{
    domain::{Outcome, Row, RowKind, Subscription, SubscriptionState},
    feed::api_manager::{Clock, Notifications, Resync, misses::look_up},
    subscription::Table,
};

/// Times of the gateway's own are skipped.
#[tokio::test(start_paused = true)]
async fn doubts_are_answered_by_lists_after_a_pause() {
    let server = Server::new(|target| everything(parts(target).0));
    let running = run(&server);
    until(|| running.subscriptions.table.is_ready()).await;
    let began = tokio::time::Instant::now();
    let readings = || {
        server
            .targets()
            .iter()
            .filter(|target| target.ends_with("/subscriptions"))
            .count()
    };
    for doubt in 1..=3 {
        for _ in 0..1000 {
            running.resync.doubt();
        }
        until(|| readings() == 1 + doubt).await;
    }
    let took = began.elapsed();
    let pauses = Duration::from_secs(3 * 10)..Duration::from_secs(3 * 14);
    assert!(pauses.contains(&took), "{took:?}");
}

/// A message of the topic `notification`, in the form of 4.x.
fn message(kind: &str, event: &str) -> Vec<u8> {
    let event = base64::prelude::BASE64_STANDARD.encode(event);
    let payload = format!(r#"{{"eventType":"{kind}","event":"{event}"}}"#);
    format!(r#"{{"event":{{"payloadData":{payload}}}}}"#).into_bytes()
}

/// Times of the gateway's own are skipped.
#[tokio::test(start_paused = true)]
async fn what_may_have_been_misunderstood_is_a_doubt() {
    let event = |at: u64| format!(r#"{{"timeStamp":{at},"apiId":1}}"#);
    let now = Clock::default().now();
    for (message, is_doubted) in [
        (message("API_DELETE", &event(now - 5_000)), false),
        (message("SCOPE_CREATE", "{}"), false),
        // Something newer is known.
        (message("API_DELETE", &event(now - 10_000)), true),
        (message("API_DELETE", &event(now + 3_600_000)), true),
        (message("API_DELETE", "{}"), true),
        (message("API_DELETE", &event(u64::MAX)), true),
        (b"hello".to_vec(), true),
    ] {
        let (table, resync) = (Arc::new(Table::new(Arc::default())), Resync::default());
        assert!(table.load(RowKind::Apis, [], now - 7_000).is_some());
        let clock = Arc::default();
        let notifications = Notifications::new(&table, resync.clone(), clock, "carbon.super");
        let _ = notifications.take(&message);
        let doubted = tokio::time::timeout(Duration::from_secs(4), resync.doubted()).await;
        assert_eq!(
            doubted.is_ok(),
            is_doubted,
            "{}",
            String::from_utf8_lossy(&message)
        );
    }
}

#[tokio::test]
async fn an_event_ahead_of_its_time_hides_nothing() {
    let server = Server::new(|target| everything(parts(target).0));
    let rest = rest(&server);
    let table = Arc::new(Table::new(Arc::default()));
    for kind in RowKind::ALL {
        assert!(table.load(kind, [], 1).is_some());
    }
    look_up(&rest, &table, ("CK", None), &pizza(Some("/pizzashack"))).unwrap();
    let notifications = Notifications::new(&table, Resync::default(), rest.clock(), "carbon.super");
    // The server has a clock of its own.
    let clock = rest.clock();
    let now = || clock.now();
    let tell = |state: &str, at: u64| {
        let event = format!(
            r#"{{"timeStamp":{at},"apiId":1,"applicationId":2,"policyId":"Gold","subscriptionState":"{state}"}}"#
        );
        let message = message("SUBSCRIPTIONS_UPDATE", &event);
        notifications.take(&message).unwrap();
    };
    let state = || match table.check("CK", None, &pizza(None)) {
        Outcome::Known(subscriber) => subscriber.subscription.unwrap().state,
        Outcome::Unknown(..) => panic!("it is known"),
    };
    tell("UNBLOCKED", now() + 3_600_000);
    assert_eq!(state(), SubscriptionState::Unblocked);
    // A list that was begun some seconds later.
    let row = Row::Subscription(Subscription {
        application: 2,
        api: 1,
        policy: "Gold".into(),
        state: SubscriptionState::OnHold,
    });
    assert!(
        table
            .load(RowKind::Subscriptions, [row], now() + 1_100)
            .is_some()
    );
    assert_eq!(state(), SubscriptionState::OnHold);
}
