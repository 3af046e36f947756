//! `POST /admin/reload`: take up the changed configuration, and tell what came of it.

use http::{Response, StatusCode};

use super::{Admin, TEXT, answer};
use crate::lifecycle::Outcome;

pub const PATH: &str = "/admin/reload";
/// Where no admin token is configured, this header must be there. A web page cannot make a browser
/// send it to another origin without being allowed to first.
pub const GUARD: &str = "x-portcullis-admin";

impl Admin {
    pub(super) async fn reload(&self) -> Response<Vec<u8>> {
        let outcome = self.reloader.reload().await;
        let status = match outcome {
            Outcome::TakenUp(_) => StatusCode::OK,
            Outcome::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Outcome::NeedsUpgrade(_) => StatusCode::CONFLICT,
            Outcome::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = format!("{}\n", outcome.words().trim_end());
        answer(status, TEXT, text.into())
    }
}
