//! One check of one address: a connection, or a request and the status of its answer.

use http::{HeaderValue, Uri, header};
use pingora::{
    connectors::http::Connector, http::RequestHeader, protocols::http::client::HttpSession,
};

use super::peer::Member;
use crate::config::HealthCheckSettings;

/// # Errors
/// What is wrong, in words for a log.
pub async fn check(
    connector: &Connector,
    member: &Member,
    settings: &HealthCheckSettings,
) -> Result<(), String> {
    match tokio::time::timeout(settings.timeout, ask(connector, member, settings)).await {
        Ok(result) => result,
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn ask(
    connector: &Connector,
    member: &Member,
    settings: &HealthCheckSettings,
) -> Result<(), String> {
    // The connection is closed afterwards, so that each check makes a new one, as a client would.
    let session = connector.get_http_session(&member.peer).await;
    let (mut session, _) = session.map_err(|fault| kind("no connection", &fault))?;
    if let Some(path) = &settings.path {
        let status = status(&mut session, member, path)
            .await
            .map_err(|fault| kind("no answer", &fault))?;
        if !settings.expected_status.has(status) {
            return Err(format!("status {status}"));
        }
    }
    session.shutdown().await;
    Ok(())
}

async fn status(session: &mut HttpSession, member: &Member, path: &str) -> pingora::Result<u16> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    request.insert_header(header::USER_AGENT, HeaderValue::from_static("portcullis"))?;
    match session {
        HttpSession::H2(_) => request.set_uri(absolute(member, path)),
        _ => request.insert_header(header::HOST, &member.host)?,
    }
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    Ok(session
        .response_header()
        .map_or(0, |answer| answer.status.as_u16()))
}

/// HTTP/2 has scheme and host in the request line (RFC 9113 §8.3.1).
fn absolute(member: &Member, path: &str) -> Uri {
    let scheme = if member.peer.is_tls() {
        "https"
    } else {
        "http"
    };
    Uri::builder()
        .scheme(scheme)
        .authority(member.host.as_bytes())
        .path_and_query(path)
        .build()
        .unwrap_or_default()
}

fn kind(what: &str, fault: &pingora::Error) -> String {
    format!("{what}: {}", fault.etype().as_str())
}
