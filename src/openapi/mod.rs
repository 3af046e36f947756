//! A description of an API, as far as a gateway concerns itself with it: paths, methods, scopes, servers, and what the
//! `x-wso2-` extensions of WSO2 API Microgateway say beside.
//!
//! OpenAPI 2.0 ("Swagger"), 3.0 and 3.1; YAML or JSON. Pure: a text in, a [`Document`] out, with notes about all that was
//! not taken over, each with its place. Whoever wants routes makes them of it (`config/api`).

mod endpoints;
mod extensions;
mod note;
mod operation;
mod path;
mod security;
mod server;

use std::{borrow::Cow, ops::Range, rc::Rc};

use crate::markup::{self, Fault, Node};
use note::Notes;

pub use endpoints::{EndpointKind, Endpoints};
pub use extensions::SharedPages;
pub use note::{Note, NoteKind};
pub use operation::Operation;
pub use path::{base, base_pattern};
pub use security::Access;
pub use server::{BaseUrl, Server};

/// A text, or a part of one, with its place: bytes of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spotted<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// What a description says.
#[derive(Debug)]
pub struct Document {
    /// `info.title`.
    pub title: String,
    /// `info.version`.
    pub version: String,
    /// `x-wso2-basePath` with its `{version}` filled in: the path under which callers find the API. Like all paths of this
    /// kind without a slash at its end, so that the root is empty.
    pub context: Option<Spotted<String>>,
    /// The first server, or `host` and `basePath`.
    pub server: Server,
    pub operations: Vec<Operation>,
    /// `x-wso2-production-endpoints` of the whole API.
    pub production: Option<Rc<Endpoints>>,
    /// `x-wso2-sandbox-endpoints` of the whole API.
    pub sandbox: Option<Rc<Endpoints>>,
    /// The tier of the whole API, which takes those of its operations away.
    pub tier: Option<Spotted<String>>,
    /// `x-wso2-auth-header`.
    pub token_header: Option<Spotted<String>>,
    /// `x-wso2-cors`.
    pub cors: Option<Spotted<SharedPages>>,
    /// `x-wso2-response-cache`: seconds for which answers are good.
    pub cache_seconds: Option<Spotted<u64>>,
    /// Whether it was written for WSO2 API Microgateway: it has one of its extensions.
    pub is_wso2: bool,
    /// Where the document begins to say what it is.
    pub at: Range<usize>,
    pub notes: Vec<Note>,
}

impl Document {
    /// Reads a description.
    ///
    /// # Errors
    /// The text is no YAML and no JSON. Everything else is a note.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let root = markup::parse(text, &is_wanted)?;
        let notes = Notes::default();
        let mut document = read(&root, &notes);
        document.notes = notes.into_list();
        Ok(document)
    }
}

/// What the reading of one part needs to know of the whole.
struct Context<'n> {
    root: &'n Node<'n>,
    notes: &'n Notes,
    is_wso2: bool,
}

fn read(root: &Node<'_>, notes: &Notes) -> Document {
    let at = check_version(root, notes);
    let info = root.get("info");
    let of_info = |key: &str| info.and_then(|info| text(info, key));
    let title = of_info("title").filter(|title| !title.trim().is_empty());
    let title = title.unwrap_or_else(|| {
        notes.warn("`info.title` is missing", at.clone());
        "api".to_owned()
    });
    let version = of_info("version").unwrap_or_default();
    let context = Context {
        root,
        notes,
        is_wso2: root
            .entries()
            .iter()
            .any(|entry| entry.key.starts_with("x-wso2-")),
    };
    extensions::report_unknown(&context, root);
    Document {
        context: extensions::base_path(&context, &version),
        server: server::read(&context),
        operations: operation::read_all(&context),
        production: endpoints::production(&context, root),
        sandbox: endpoints::sandbox(&context, root),
        tier: extensions::tier(&context, root),
        token_header: extensions::token_header(&context),
        cors: extensions::cors(&context),
        cache_seconds: extensions::cache_seconds(&context),
        is_wso2: context.is_wso2,
        title,
        version,
        at,
        notes: Vec::new(),
    }
}

/// Tells of a document that is none, or is of a kind that is not known; the place of what says its version.
fn check_version(root: &Node<'_>, notes: &Notes) -> Range<usize> {
    let field = root.get("openapi").or_else(|| root.get("swagger"));
    let Some(field) = field else {
        let what =
            "this is not an OpenAPI document: neither `openapi` nor `swagger` says its version";
        notes.error(what, root.at.start..root.at.start);
        return root.at.start..root.at.start;
    };
    let version = field.text().unwrap_or_default();
    let is_known = match root.get("openapi").is_some() {
        true => version == "3" || version.starts_with("3."),
        false => version == "2" || version.starts_with("2."),
    };
    if !is_known {
        let what = format!("OpenAPI {version:?} is not known here: 2.0 and 3.x are");
        notes.error(what, field.at.clone());
    }
    field.at.clone()
}

fn text(node: &Node<'_>, key: &str) -> Option<String> {
    node.get(key).and_then(Node::text).map(str::to_owned)
}

/// Schemas, examples and texts for people are most of a document and of no concern.
fn is_wanted(path: &[Cow<'_, str>]) -> bool {
    let path: Vec<&str> = path.iter().map(|key| &**key).collect();
    match path[..] {
        ["tags" | "externalDocs" | "definitions" | "responses" | "parameters" | "webhooks"] => {
            false
        }
        ["info", key] => matches!(key, "title" | "version"),
        ["components", key] => {
            matches!(key, "securitySchemes" | "pathItems") || key.starts_with("x-")
        }
        ["paths", _, key] | ["components", "pathItems", _, key] => {
            !matches!(key, "parameters" | "description" | "summary")
        }
        ["paths", _, _, key] | ["components", "pathItems", _, _, key] => {
            matches!(key, "operationId" | "security" | "servers") || key.starts_with("x-")
        }
        _ => true,
    }
}

/// What `#/a/b` stands for, `~1` and `~0` being `/` and `~` (RFC 6901).
fn resolve<'n>(root: &'n Node<'n>, reference: &str) -> Option<&'n Node<'n>> {
    let mut node = root;
    for key in reference.strip_prefix("#/")?.split('/') {
        let key = key.replace("~1", "/").replace("~0", "~");
        node = node.get(&key).or_else(|| node.get(&path::decoded(&key)?))?;
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        Document::parse(text).unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// One line for each operation: method, path, and who may.
    fn lines(document: &Document) -> Vec<String> {
        let line = |operation: &Operation| {
            let access = match &operation.access {
                Access::Public => "public".to_owned(),
                Access::Token(sets) => {
                    let sets: Vec<String> = sets.iter().map(|set| set.join("+")).collect();
                    format!("[{}]", sets.join(" "))
                }
            };
            format!("{} {} {access}", operation.method, operation.path)
        };
        document.operations.iter().map(line).collect()
    }

    fn words(document: &Document) -> Vec<&str> {
        let notes = document.notes.iter();
        notes.map(|note| note.what.as_str()).collect()
    }

    const SCHEMES: &str = "
components:
  securitySchemes:
    oauth: {type: oauth2}
    bearer: {type: http, scheme: Bearer}
    oidc: {$ref: '#/x-schemes/oidc'}
    key: {type: apiKey, in: header, name: X-Key}
x-schemes: {oidc: {type: openIdConnect}}
";

    #[test]
    fn of_requirements_one_is_enough_and_of_one_all_is_needed() {
        let document = read(&format!(
            "openapi: 3.0.3
info: {{title: T, version: 1}}
security: [{{oauth: [global]}}]
paths:
  /none: {{get: {{}}}}
  /empty: {{get: {{security: []}}}}
  /all: {{get: {{security: [{{oauth: [a, b]}}]}}}}
  /any: {{get: {{security: [{{oauth: [a]}}, {{oidc: [b]}}]}}}}
  /both: {{get: {{security: [{{oauth: [a], bearer: [b], key: []}}]}}}}
  /either: {{get: {{security: [{{key: []}}, {{oauth: [a]}}]}}}}
  /key: {{get: {{security: [{{key: []}}]}}}}
  /plain: {{get: {{security: [{{bearer: []}}, {{oauth: [a]}}]}}}}
  /optional: {{get: {{security: [{{}}, {{oauth: [a]}}]}}}}
  /unknown: {{get: {{security: [{{other: [a]}}]}}}}
{SCHEMES}"
        ));
        assert_eq!(
            lines(&document),
            [
                "GET /none [global]",
                "GET /empty public",
                "GET /all [a+b]",
                "GET /any [a b]",
                "GET /both [a+b]",
                "GET /either [a]",
                "GET /key []",
                "GET /plain []",
                "GET /optional [a]",
                "GET /unknown [a]",
            ]
        );
        assert_eq!(
            words(&document),
            [
                "security schemes of the type apiKey are not known to the gateway: a token is asked for",
                "`{}` in `security` lets callers in without a token: one is asked for all the same",
                "the security scheme \"other\" is not described: it is taken for OAuth2",
            ]
        );
        assert_eq!(document.notes[0].times, 3);
    }

    #[test]
    fn a_document_that_names_no_security_asks_for_a_token() {
        for global in ["", "security: []\n"] {
            let document = read(&format!(
                "openapi: 3.1.0\n{global}paths: {{/a: {{get: {{}}}}}}\n"
            ));
            assert_eq!(lines(&document), ["GET /a []"], "{global}");
        }
    }

    #[test]
    fn documents_of_the_original_open_only_by_its_own_words() {
        let document = read(
            "openapi: 3.0.0
info: {title: Pizza Shack, version: 1.0.0}
x-wso2-basePath: /pizza/{version}/
x-wso2-disable-security: true
x-wso2-throttling-tier: 10PerMin
paths:
  /menu: {get: {}}
  /order: {x-wso2-disable-security: false, post: {security: []}}
  /one: {get: {x-auth-type: None}, put: {x-auth-type: Application User, x-wso2-disable-security: false, x-scope: w}}
  /two: {get: {x-wso2-disable-security: false, x-wso2-throttling-tier: 20PerMin}}
",
        );
        assert_eq!(
            lines(&document),
            [
                "GET /menu public",
                "POST /order []",
                "GET /one public",
                "PUT /one [w]",
                "GET /two []"
            ]
        );
        assert_eq!(document.context.unwrap().value, "/pizza/1.0.0");
        assert_eq!(document.tier.unwrap().value, "10PerMin");
        assert!(document.operations[4].tier.is_none());
        assert!(document.is_wso2);
    }

    #[test]
    fn paths_that_are_one_are_one() {
        let document = read(&format!(
            "openapi: 3.0.0
info: {{title: T}}
paths:
  /a/{{x}}: {{get: {{operationId: one, security: [{{oauth: [r]}}]}}, head: {{security: [{{oauth: [h]}}]}}, trace: {{}}}}
  /a/{{y}}: {{get: {{security: [{{oauth: [s]}}]}}, post: {{security: []}}}}
  /b#1: {{post: {{}}}}
  /b#2: {{post: {{}}}}
  /c: {{head: {{}}}}
  /:d: {{get: {{}}}}
  /e: {{$ref: '#/paths/~1c'}}
  /f: {{$ref: './f.yaml'}}
{SCHEMES}"
        ));
        assert_eq!(
            lines(&document),
            [
                "GET /a/{x} [r+s+h]",
                "POST /a/{y} public",
                "POST /b []",
                "HEAD /c []",
                "HEAD /e []"
            ]
        );
        assert_eq!(document.notes.len(), 5, "{:?}", words(&document));
    }

    #[test]
    fn servers_say_where_the_api_is() {
        for (text, origin, path) in [
            (
                "swagger: '2.0'\nhost: a.example:81\nbasePath: /v1/\n",
                Some("https://a.example:81"),
                "/v1",
            ),
            (
                "swagger: 2.0\nhost: a.example\nschemes: [http]\n",
                Some("http://a.example"),
                "",
            ),
            ("swagger: 2.0\nbasePath: /v1\n", None, "/v1"),
            (
                "openapi: 3.0.0\nservers: [{url: 'https://a.example/v2'}, {url: /x}]\n",
                Some("https://a.example"),
                "/v2",
            ),
            ("openapi: 3.0.0\nservers: [{url: /v3}]\n", None, "/v3"),
            ("openapi: 3.0.0\nservers: []\n", None, ""),
            (
                "openapi: 3.1.0\nservers: [{url: 'https://{r}.a.example/{v}', variables: {r: {default: eu}, v: {default: v4}}}]\n",
                Some("https://eu.a.example"),
                "/v4",
            ),
            (
                "openapi: 3.1.0\nservers: [{url: 'https://{r}.a.example/v5'}]\n",
                None,
                "/v5",
            ),
        ] {
            let server = read(text).server;
            assert_eq!(
                server.origin.map(|origin| origin.value).as_deref(),
                origin,
                "{text}"
            );
            assert_eq!(server.path, path, "{text}");
        }
    }

    #[test]
    fn endpoints_of_the_original() {
        let document = read(
            "openapi: 3.0.0
x-wso2-endpoints:
- shared:
    urls: [https://a.example/v1, https://b.example:9443/v1]
    type: failover
    advanceEndpointConfig:
      timeoutInMillis: 3000
      retryConfig: {count: 3, intervalInMillis: 10, statusCodes: [504]}
      circuitBreaker: {resetTimeInMillis: 10000, failureThreshold: 0.5}
x-wso2-production-endpoints: '#/x-wso2-endpoints/shared'
x-wso2-sandbox-endpoints: {urls: ['etcd(http://s.example, key)']}
x-wso2-request-interceptor: validate
paths:
  /a: {get: {x-wso2-production-endpoints: {urls: [http://c.example/x/]}, x-wso2-request-interceptor: java:x}}
  /b: {get: {x-wso2-production-endpoints: '#/x-wso2-endpoints/none', x-wso2-sandbox-endpoints: {urls: [nowhere]}}}
  /c: {get: {x-wso2-production-endpoints: {urls: [http://c.example/x, http://d.example/y]}}}
",
        );
        let shared = document.production.unwrap();
        let number = |spotted: &Option<Spotted<u64>>| spotted.as_ref().map(|spotted| spotted.value);
        assert_eq!(shared.servers[1].value.origin, "https://b.example:9443");
        assert_eq!(shared.servers[1].value.path, "/v1");
        assert_eq!(shared.kind, EndpointKind::Failover);
        assert_eq!(shared.name.as_deref(), Some("shared"));
        assert_eq!(number(&shared.timeout_millis), Some(3000));
        assert_eq!(number(&shared.retries), Some(3));
        assert_eq!(number(&shared.reset_millis), Some(10_000));
        let sandbox = document.sandbox.unwrap();
        assert_eq!(sandbox.servers[0].value.origin, "http://s.example");
        assert_eq!(sandbox.kind, EndpointKind::One);
        let own = document.operations[0].production.as_ref().unwrap();
        assert_eq!(own.servers[0].value.path, "/x");
        let errors = document
            .notes
            .iter()
            .filter(|note| note.kind == NoteKind::Error);
        let errors: Vec<&str> = errors.map(|note| note.what.as_str()).collect();
        assert_eq!(
            errors,
            [
                "\"#/x-wso2-endpoints/none\" is not one of `x-wso2-endpoints`",
                "this is not the url of an endpoint: http or https, host, port, path",
                "the urls of an endpoint have different paths: all requests go to that of the first",
            ]
        );
        let interceptors = "`x-wso2-request-interceptor` is not supported";
        let note = document.notes.iter().find(|note| note.what == interceptors);
        assert_eq!(note.map(|note| note.times), Some(2));
    }

    #[test]
    fn pages_and_answers() {
        let document = read(
            "openapi: 3.0.0
info: {title: T}
x-wso2-auth-header: X-Token
x-wso2-response-cache: {enabled: true, cacheTimeoutInSeconds: 20}
x-wso2-cors:
  access-control-allow-origins: ['https://a.example']
  accessControlAllowHeaders: [Authorization]
  access-control-allow-credentials: true
x-wso2-application-security: {security-types: [oauth2, api_key], optional: true}
paths: {}
",
        );
        assert_eq!(document.token_header.unwrap().value, "X-Token");
        assert_eq!(document.cache_seconds.unwrap().value, 20);
        let cors = document.cors.unwrap().value;
        assert_eq!(cors.origins, ["https://a.example"]);
        assert_eq!(cors.headers, ["Authorization"]);
        assert!(cors.credentials);
        assert_eq!(document.notes.len(), 2);
    }

    #[test]
    fn what_is_no_description_is_told() {
        for text in [
            "",
            "[]",
            "a: 1",
            "openapi: 4.0.0",
            "swagger: 1.2",
            "openapi: []",
            "5",
        ] {
            let document = read(text);
            assert_eq!(document.notes[0].kind, NoteKind::Error, "{text}");
        }
        assert!(Document::parse("{").is_err());
        assert!(Document::parse("a: [").is_err());
        for odd in [
            "openapi: 3.0.0\npaths: 5\nservers: x\nsecurity: 1\ncomponents: []\n",
            "openapi: 3.0.0\npaths: {/a: 5, /b: [1], /c: {get: 5, put: []}}\n",
            "openapi: 3.0.0\npaths: {/a: {get: {security: [5, [], {a: 5}], operationId: []}}}\n",
            "openapi: 3.0.0\nx-wso2-cors: 5\nx-wso2-endpoints: 5\nx-wso2-production-endpoints: '#/x-wso2-endpoints/a'\n",
            "openapi: 3.0.0\nx-wso2-production-endpoints: {urls: [[], {}]}\nx-wso2-throttling-tier: []\n",
            "swagger: 2.0\nhost: []\nschemes: 5\nbasePath: {}\nsecurityDefinitions: 1\n",
        ] {
            read(odd);
        }
    }
}
