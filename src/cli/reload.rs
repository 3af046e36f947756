//! `portcullis reload`: asks the running gateway, by its admin listener, to take up its file again.

use std::{path::Path, time::Duration};

use super::{Exit, refuse};
use crate::{
    admin::{RELOAD_GUARD, RELOAD_PATH},
    config::{self, AdminSettings, Environment},
};

/// A new key manager is waited for, for up to 10 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Checks `file`, finds in it where the gateway's admin listener is, and asks there.
pub fn run(file: &Path, environment: &Environment) -> Exit {
    let settings = match config::load(file, environment) {
        Ok(loaded) => loaded.settings,
        Err(problems) => return refuse(&problems, "nothing was reloaded"),
    };
    match ask(&settings.admin) {
        Ok((200, words)) => {
            print!("reloaded: {words}");
            Exit::Done
        }
        Ok((401 | 403, _)) => {
            eprintln!(
                "error: the running gateway has another admin token than {}",
                file.display()
            );
            Exit::Failed
        }
        Ok((_, words)) => {
            eprint!("{words}");
            eprintln!("not reloaded: the old configuration stays in force");
            Exit::BadConfig
        }
        Err(fault) => {
            let address = settings.admin.listen;
            eprintln!("error: no gateway answers on {address}, its admin address: {fault}");
            Exit::Failed
        }
    }
}

fn ask(admin: &AdminSettings) -> Result<(u16, String), ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    let mut address = admin.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut request = agent
        .post(format!("http://{address}{RELOAD_PATH}"))
        .header(RELOAD_GUARD, "reload");
    if let Some(token) = &admin.token {
        request = request.header("authorization", format!("Bearer {}", token.expose()));
    }
    let mut answer = request.send_empty()?;
    let words = answer.body_mut().read_to_string()?;
    Ok((answer.status().as_u16(), words))
}
