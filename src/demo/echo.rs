//! An upstream that answers with what it received.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use http::{HeaderValue, Response, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};

/// Clones share the count.
#[derive(Clone, Default)]
pub struct Echo {
    requests: Arc<AtomicUsize>,
}

impl Echo {
    /// Requests that reached it.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl ServeHttp for Echo {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut length = 0;
        while let Ok(Some(chunk)) = session.read_request_body().await {
            length += chunk.len();
        }
        let request = session.req_header();
        let headers: Vec<String> = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let body = serde_json::json!({
            "method": request.method.as_str(),
            "target": String::from_utf8_lossy(request.raw_path()),
            "headers": headers,
            "body_bytes": length,
        });
        let mut body = serde_json::to_vec_pretty(&body).unwrap_or_default();
        body.push(b'\n');
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CONTENT_LENGTH, length);
        response
    }
}
