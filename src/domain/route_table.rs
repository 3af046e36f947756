//! Which requests are whose: host, path, method and headers to a route.
//!
//! A request's route is the best of those that fit its host, path and headers: by host, then by
//! path, and only then by method. What it costs to find it depends on the length of host and path,
//! not on the number of routes; only those that share host and path are tried one after the other.

use std::cmp::Reverse;

use hashbrown::HashMap;
use http::HeaderMap;

use super::{
    HostPattern, KnownMethod, Methods, Route,
    host_pattern::MAX_HOST_BYTES,
    path_pattern::{Mixed, Segment},
};

/// Two routes that match the same requests.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteConflict {
    /// Positions in the list that the table was built from.
    pub first: usize,
    pub second: usize,
}

/// The routes, ready to be looked up.
pub struct RouteTable {
    routes: Box<[Route]>,
    hosts: Hosts,
}

/// A tree of paths for each host.
#[derive(Default)]
struct Hosts {
    exact: HashMap<Box<str>, Node>,
    /// By the name that hosts end in.
    below: HashMap<Box<str>, Node>,
    /// Bytes of the longest name in `below`.
    longest_below: usize,
    any: Node,
}

impl Hosts {
    fn root(&mut self, host: Option<&HostPattern>) -> &mut Node {
        match host {
            None => &mut self.any,
            Some(HostPattern::Exact(name)) => self.exact.entry(name.clone()).or_default(),
            Some(HostPattern::Below(name)) => {
                self.longest_below = self.longest_below.max(name.len());
                self.below.entry(name.clone()).or_default()
            }
        }
    }

    /// What `search` finds in the trees that are for `host`: its own, that of the longest wildcard,
    /// and so on, and last the one for any.
    fn find<'t, T>(&'t self, host: &str, search: impl Fn(&'t Node) -> Option<T>) -> Option<T> {
        if self.exact.is_empty() && self.below.is_empty() {
            return search(&self.any);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_HOST_BYTES {
            // A name that is too long is nobody's, however it is written.
            return search(&self.any);
        }
        let named = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            false => self.find_named(host, &search),
            true => in_lower_case(host, |host| self.find_named(host, &search)),
        };
        named.or_else(|| search(&self.any))
    }

    fn find_named<'t, T>(
        &'t self,
        host: &str,
        search: impl Fn(&'t Node) -> Option<T>,
    ) -> Option<T> {
        let exact = self.exact.get(host).and_then(&search);
        exact.or_else(|| {
            if self.below.is_empty() {
                return None;
            }
            // A longer host costs no more: what is longer than every wildcard is not looked up.
            parents(host)
                .filter(|name| name.len() <= self.longest_below)
                .find_map(|name| search(self.below.get(name)?))
        })
    }
}

/// The names that a host is below, the longest first.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    let dots = host.match_indices('.').map(|(dot, _)| dot);
    dots.filter(|dot| *dot > 0).map(|dot| &host[dot + 1..])
}

/// Without allocation. `host` is not too long.
fn in_lower_case<T>(host: &str, then: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0; MAX_HOST_BYTES];
    let lower = buffer.get_mut(..host.len())?;
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    then(std::str::from_utf8(lower).ok()?)
}

/// One segment deep in the tree of patterns.
#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    /// In the order in which they are tried.
    mixed: Vec<(Mixed, Node)>,
    parameter: Option<Box<Node>>,
    /// Routes whose path ends here, by position in the table, the best first.
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
            [Segment::Mixed(mixed), rest @ ..] => self.place_mixed(mixed).place(rest),
            [Segment::Literal(text), rest @ ..] => {
                self.literals.entry(text.clone()).or_default().place(rest)
            }
        }
    }

    fn place_mixed(&mut self, mixed: &Mixed) -> &mut Self {
        let there = self
            .mixed
            .iter()
            .position(|(other, _)| other.has_form_of(mixed));
        let position = there.unwrap_or_else(|| {
            let position = self
                .mixed
                .partition_point(|(other, _)| other.rank() < mixed.rank());
            self.mixed
                .insert(position, (mixed.clone(), Self::default()));
            position
        });
        &mut self.mixed[position].1
    }

    /// The first of the lists for what is left of a path that `fits`: a literal goes before a mixed
    /// segment, that before a parameter, that before a prefix, and the longest prefix is the one met last on the way down.
    fn find(&self, rest: Option<&str>, fits: &impl Fn(&[usize]) -> bool) -> Option<&[usize]> {
        let fitting = |list: &'_ [usize]| !list.is_empty() && fits(list);
        let covered = || fitting(&self.prefix).then_some(&*self.prefix);
        let Some(rest) = rest else {
            return match fitting(&self.exact) {
                true => Some(&self.exact),
                false => covered(),
            };
        };
        // Segments are short: byte by byte is the shortest way.
        let (segment, tail) = match rest.bytes().position(|byte| byte == b'/') {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        let by_literal = || self.literals.get(segment)?.find(tail, fits);
        let by_mixed = || {
            let mut fitting = self.mixed.iter().filter(|(mixed, _)| mixed.fits(segment));
            fitting.find_map(|(_, node)| node.find(tail, fits))
        };
        let by_parameter = || match segment {
            "" => None,
            _ => self.parameter.as_ref()?.find(tail, fits),
        };
        by_literal()
            .or_else(by_mixed)
            .or_else(by_parameter)
            .or_else(covered)
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
        let mut hosts = Hosts::default();
        let mut conflicts = Vec::new();
        for (position, route) in routes.iter().enumerate() {
            let everywhere = route.hosts.is_empty().then_some(None);
            for host in route.hosts.iter().map(Some).chain(everywhere) {
                let node = hosts.root(host).place(&route.path.segments);
                let list = match route.path.prefix {
                    true => &mut node.prefix,
                    false => &mut node.exact,
                };
                let ties = list.iter().filter(|other| ties(&routes[**other], route));
                conflicts.extend(ties.map(|other| (position, *other)));
                let place = list.partition_point(|other| rank(&routes[*other]) <= rank(route));
                list.insert(place, position);
            }
        }
        if conflicts.is_empty() {
            return Ok(Self {
                routes: routes.into(),
                hosts,
            });
        }
        // Once for each pair, however many hosts they share.
        conflicts.sort_unstable();
        conflicts.dedup();
        let conflicts = conflicts.into_iter();
        Err(conflicts
            .map(|(second, first)| RouteConflict { first, second })
            .collect())
    }

    /// The route for a request. `host` is without port, in any case; `path` is decoded.
    ///
    /// Of routes that share host and path, one that names its methods goes before one that does
    /// not, then more conditions on headers before fewer.
    pub fn find(&self, host: &str, method: KnownMethod, path: &str, headers: &HeaderMap) -> Routed {
        let path = path.strip_prefix('/');
        let is_met = |position: &usize| self.routes[*position].match_headers.is_met(headers);
        let fits = |list: &[usize]| list.iter().any(is_met);
        let Some(list) = self.hosts.find(host, |root| root.find(path, &fits)) else {
            return Routed::NotFound;
        };
        let mut allowed = Methods::NONE;
        for position in list.iter().filter(|position| is_met(position)) {
            let methods = self.routes[*position].methods;
            if methods.has(method) {
                return Routed::To(*position);
            }
            allowed = allowed.union(methods);
        }
        Routed::MethodNotAllowed(allowed)
    }

    pub fn route(&self, position: usize) -> &Route {
        &self.routes[position]
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// Among routes with the same host and path; the least is the best.
fn rank(route: &Route) -> (bool, Reverse<usize>) {
    let any_method = route.methods == Methods::ANY;
    (any_method, Reverse(route.match_headers.count()))
}

/// Whether a request can be both's, and there is no telling whose.
fn ties(one: &Route, other: &Route) -> bool {
    rank(one) == rank(other)
        && one.methods.overlaps(other.methods)
        && !one.match_headers.excludes(&other.match_headers)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::domain::{
        Access, Action, Forward, HeaderMatch, HostPattern, PathPattern, Policy, UpstreamId,
        Validation,
    };

    fn route(host: Option<&str>, path: &str, methods: &[&str]) -> Route {
        Route {
            name: path.into(),
            hosts: host
                .map(|host| HostPattern::parse(host).unwrap())
                .into_iter()
                .collect(),
            match_headers: HeaderMatch::default(),
            path: PathPattern::parse(path).unwrap(),
            methods: match methods {
                [] => Methods::ANY,
                names => Methods::parse(names).unwrap(),
            },
            access: Access::Token(Policy::default()),
            action: Action::Forward(Forward {
                on_failure: None,
                to: crate::domain::Destination::Production(UpstreamId(0)),
                timeout: None,
                rewrite: None,
            }),
            identity_headers: Box::default(),
            token_header: None,
            forward_token: false,
            cors: None,
            headers: None,
            compression: Box::default(),
            response_cache: None,
            backend_jwt: true,
            end_with_token: false,
            key_manager: None,
            api: None,
            validation: Validation::Same(false),
            tiers: crate::domain::RouteTiers::default(),
            rate_limits: Box::default(),
            max_body: None,
        }
    }

    fn table(routes: Vec<Route>) -> RouteTable {
        RouteTable::new(routes).unwrap()
    }

    fn find(table: &RouteTable, method: KnownMethod, path: &str) -> Routed {
        table.find("h", method, path, &HeaderMap::new())
    }

    fn get(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
        match table.find(host, KnownMethod::Get, path, &HeaderMap::new()) {
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
    fn a_name_that_is_too_long_is_nobodys_in_any_case() {
        let table = table(vec![
            route(Some("*.a.example"), "/*", &[]),
            route(None, "/*", &[]),
        ]);
        let host = |length: usize, end: &str| "x".repeat(length - end.len()) + end;
        for end in [".a.example", ".A.example"] {
            assert_eq!(get(&table, &host(MAX_HOST_BYTES, end), "/"), Some(0));
            assert_eq!(get(&table, &host(MAX_HOST_BYTES + 1, end), "/"), Some(1));
        }
    }

    #[test]
    fn methods_share_a_path_and_the_rest_is_not_allowed() {
        let table = table(vec![
            route(None, "/a", &["GET"]),
            route(None, "/a", &["POST", "PUT"]),
        ]);
        assert_eq!(find(&table, KnownMethod::Head, "/a"), Routed::To(0));
        assert_eq!(find(&table, KnownMethod::Put, "/a"), Routed::To(1));
        let Routed::MethodNotAllowed(allowed) = find(&table, KnownMethod::Delete, "/a") else {
            panic!("DELETE must not be allowed");
        };
        assert_eq!(allowed.to_string(), "GET, HEAD, POST, PUT");
        assert_eq!(find(&table, KnownMethod::Get, "/b"), Routed::NotFound);
    }

    #[test]
    fn trace_and_connect_never_pass() {
        let table = table(vec![route(None, "/*", &[])]);
        for method in [KnownMethod::Trace, KnownMethod::Connect] {
            assert!(matches!(
                find(&table, method, "/a"),
                Routed::MethodNotAllowed(_)
            ));
        }
        assert_eq!(find(&table, KnownMethod::Other, "/a"), Routed::To(0));
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
            ("/:x", "/{y}"),
            ("/{x}.{y}/a", "/{y}.{z}/a"),
        ] {
            let conflicts =
                RouteTable::new(vec![route(None, first, &[]), route(None, second, &[])]).err();
            assert_eq!(
                conflicts,
                Some(vec![RouteConflict {
                    first: 0,
                    second: 1
                }]),
                "{first} {second}"
            );
        }
        let named = |names: &[&str]| route(None, "/a", names);
        assert!(RouteTable::new(vec![named(&["GET"]), named(&["PUT", "GET"])]).is_err());
        assert!(RouteTable::new(vec![named(&[]), named(&["GET"])]).is_ok());
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
            let path = good
                .replace(":x", "1")
                .replace("{b}", "1")
                .replace('*', "z");
            assert_eq!(get(&table, "h", &path), Some(0), "{good}");
        }
    }

    #[test]
    fn a_mixed_segment_stands_between_literal_and_parameter() {
        let patterns = [
            "/r/:id",
            "/r/{id}.json",
            "/r/{y}-{m}.json",
            "/r/all.json",
            "/r/*",
        ];
        let table = table(patterns.iter().map(|path| route(None, path, &[])).collect());
        for (path, expected) in [
            ("/r/all.json", "/r/all.json"),
            ("/r/1-2.json", "/r/{y}-{m}.json"),
            ("/r/1.json", "/r/{id}.json"),
            ("/r/.json", "/r/:id"),
            ("/r/1.json/x", "/r/*"),
        ] {
            let found = get(&table, "h", path).map(|position| patterns[position]);
            assert_eq!(found, Some(expected), "{path}");
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

    /// What `docs/routes.md` says, done the long way: all routes that fit, the best of them.
    fn find_slowly(
        routes: &[Route],
        host: &str,
        method: KnownMethod,
        path: &str,
        headers: &HeaderMap,
    ) -> Routed {
        let fitting: Vec<_> = (0..routes.len())
            .filter(|position| routes[*position].match_headers.is_met(headers))
            .filter_map(|position| {
                let route = &routes[position];
                let host = host_rank(&route.hosts, host)?;
                let path = path_rank(&route.path.to_string(), path)?;
                Some(((host, path), position))
            })
            .collect();
        let Some(best) = fitting.iter().map(|(rank, _)| rank).max() else {
            return Routed::NotFound;
        };
        let shared = fitting.iter().filter(|(rank, _)| rank == best);
        let shared: Vec<usize> = shared.map(|(_, position)| *position).collect();
        let for_method = shared
            .iter()
            .filter(|position| routes[**position].methods.has(method));
        let winner = for_method.max_by_key(|position| {
            let route = &routes[**position];
            (route.methods != Methods::ANY, route.match_headers.count())
        });
        match winner {
            Some(position) => Routed::To(*position),
            None => Routed::MethodNotAllowed(shared.iter().fold(Methods::NONE, |all, position| {
                all.union(routes[*position].methods)
            })),
        }
    }

    /// Exact before wildcard before any, a longer wildcard before a shorter.
    fn host_rank(patterns: &[HostPattern], host: &str) -> Option<(u8, usize)> {
        let host = host.to_lowercase();
        let host = host.trim_end_matches('.');
        if patterns.is_empty() {
            return Some((0, 0));
        }
        let rank = |pattern: &HostPattern| match pattern.to_string().strip_prefix('*') {
            None => (pattern.to_string() == host).then_some((2, 0)),
            Some(end) => (host.ends_with(end) && host.len() > end.len()).then_some((1, end.len())),
        };
        patterns.iter().filter_map(rank).max()
    }

    /// Segment by segment: literal, mixed, parameter, end of a prefix. Of the mixed ones that share the
    /// amount of literal text, the one with the lesser text in front.
    fn path_rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
        let mut segments = path.split('/').skip(1);
        let mut ranks = Vec::new();
        for part in pattern.split('/').skip(1) {
            if part == "*" {
                ranks.push(0);
                return Some(ranks);
            }
            let segment = segments.next()?;
            let is_longer = |than: usize| segment.len() > than;
            ranks.push(match part {
                _ if part.starts_with(':') && is_longer(0) => 1,
                _ if part.starts_with("a{") && segment.starts_with('a') && is_longer(1) => 2,
                _ if part.starts_with('{') && segment.ends_with('b') && is_longer(1) => 3,
                _ if part == segment => 4,
                _ => return None,
            });
        }
        ranks.push(1);
        segments.next().is_none().then_some(ranks)
    }

    fn some<'a>(random: &mut fastrand::Rng, of: &[&'a str]) -> &'a str {
        of[random.usize(..of.len())]
    }

    fn random_path(random: &mut fastrand::Rng, parts: &[&str], ends: &[&str]) -> String {
        let depth = random.usize(..4);
        let segments = (0..depth).map(|depth| match some(random, parts) {
            ":" => format!("/:p{depth}"),
            "a{}" => format!("/a{{p{depth}}}"),
            "{}b" => format!("/{{p{depth}}}b"),
            part => format!("/{part}"),
        });
        let path: String = segments.collect();
        match format!("{path}{}", some(random, ends)) {
            empty if empty.is_empty() => "/".to_owned(),
            path => path,
        }
    }

    fn random_route(random: &mut fastrand::Rng) -> Route {
        const HOSTS: [&str; 7] = ["x", "a.x", "b.a.x", "*.x", "*.a.x", "*.b.a.x", "y"];
        let path = random_path(
            random,
            &["a", "ab", ":", "a{}", "{}b"],
            &["", "", "/", "/*"],
        );
        let methods: &[&str] = match random.u8(..4) {
            0 => &["GET"],
            1 => &["POST", "PUT"],
            _ => &[],
        };
        let mut route = route(None, &path, methods);
        let mut hosts: Vec<_> = (0..random.usize(..3))
            .map(|_| HostPattern::parse(some(random, &HOSTS)).unwrap())
            .collect();
        hosts.sort();
        hosts.dedup();
        route.hosts = hosts.into();
        let conditions = ["v", "w"].map(|name| {
            let value = match random.u8(..6) {
                0 => Some(HeaderValue::from_static("1")),
                1 => Some(HeaderValue::from_static("2")),
                2 => None,
                _ => return None,
            };
            Some((HeaderName::from_static(name), value))
        });
        route.match_headers = HeaderMatch::new(conditions.into_iter().flatten());
        route
    }

    /// Fixed seeds.
    #[test]
    fn the_table_finds_what_the_rules_say() {
        const METHODS: [KnownMethod; 4] = [
            KnownMethod::Get,
            KnownMethod::Post,
            KnownMethod::Delete,
            KnownMethod::Trace,
        ];
        let (mut found, mut refused, mut conflicts) = (0, 0, 0);
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut routes: Vec<Route> = (0..40).map(|_| random_route(&mut random)).collect();
            let table = loop {
                match RouteTable::new(routes.clone()) {
                    Ok(table) => break table,
                    Err(ties) => {
                        conflicts += 1;
                        routes.remove(ties[0].second);
                    }
                }
            };
            for _ in 0..200 {
                let host = some(
                    &mut random,
                    &[
                        "x", "A.x", "b.a.x.", "c.b.a.X", "q.x", "y", "z.y", "", ".x", ".",
                    ],
                );
                let path = random_path(&mut random, &["a", "b", "ab", "acb"], &["", "", "/"]);
                let method = METHODS[random.usize(..METHODS.len())];
                let mut headers = HeaderMap::new();
                for name in ["v", "w"] {
                    for _ in 0..random.usize(..3) {
                        let value = HeaderValue::from_static(some(&mut random, &["1", "2"]));
                        headers.append(name, value);
                    }
                }
                let fast = table.find(host, method, &path, &headers);
                let slow = find_slowly(&routes, host, method, &path, &headers);
                assert_eq!(
                    fast, slow,
                    "seed {seed}: {method:?} {host} {path} {headers:?}"
                );
                found += usize::from(matches!(fast, Routed::To(_)));
                refused += usize::from(matches!(fast, Routed::MethodNotAllowed(_)));
            }
        }
        assert!(
            found > 10_000 && refused > 1_000 && conflicts > 100,
            "{found} {refused} {conflicts}"
        );
    }

    #[test]
    fn hosts_go_from_the_exact_to_any() {
        let table = table(vec![
            route(Some("a.example.com"), "/x", &[]),
            route(Some("*.example.com"), "/*", &[]),
            route(Some("*.a.example.com"), "/*", &[]),
            route(None, "/*", &[]),
        ]);
        for (host, path, expected) in [
            ("a.example.com", "/x", 0),
            ("A.Example.COM.", "/x", 0),
            ("a.example.com", "/y", 1),
            ("b.example.com", "/x", 1),
            ("c.b.example.com", "/x", 1),
            ("b.a.example.com", "/x", 2),
            ("example.com", "/x", 3),
            ("xexample.com", "/x", 3),
            ("", "/x", 3),
        ] {
            assert_eq!(get(&table, host, path), Some(expected), "{host} {path}");
        }
        let long = format!("{}.EXAMPLE.com", "a.".repeat(30_000));
        assert_eq!(get(&table, &long, "/x"), Some(3), "longer than any name");
    }

    #[test]
    fn a_host_that_two_routes_share_is_told_once() {
        let mut one = route(None, "/a", &[]);
        one.hosts = ["*.a.example", "a.example"]
            .map(|host| HostPattern::parse(host).unwrap())
            .into();
        let conflicts = RouteTable::new(vec![one.clone(), one]).err();
        assert_eq!(
            conflicts,
            Some(vec![RouteConflict {
                first: 0,
                second: 1
            }])
        );
    }
}
