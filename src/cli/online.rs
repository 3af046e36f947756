//! Asking the key manager from the command line, once, exactly as a running gateway would; and what a
//! failure probably means.

use std::time::{Duration, Instant};

use super::Exit;
use crate::{
    auth::{Introspect, KeyManager, KeyManagerReadiness, Question, Unavailable, Upkeep},
    config::{CredentialEncoding, CredentialSettings, KeyManagerSettings},
    domain::{Secret, Verdict},
    metrics::Metrics,
    telemetry::TraceContext,
};

/// What came of a question.
pub struct Asked {
    pub result: Result<Verdict, Unavailable>,
    pub took: Duration,
}

/// Asks about `token`.
///
/// # Errors
/// The question could not be put: no token of our own, no endpoint, no certificate authorities.
pub fn ask(key_manager: &KeyManagerSettings, token: &Secret) -> anyhow::Result<Asked> {
    let metrics = Metrics::new()?;
    let (client, upkeep) = KeyManager::new(&without_refresh(key_manager), &metrics)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ready = runtime.block_on(prepare(client.readiness(), upkeep));
    let started = Instant::now();
    let result = match ready {
        Ok(()) => runtime.block_on(client.introspect(&Question {
            token: token.clone(),
            trace: TraceContext::continue_from(None),
        })),
        Err(unavailable) => Err(unavailable),
    };
    Ok(Asked {
        result,
        took: started.elapsed(),
    })
}

/// A refresh token belongs to the gateway that runs: used here, a server that rotates it would end
/// the grant there.
fn without_refresh(key_manager: &KeyManagerSettings) -> KeyManagerSettings {
    let mut key_manager = key_manager.clone();
    if let CredentialSettings::OAuth2(oauth2) = &mut key_manager.credential {
        oauth2.refresh = None;
        oauth2.state_file = None;
    }
    key_manager
}

/// Does once what a running gateway does in the background: finds the endpoint, gets a token of our
/// own.
///
/// A running gateway would go on trying; here a plain no ends it.
async fn prepare(readiness: KeyManagerReadiness, upkeep: Upkeep) -> Result<(), Unavailable> {
    const PATIENCE: Duration = Duration::from_secs(15);
    if upkeep.is_idle() {
        return Ok(());
    }
    // The upkeep ends with this program.
    let (_running, over) = tokio::sync::watch::channel(false);
    let until_known = async {
        loop {
            match (readiness.is_ready(), readiness.is_refused()) {
                (true, _) => return Ok(()),
                (false, true) => return Err(Unavailable::ClientRefused),
                (false, false) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::select! {
        // Finding the endpoint may be all there is to do.
        () = upkeep.run(over) => match readiness.is_ready() {
            true => Ok(()),
            false => Err(Unavailable::NotReady),
        },
        known = tokio::time::timeout(PATIENCE, until_known) => {
            known.unwrap_or(Err(Unavailable::NotReady))
        }
    }
}

/// Tells why there was no verdict, and what to look at.
pub fn explain(key_manager: &KeyManagerSettings, unavailable: Unavailable) -> Exit {
    eprintln!(
        "error: {} gave no verdict: {}",
        key_manager.endpoint.url(),
        unavailable.cause()
    );
    eprintln!("hint: {}", hint(key_manager, unavailable));
    match unavailable {
        Unavailable::ClientRefused => Exit::CredentialsRefused,
        Unavailable::Unreachable
        | Unavailable::Timeout
        | Unavailable::ServerError
        | Unavailable::RateLimited(_)
        | Unavailable::NotReady => Exit::KeyManagerUnavailable,
        _ => Exit::Failed,
    }
}

fn hint(key_manager: &KeyManagerSettings, unavailable: Unavailable) -> &'static str {
    match unavailable {
        Unavailable::ClientRefused if looks_like_wso2(key_manager) => {
            "WSO2 servers take a user who may introspect, or a token with the scope \
             internal_oauth2_introspect; a client's id and secret only where BasicClientAuthentication \
             is enabled. With another server check name, password and credentialEncoding"
        }
        Unavailable::ClientRefused | Unavailable::UnexpectedStatus(400) => {
            match other_encoding(key_manager) {
                Some(hint) => hint,
                None => {
                    "check the gateway's client: its id, its secret or key, and that it may introspect"
                }
            }
        }
        Unavailable::UnexpectedStatus(300..=399) => {
            "it leads somewhere else, probably to a login page: check the path of the address"
        }
        Unavailable::UnexpectedStatus(_) => {
            "check the path of the address: tokenContext, or introspectUrl"
        }
        Unavailable::BadAnswer | Unavailable::TooLarge => {
            "is that the address of an introspection endpoint, or of a login page?"
        }
        Unavailable::Timeout => "keyManager.timeout says how long the gateway waits",
        Unavailable::Unreachable if key_manager.endpoint.url().scheme_str() == Some("https") => {
            "check that it runs and can be reached from here; if its certificate is of an authority \
             of your own, name that in [keymanager.tls] caFile"
        }
        Unavailable::NotReady => {
            "the messages above say what the token endpoint or the issuer said; where the issuer's metadata \
             names no introspection endpoint, set `introspectUrl` and `tokenUrl` in place of `issuer`"
        }
        _ => "check that it runs and can be reached from here",
    }
}

/// What else than the token itself makes a server say "inactive".
pub fn inactive_hint(key_manager: &KeyManagerSettings) -> &'static str {
    if key_manager.endpoint.url().path().contains("/realms/") {
        return "Keycloak also says so when the gateway's client is not in the token's audience (add \
                an audience mapper), or when the token was issued under another host name";
    }
    "some servers also say so when the gateway's client is not in the token's audience, or when the \
     token was issued under another host name"
}

fn looks_like_wso2(key_manager: &KeyManagerSettings) -> bool {
    let basic = matches!(key_manager.credential, CredentialSettings::Basic { .. });
    basic
        && key_manager
            .endpoint
            .url()
            .path()
            .ends_with("/oauth2/introspect")
}

fn other_encoding(key_manager: &KeyManagerSettings) -> Option<&'static str> {
    match &key_manager.credential {
        CredentialSettings::Basic {
            encoding: CredentialEncoding::Form,
            ..
        } => Some(
            "check name and password; if they are right and have characters that a form encodes, try \
             credentialEncoding = \"raw\"",
        ),
        CredentialSettings::Basic {
            encoding: CredentialEncoding::Raw,
            ..
        } => Some(
            "check name and password; if they are right and have characters that a form encodes, try \
             credentialEncoding = \"form\"",
        ),
        CredentialSettings::OAuth2(_) => Some(
            "check the client's id and secret, and the messages above; some servers want them the other \
             way: try another credentialBearer or credentialEncoding",
        ),
        _ => None,
    }
}
