//! An authorization server whose introspection endpoint wants an access token of its own, with a
//! record of what it was sent.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::support::RawServer;

/// A request, as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub authorization: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// How the server behaves. Changed while it runs.
pub struct Behaviour {
    /// `expires_in` of new tokens, as JSON; left out when empty.
    pub expires_in: String,
    /// Status and body of the token endpoint in place of a token.
    pub token_answer: Option<(u16, String)>,
    /// Whether a refresh is answered `invalid_grant`.
    pub refuses_refresh: bool,
    /// Access tokens that introspection refuses with 401.
    pub refused: Vec<String>,
    pub refuses_all: bool,
}

/// See the module.
#[derive(Clone)]
pub struct AuthServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    behaviour: Behaviour,
    issued: usize,
    token_requests: Vec<Request>,
    introspections: Vec<Request>,
}

impl AuthServer {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            behaviour: Behaviour {
                expires_in: "3600".to_owned(),
                token_answer: None,
                refuses_refresh: false,
                refused: Vec::new(),
                refuses_all: false,
            },
            issued: 0,
            token_requests: Vec::new(),
            introspections: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = RawServer::start(move |_, mut stream| {
            let state = Arc::clone(&shared);
            std::thread::spawn(move || {
                while let Some(request) = read(&mut stream) {
                    let (status, body) = state.lock().answer(request);
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n\
                         Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        });
        Self {
            address: server.address,
            state,
        }
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.lock().behaviour);
    }

    /// Requests to the token endpoint so far.
    pub fn token_requests(&self) -> Vec<Request> {
        self.state.lock().token_requests.clone()
    }

    pub fn introspections(&self) -> Vec<Request> {
        self.state.lock().introspections.clone()
    }
}

impl State {
    fn answer(&mut self, request: Request) -> (u16, String) {
        match request.path.as_str() {
            "/oauth2/introspect" => self.introspect(request),
            "/token" | "/refresh" => self.token(request),
            "/.well-known/openid-configuration" => {
                let base = format!("http://{}", request.headers["host"]);
                let document = serde_json::json!({
                    "issuer": base,
                    "introspection_endpoint": format!("{base}/oauth2/introspect"),
                    "token_endpoint": format!("{base}/token"),
                });
                (200, document.to_string())
            }
            _ => (404, String::new()),
        }
    }

    fn introspect(&mut self, request: Request) -> (u16, String) {
        let token = request
            .authorization
            .trim_start_matches("Bearer ")
            .to_owned();
        self.introspections.push(request);
        if self.behaviour.refuses_all || self.behaviour.refused.contains(&token) {
            return (401, r#"{"error":"invalid_token"}"#.to_owned());
        }
        (200, r#"{"active":true,"scope":"orders.read"}"#.to_owned())
    }

    fn token(&mut self, request: Request) -> (u16, String) {
        let refreshes = request.body.contains("grant_type=refresh_token");
        self.token_requests.push(request);
        if let Some(answer) = &self.behaviour.token_answer {
            return answer.clone();
        }
        if refreshes && self.behaviour.refuses_refresh {
            return (400, r#"{"error":"invalid_grant"}"#.to_owned());
        }
        self.issued += 1;
        let number = self.issued;
        let expires_in = match self.behaviour.expires_in.as_str() {
            "" => String::new(),
            value => format!(r#","expires_in":{value}"#),
        };
        let answer = format!(
            r#"{{"access_token":"own-{number}","token_type":"bearer","refresh_token":"refresh-{number}"{expires_in}}}"#
        );
        (200, answer)
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        authorization: headers.get("authorization").cloned().unwrap_or_default(),
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}
