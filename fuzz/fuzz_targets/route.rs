//! Where a request goes: a host on the first line, a path on the second. Whatever they are, the path
//! that goes on, and that of a redirect, are in normal form.

#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis::{
    config::{Environment, Source, load_source},
    domain::{Action, KnownMethod, RequestPath, RouteTable, Routed},
};

/// Every kind of host, path, and new path.
const TABLE: &str = r#"
    [[route]]
    path = "/*"
    rewrite = "/é b/*"
    public = true
    upstream = "http://127.0.0.1:9"
    [[route]]
    host = ["*.example", "*.a.example"]
    path = "/:one/:two/*"
    rewrite = "/:two/:one/*"
    public = true
    upstream = "http://127.0.0.1:9"
    [[route]]
    host = "a.example"
    path = "/a/*"
    strip_prefix = true
    public = true
    upstream = "http://127.0.0.1:9"
    [[route]]
    host = "a.example"
    path = "/:one/b"
    strip_prefix = "/:one"
    public = true
    upstream = "http://127.0.0.1:9"
    [[route]]
    host = "b.example"
    path = "/*"
    match_headers = { "X-Version" = "2" }
    public = true
    redirect = { to = "https://c.example/x/*" }
    [[route]]
    host = "b.example"
    path = "/:one/*"
    public = true
    redirect = { to = "/*" }
"#;

static ROUTES: LazyLock<RouteTable> =
    LazyLock::new(
        || match load_source(Source::memory(TABLE), &Environment::default()) {
            Ok(loaded) => loaded.settings.routes,
            Err(problems) => panic!("{problems}"),
        },
    );

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let (host, path) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or("/"),
    );
    let mut headers = HeaderMap::new();
    if let Some(Ok(value)) = lines.next().map(HeaderValue::from_str) {
        headers.insert("x-version", value);
    }
    let Ok(path) = RequestPath::parse(path) else {
        return;
    };
    let Routed::To(position) = ROUTES.find(host, KnownMethod::Get, &path.matched, &headers) else {
        panic!("there is a route for everything");
    };
    let new = match &ROUTES.route(position).action {
        Action::Forward(forward) => match &forward.rewrite {
            Some(rewrite) => rewrite.apply(&path.sent),
            None => return,
        },
        Action::Redirect(redirect) => {
            let location = redirect.location(&path.sent, None);
            let new = location
                .strip_prefix(&*redirect.origin)
                .expect("its origin");
            new.to_owned()
        }
        Action::Respond(_) => return,
    };
    let again = RequestPath::parse(&new).expect("the new path is well formed");
    assert_eq!(again.sent, new, "it is in normal form");
    let lower = ROUTES.find(
        &host.to_ascii_lowercase(),
        KnownMethod::Get,
        &path.matched,
        &headers,
    );
    assert_eq!(lower, Routed::To(position), "hosts have no case");
});
