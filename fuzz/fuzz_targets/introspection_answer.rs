//! The key manager's answer: any bytes. What becomes of it goes into headers, so nothing may break
//! out of one.

#![no_main]

use std::{sync::Arc, time::Duration};

use libfuzzer_sys::fuzz_target;
use portcullis::domain::{MAX_CLAIM_BYTES, Policy, ScopeRule, Verdict};

const NOW: i64 = 1_800_000_000;

fuzz_target!(|data: &[u8]| {
    let verdict = match Verdict::parse(data, &Arc::default()) {
        Ok(verdict) => verdict,
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            return;
        }
    };
    let lenient = Policy::default();
    let strict = Policy {
        scopes: ScopeRule::All(Box::from([Box::from("orders.read")])),
        audience: Box::from([Box::from("orders")]),
        issuer: Box::from([Box::from("https://id")]),
        clock_skew: Duration::from_secs(5),
    };
    let by_lenient = lenient.check(&verdict, NOW, false);
    let by_strict = strict.check(&verdict, NOW, true);
    let Verdict::Active(grant) = &verdict else {
        assert!(
            by_lenient.is_err() && by_strict.is_err(),
            "inactive passes nowhere"
        );
        return;
    };
    if by_lenient.is_ok() {
        assert!(grant.is_bearer_access_token());
        assert!(grant.expires_at().is_none_or(|exp| exp > NOW));
    }
    if by_strict.is_ok() {
        assert!(grant.has_scope("orders.read"));
        assert_eq!(grant.issuer(), Some("https://id"));
        assert!(grant.audience().any(|name| name == "orders"));
    }
    let mut bytes = 0;
    for (name, text) in grant.claims().iter() {
        assert!(
            text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)),
            "{text:?}"
        );
        assert!(!text.starts_with(' ') && !text.ends_with(' '), "{text:?}");
        assert!(text.len() <= MAX_CLAIM_BYTES);
        assert_eq!(grant.claims().text(name), Some(text));
        let header = grant
            .claims()
            .header(name)
            .expect("every claim fits into a header");
        assert_eq!(header.as_bytes(), text.as_bytes());
        bytes += name.len() + text.len();
    }
    assert!(grant.size() >= bytes, "the cache counts what it holds");
    let _ = format!("{grant:?}");
});
