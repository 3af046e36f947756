//! `x-wso2-production-endpoints` and `x-wso2-sandbox-endpoints`.

use std::rc::Rc;

use super::{BaseUrl, Context, Node, Spotted};

/// Servers of the backend, and how to treat them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// At least one, all with the same path.
    pub servers: Vec<Spotted<BaseUrl>>,
    pub kind: EndpointKind,
    /// `advanceEndpointConfig.timeoutInMillis`.
    pub timeout_millis: Option<Spotted<u64>>,
    /// `retryConfig.count`: tries after the first.
    pub retries: Option<Spotted<u64>>,
    /// `circuitBreaker.resetTimeInMillis`: how long a server that fails is left out.
    pub reset_millis: Option<Spotted<u64>>,
    /// Its name, where it is one of `x-wso2-endpoints`.
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    One,
    LoadBalance,
    Failover,
}

pub fn production(context: &Context<'_>, holder: &Node<'_>) -> Option<Rc<Endpoints>> {
    read(context, holder, "x-wso2-production-endpoints")
}

pub fn sandbox(context: &Context<'_>, holder: &Node<'_>) -> Option<Rc<Endpoints>> {
    read(context, holder, "x-wso2-sandbox-endpoints")
}

fn read(context: &Context<'_>, holder: &Node<'_>, key: &str) -> Option<Rc<Endpoints>> {
    let field = holder.get(key)?;
    if let Some(reference) = field.text() {
        let Some((name, target)) = named(context, reference) else {
            let what = format!("{reference:?} is not one of `x-wso2-endpoints`");
            context.notes.error(what, field.at.clone());
            return None;
        };
        return of_node(context, target, Some(name.to_owned())).map(Rc::new);
    }
    of_node(context, field, None).map(Rc::new)
}

/// `#/x-wso2-endpoints/NAME`, from a list of mappings with one name each, or from one mapping.
fn named<'r, 'n>(context: &Context<'n>, reference: &'r str) -> Option<(&'r str, &'n Node<'n>)> {
    let name = reference.trim().strip_prefix("#/x-wso2-endpoints/")?;
    let all = context.root.get("x-wso2-endpoints")?;
    let in_list = all.items().iter().find_map(|item| item.get(name));
    Some((name, all.get(name).or(in_list)?))
}

fn of_node(context: &Context<'_>, node: &Node<'_>, name: Option<String>) -> Option<Endpoints> {
    let Some(urls) = node.get("urls").filter(|urls| !urls.items().is_empty()) else {
        let what = "an endpoint needs `urls`, a list";
        context.notes.error(what, node.at.clone());
        return None;
    };
    let servers: Option<Vec<_>> = urls
        .items()
        .iter()
        .map(|url| server(context, url))
        .collect();
    let servers = servers?;
    if let Some(other) = servers
        .iter()
        .find(|server| server.value.path != servers[0].value.path)
    {
        let what =
            "the urls of an endpoint have different paths: all requests go to that of the first";
        context.notes.error(what, other.at.clone());
        return None;
    }
    report_unsupported(context, node);
    let advanced = node.get("advanceEndpointConfig");
    let number = |path: &[&str]| {
        let found = path.iter().try_fold(advanced?, |node, key| node.get(key))?;
        found.number().map(|value| Spotted {
            value,
            at: found.at.clone(),
        })
    };
    Some(Endpoints {
        kind: kind(context, node, servers.len()),
        servers,
        timeout_millis: number(&["timeoutInMillis"]),
        retries: number(&["retryConfig", "count"]),
        reset_millis: number(&["circuitBreaker", "resetTimeInMillis"]),
        name,
    })
}

/// A url, or `etcd(url, key)`, which is looked up in etcd in the original and has its default in front.
fn server(context: &Context<'_>, url: &Node<'_>) -> Option<Spotted<BaseUrl>> {
    let mut text = url.text().unwrap_or_default().trim();
    if let Some(inside) = text.strip_prefix("etcd(") {
        context.notes.warn(
            "etcd is not asked for urls: the one in front is taken",
            url.at.clone(),
        );
        text = inside.split([',', ')']).next().unwrap_or_default().trim();
    }
    let parsed = BaseUrl::parse(text);
    if parsed.is_none() {
        let what = "this is not the url of an endpoint: http or https, host, port, path";
        context.notes.error(what, url.at.clone());
    }
    parsed.map(|value| Spotted {
        value,
        at: url.at.clone(),
    })
}

fn kind(context: &Context<'_>, node: &Node<'_>, servers: usize) -> EndpointKind {
    let field = node.get("type");
    match field.and_then(Node::text).unwrap_or_default() {
        "failover" | "fail_over" => EndpointKind::Failover,
        "load_balance" | "loadbalance" => EndpointKind::LoadBalance,
        "" | "http" | "https" if servers == 1 => EndpointKind::One,
        "" | "http" | "https" => EndpointKind::LoadBalance,
        other => {
            let what =
                format!("endpoints of the type {other:?} are not known: they share the load");
            context
                .notes
                .warn(what, field.map_or(0..0, |field| field.at.clone()));
            EndpointKind::LoadBalance
        }
    }
}

/// What an endpoint may say that the gateway does not do.
fn report_unsupported(context: &Context<'_>, node: &Node<'_>) {
    const IN_RETRIES: [&str; 4] = [
        "intervalInMillis",
        "backOffFactor",
        "maxWaitIntervalInMillis",
        "statusCodes",
    ];
    const IN_BREAKER: [&str; 3] = ["rollingWindow", "failureThreshold", "statusCodes"];
    if let Some(security) = node.get("securityConfig") {
        let what = "`securityConfig` of endpoints is not supported: the backend is called without a password";
        context.notes.warn(what, security.at.clone());
    }
    let Some(advanced) = node.get("advanceEndpointConfig") else {
        return;
    };
    let some_of = |holder: &str, keys: &[&str]| {
        let holder = advanced.get(holder)?;
        keys.iter()
            .find_map(|key| holder.get(key))
            .map(|found| found.at.clone())
    };
    if let Some(at) = some_of("retryConfig", &IN_RETRIES) {
        let what =
            "of `retryConfig` only `count` is taken: the gateway tries again where that is safe";
        context.notes.warn(what, at);
    }
    if let Some(at) = some_of("circuitBreaker", &IN_BREAKER) {
        let what =
            "of `circuitBreaker` only `resetTimeInMillis` is taken: failures in a row are counted";
        context.notes.warn(what, at);
    }
    if let Some(pool) = advanced.get("poolConfig") {
        context.notes.warn(
            "`poolConfig` of endpoints is not supported",
            pool.at.clone(),
        );
    }
}
