//! Where requests go: host, path and method to a route.

use std::collections::HashMap;

use super::{KnownMethod, Methods, Route, path_pattern::Segment};

/// Two routes that match the same requests.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteConflict {
    /// Positions in the list that the table was built from.
    pub first: usize,
    pub second: usize,
}

/// The routes, ready to be looked up. Look-up time depends on the length of the path; the number of
/// routes enters by its logarithm.
pub struct RouteTable {
    routes: Box<[Route]>,
    by_host: HashMap<Box<str>, Node>,
    any_host: Node,
}

/// One segment deep in the tree of patterns.
#[derive(Default)]
struct Node {
    /// Sorted by segment.
    literals: Vec<(Box<str>, Node)>,
    parameter: Option<Box<Node>>,
    /// Routes whose path ends here, by position in the table.
    exact: Vec<usize>,
    /// Routes that cover this path and everything below.
    prefix: Vec<usize>,
}

impl Node {
    /// The node for a pattern, made on the way.
    fn place(&mut self, segments: &[Segment]) -> &mut Self {
        match segments {
            [] => self,
            [Segment::Parameter(_), rest @ ..] => {
                self.parameter.get_or_insert_default().place(rest)
            }
            [Segment::Literal(text), rest @ ..] => {
                let position = self.position(text).unwrap_or_else(|position| {
                    self.literals
                        .insert(position, (text.clone(), Self::default()));
                    position
                });
                self.literals[position].1.place(rest)
            }
        }
    }

    /// The routes for what is left of a path: a literal goes before a parameter, that before a
    /// prefix, and the longest prefix is the one met last on the way down.
    fn find(&self, rest: Option<&str>) -> Option<&[usize]> {
        let covered = || (!self.prefix.is_empty()).then_some(&*self.prefix);
        let Some(rest) = rest else {
            return match &*self.exact {
                [] => covered(),
                exact => Some(exact),
            };
        };
        let (segment, tail) = match rest.split_once('/') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (rest, None),
        };
        let by_literal = || self.literals[self.position(segment).ok()?].1.find(tail);
        let by_parameter = || match segment {
            "" => None,
            _ => self.parameter.as_ref()?.find(tail),
        };
        by_literal().or_else(by_parameter).or_else(covered)
    }

    fn position(&self, segment: &str) -> Result<usize, usize> {
        self.literals
            .binary_search_by(|(literal, _)| (**literal).cmp(segment))
    }
}

/// What the table says of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Routed {
    /// Position of the route: see [`RouteTable::route`].
    To(usize),
    /// There is such a path, but not for this method.
    MethodNotAllowed(Methods),
    NotFound,
}

impl RouteTable {
    /// # Errors
    /// Every pair of routes of which neither is more specific than the other.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<RouteConflict>> {
        let mut by_host: HashMap<Box<str>, Node> = HashMap::new();
        let mut any_host = Node::default();
        let mut conflicts = Vec::new();
        for (position, route) in routes.iter().enumerate() {
            let root = match &route.host {
                Some(host) => by_host.entry(host.0.clone()).or_default(),
                None => &mut any_host,
            };
            let node = root.place(&route.path.segments);
            let place = match route.path.prefix {
                true => &mut node.prefix,
                false => &mut node.exact,
            };
            for other in place.iter() {
                if routes[*other].methods.overlaps(route.methods) {
                    conflicts.push(RouteConflict {
                        first: *other,
                        second: position,
                    });
                }
            }
            place.push(position);
        }
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        Ok(Self {
            routes: routes.into(),
            by_host,
            any_host,
        })
    }

    /// The route for a request. `host` is without port, in any case; `path` is decoded.
    ///
    /// A route with the host's name goes before one for any host; within them a literal segment
    /// goes before a parameter, and that before a prefix.
    pub fn find(&self, host: &str, method: KnownMethod, path: &str) -> Routed {
        let path = path.strip_prefix('/');
        let by_name = match self.by_host.is_empty() {
            true => None,
            false => self.host_node(host).and_then(|node| node.find(path)),
        };
        match by_name.or_else(|| self.any_host.find(path)) {
            Some(positions) => self.pick(positions, method),
            None => Routed::NotFound,
        }
    }

    pub fn route(&self, position: usize) -> &Route {
        &self.routes[position]
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn host_node(&self, host: &str) -> Option<&Node> {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_host.get(host.to_ascii_lowercase().as_str())
        } else {
            self.by_host.get(host)
        }
    }

    fn pick(&self, positions: &[usize], method: KnownMethod) -> Routed {
        let mut allowed = Methods::NONE;
        for position in positions {
            let methods = self.routes[*position].methods;
            if methods.has(method) {
                return Routed::To(*position);
            }
            allowed = allowed.union(methods);
        }
        Routed::MethodNotAllowed(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Access, Action, Forward, HostPattern, PathPattern, Policy, UpstreamId};

    fn route(host: Option<&str>, path: &str, methods: &[&str]) -> Route {
        Route {
            name: path.into(),
            host: host.map(|host| HostPattern::parse(host).unwrap()),
            path: PathPattern::parse(path).unwrap(),
            methods: match methods {
                [] => Methods::ANY,
                names => Methods::parse(names).unwrap(),
            },
            access: Access::Token(Policy::default()),
            action: Action::Forward(Forward {
                upstream: UpstreamId(0),
                rewrite: None,
            }),
            identity_headers: Box::default(),
            forward_token: false,
            cors: None,
            headers: None,
            compression: Box::default(),
        }
    }

    fn table(routes: Vec<Route>) -> RouteTable {
        RouteTable::new(routes).unwrap()
    }

    fn get(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
        match table.find(host, KnownMethod::Get, path) {
            Routed::To(position) => Some(position),
            _ => None,
        }
    }

    #[test]
    fn the_most_specific_path_wins_whatever_the_order() {
        let patterns = ["/orders/*", "/orders/:id", "/orders/new", "/*", "/orders"];
        for rotation in 0..patterns.len() {
            let mut rotated = patterns.to_vec();
            rotated.rotate_left(rotation);
            let table = table(rotated.iter().map(|path| route(None, path, &[])).collect());
            for (path, expected) in [
                ("/orders/new", "/orders/new"),
                ("/orders/7", "/orders/:id"),
                ("/orders/7/items", "/orders/*"),
                ("/orders/", "/orders/*"),
                ("/orders", "/orders"),
                ("/", "/*"),
                ("/other/x", "/*"),
                ("/ordersx", "/*"),
            ] {
                let found = get(&table, "h", path).map(|position| rotated[position]);
                assert_eq!(found, Some(expected), "{path} in {rotated:?}");
            }
        }
    }

    #[test]
    fn a_prefix_covers_its_own_path_with_and_without_slash() {
        let table = table(vec![route(None, "/a/:x/*", &[])]);
        for path in ["/a/1", "/a/1/", "/a/1/b", "/a/1/b/c/"] {
            assert_eq!(get(&table, "h", path), Some(0), "{path}");
        }
        for path in ["/a", "/a/", "/b/1"] {
            assert_eq!(get(&table, "h", path), None, "{path}");
        }
    }

    #[test]
    fn exact_paths_are_exact() {
        let table = table(vec![route(None, "/a", &[]), route(None, "/b/", &[])]);
        assert_eq!(get(&table, "h", "/a"), Some(0));
        assert_eq!(get(&table, "h", "/a/"), None);
        assert_eq!(get(&table, "h", "/b"), None);
        assert_eq!(get(&table, "h", "/b/"), Some(1));
        assert_eq!(get(&table, "h", "/A"), None);
    }

    #[test]
    fn a_named_host_goes_before_any_host() {
        let table = table(vec![
            route(Some("api.example.com"), "/a", &[]),
            route(None, "/*", &[]),
        ]);
        assert_eq!(get(&table, "API.example.com", "/a"), Some(0));
        assert_eq!(get(&table, "api.example.com", "/b"), Some(1));
        assert_eq!(get(&table, "other", "/a"), Some(1));
    }

    #[test]
    fn methods_share_a_path_and_the_rest_is_not_allowed() {
        let table = table(vec![
            route(None, "/a", &["GET"]),
            route(None, "/a", &["POST", "PUT"]),
        ]);
        assert_eq!(table.find("h", KnownMethod::Head, "/a"), Routed::To(0));
        assert_eq!(table.find("h", KnownMethod::Put, "/a"), Routed::To(1));
        let Routed::MethodNotAllowed(allowed) = table.find("h", KnownMethod::Delete, "/a") else {
            panic!("DELETE must not be allowed");
        };
        assert_eq!(allowed.to_string(), "GET, HEAD, POST, PUT");
        assert_eq!(table.find("h", KnownMethod::Get, "/b"), Routed::NotFound);
    }

    #[test]
    fn trace_and_connect_never_pass() {
        let table = table(vec![route(None, "/*", &[])]);
        for method in [KnownMethod::Trace, KnownMethod::Connect] {
            assert!(matches!(
                table.find("h", method, "/a"),
                Routed::MethodNotAllowed(_)
            ));
        }
        assert_eq!(table.find("h", KnownMethod::Other, "/a"), Routed::To(0));
        assert_eq!(Methods::parse(&["GET", "TRACE"]), Err("TRACE"));
        assert_eq!(Methods::parse(&["get"]), Err("get"));
    }

    #[test]
    fn ties_are_conflicts() {
        for (first, second) in [
            ("/a", "/a"),
            ("/a/:x", "/a/:y"),
            ("/a/*", "/a/*"),
            ("/:x/*", "/:y/*"),
        ] {
            let conflicts =
                RouteTable::new(vec![route(None, first, &[]), route(None, second, &["GET"])]).err();
            assert_eq!(
                conflicts,
                Some(vec![RouteConflict {
                    first: 0,
                    second: 1
                }]),
                "{first} {second}"
            );
        }
        let apart = vec![
            route(None, "/a", &["GET"]),
            route(None, "/a", &["POST"]),
            route(Some("h"), "/a", &[]),
        ];
        assert!(RouteTable::new(apart).is_ok());
    }

    #[test]
    fn odd_patterns_are_explained() {
        for bad in [
            "orders", "/a*", "/a/*/b", "/a//b", "/a/../b", "/a/%20b", "/a?x", "/:/a", "",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
        for good in ["/", "/*", "/a/{b}", "/a b", "/café/:x/*"] {
            let table = table(vec![route(None, good, &[])]);
            let path = good.replace(":x", "1").replace('*', "z");
            assert_eq!(get(&table, "h", &path), Some(0), "{good}");
        }
    }

    #[test]
    fn ten_thousand_routes() {
        let table = table(
            (0..10_000)
                .map(|n| route(None, &format!("/team{}/api{n}/:id/*", n % 97), &[]))
                .collect(),
        );
        assert_eq!(get(&table, "h", "/team3/api100/7/x/y"), Some(100));
        assert_eq!(get(&table, "h", "/team4/api100/7"), None);
    }
}
