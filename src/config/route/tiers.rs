//! `tier` and `api_tier`: how often a route, and the API that it belongs to, may be used.

use crate::{
    config::section::{Placed, Section, nearest},
    domain::{ApiIdentity, RouteTiers, Tier, TierBook},
};

/// Reads both keys. `book`: `None` when it is not known which tiers there are.
pub fn tiers(
    section: &mut Section<'_>,
    book: Option<&TierBook>,
    api: Option<&ApiIdentity>,
) -> RouteTiers {
    let of_api = section.text("api_tier");
    if let (Some(name), None) = (&of_api, api) {
        let what = "`api_tier` is for all routes of an API together, and this route is of none";
        section.error(&name.place, what, "say which with `api`, or use `tier`");
    }
    let own = section.text("tier");
    RouteTiers {
        api: of_api.and_then(|name| find(section, book, &name)),
        resource: own.and_then(|name| find(section, book, &name)),
    }
}

/// `None` for a tier without a limit. One that is not there is reported.
fn find(section: &Section<'_>, book: Option<&TierBook>, name: &Placed<String>) -> Option<Tier> {
    let book = book?;
    if TierBook::is_unlimited(&name.value) {
        return None;
    }
    let found = book.resource.get(&*name.value);
    if found.is_none() {
        let known: Vec<&str> = book.resource.keys().map(|name| &**name).collect();
        let hint = match nearest(&name.value, &known) {
            Some(likely) => format!("did you mean {likely:?}?"),
            None => format!(
                "add it to `resourcePolicies` of the policies file, or a table [tiers.{}]",
                name.value
            ),
        };
        let what = format!("there is no tier {:?} for routes", name.value);
        section.error(&name.place, what, hint);
    }
    found.copied().filter(|tier| !tier.is_unlimited())
}
