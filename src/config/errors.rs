//! `[errors]`: in which form callers are told that they are refused.

use super::{
    check::choice,
    section::{Placed, Section},
};
use crate::domain::{ChallengeStyle, ErrorFormat, FaultStyle, OutageStyle};

pub fn read(root: &mut Section<'_>) -> ErrorFormat {
    let mut section = root.section("errors");
    let formats = [
        ("problem", ErrorFormat::Problem),
        ("wso2", ErrorFormat::Wso2(FaultStyle::default())),
    ];
    let format = choice(&mut section, "format", &formats).unwrap_or_default();
    let format = match format {
        ErrorFormat::Wso2(_) => ErrorFormat::Wso2(style(&mut section)),
        ErrorFormat::Problem => {
            refuse_style(&mut section);
            ErrorFormat::Problem
        }
    };
    section.finish();
    format
}

fn style(section: &mut Section<'_>) -> FaultStyle {
    let challenges = [
        ("wso2", ChallengeStyle::Wso2),
        ("rfc6750", ChallengeStyle::Rfc6750),
    ];
    let outages = [
        ("unavailable", OutageStyle::Unavailable),
        ("invalid_token", OutageStyle::InvalidToken),
    ];
    FaultStyle {
        challenge: choice(section, "challenge", &challenges).unwrap_or_default(),
        outage: choice(section, "key_manager_outage", &outages).unwrap_or_default(),
    }
}

/// Problem details leave no choice: they follow the standards.
fn refuse_style(section: &mut Section<'_>) {
    for key in ["challenge", "key_manager_outage"] {
        if let Some(Placed { place, .. }) = section.text(key) {
            let what = format!("`{key}` is for the form of WSO2 only");
            section.error(&place, what, "set format = \"wso2\", or leave it out");
        }
    }
}
