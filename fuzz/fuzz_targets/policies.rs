//! A `policies.yaml`: any text. What is read can be counted by, and what is not says where it is wrong.

#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use portcullis::{
    config::parse_policies,
    domain::TierKind,
    limits::{At, Claim, TierCounts},
};

fuzz_target!(|text: &str| {
    let book = match parse_policies(text) {
        Ok(book) => book,
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            let lines = text.matches('\n').count() + 1;
            assert!(faults.iter().all(|fault| (1..=lines).contains(&fault.line)));
            return;
        }
    };
    let counts = TierCounts::default();
    let at = At {
        instant: Instant::now(),
        unix: 1_800_000_000,
    };
    let all = [&book.resource, &book.subscription, &book.application];
    for (name, tier) in all.into_iter().flatten() {
        let claim = Claim {
            kind: TierKind::Resource,
            key: counts.key(name),
            tier: *tier,
        };
        // One request is always allowed.
        assert!(counts.take(&[Some(claim)], at).is_ok());
        counts.give_back(&[Some(claim)], at);
    }
});
