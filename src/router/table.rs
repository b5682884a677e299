//! Which route a request belongs to: the host first, the most specific one, then the longest path by whole segments.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::route::Route;

/// All routes in force. Replaced as a whole.
#[derive(Debug, Default)]
pub struct Table {
    /// The routes by key.
    pub routes: BTreeMap<String, Arc<Route>>,
    listeners: Vec<(SocketAddr, Hosts)>,
}

/// The hosts of one listener.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<String, Paths>,
    /// `.example.org` for `*.example.org`; the longest first.
    wildcards: Vec<(String, Paths)>,
    any: Paths,
}

/// The paths of one host, the longest first, without a trailing `/`.
#[derive(Debug, Default)]
struct Paths(Vec<(String, Arc<Route>)>);

impl Table {
    /// The table of these routes.
    pub fn new(routes: BTreeMap<String, Arc<Route>>) -> Self {
        let mut listeners: BTreeMap<SocketAddr, Hosts> = BTreeMap::new();
        for route in routes.values() {
            listeners.entry(route.config.listen).or_default().insert(route);
        }
        let mut listeners: Vec<_> = listeners.into_iter().collect();
        for (_, hosts) in &mut listeners {
            hosts.wildcards.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        }
        Table { routes, listeners }
    }

    /// The route of a request that came in at a listener. `host` may have a port.
    pub fn find(&self, listener: SocketAddr, host: &str, path: &str) -> Option<&Arc<Route>> {
        let (_, hosts) = self.listeners.iter().find(|(address, _)| *address == listener)?;
        hosts.paths(without_port(host)).find(path)
    }

    /// The key of another route that would answer the same requests.
    pub fn rival(&self, config: &crate::protocol::router::RouteConfig) -> Option<&str> {
        let same = |other: &&Arc<Route>| {
            let other = &other.config;
            other.key != config.key
                && other.listen == config.listen
                && other.host == config.host
                && trimmed(&other.path) == trimmed(&config.path)
        };
        self.routes.values().find(same).map(|route| route.config.key.as_str())
    }
}

impl Hosts {
    fn insert(&mut self, route: &Arc<Route>) {
        let paths = match route.config.host.as_deref() {
            None => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                None => self.exact.entry(host.to_owned()).or_default(),
                Some(suffix) => {
                    let at = self.wildcards.iter().position(|(other, _)| other == suffix);
                    let at = at.unwrap_or_else(|| {
                        self.wildcards.push((suffix.to_owned(), Paths::default()));
                        self.wildcards.len() - 1
                    });
                    &mut self.wildcards[at].1
                }
            },
        };
        paths.insert(route);
    }

    /// The paths of the most specific host that matches. Once a host is named by any route, others do not answer for it.
    fn paths(&self, host: &str) -> &Paths {
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return &self.any;
        }
        let host = lower(host);
        if let Some(paths) = self.exact.get(host.as_ref()) {
            return paths;
        }
        let fits = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
        self.wildcards.iter().find(|(suffix, _)| fits(suffix)).map_or(&self.any, |(_, paths)| paths)
    }
}

impl Paths {
    fn insert(&mut self, route: &Arc<Route>) {
        self.0.push((trimmed(&route.config.path).to_owned(), route.clone()));
        self.0.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    }

    fn find(&self, path: &str) -> Option<&Arc<Route>> {
        let fits = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().find(|(prefix, _)| fits(prefix)).map(|(_, route)| route)
    }
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// The host of `host:port`; the brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()) && !host[..at].ends_with(':') => {
            if host.starts_with('[') && !host[..at].ends_with(']') { host } else { &host[..at] }
        }
        _ => host,
    }
}

/// The host in lower case and without the dot of a fully qualified name; borrowed when it already is.
fn lower(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::route;

    fn table(routes: &[(&str, Option<&str>, &str)]) -> Table {
        let build = |(key, host, path): &(&str, Option<&str>, &str)| {
            let mut config = route(key);
            config.host = host.map(str::to_owned);
            config.path = (*path).to_owned();
            (config.key.clone(), Route::next(config, None, 1).route)
        };
        Table::new(routes.iter().map(build).collect())
    }

    #[test]
    fn the_most_specific_host_then_the_longest_path() {
        let table = table(&[
            ("any", None, "/"),
            ("exact", Some("a.example.org"), "/"),
            ("api", Some("a.example.org"), "/api"),
            ("deep", Some("a.example.org"), "/api/v1/"),
            ("wild", Some("*.example.org"), "/"),
            ("wilder", Some("*.b.example.org"), "/only"),
            ("six", Some("[::1]"), "/"),
        ]);
        let listener = route("x").listen;
        let cases = [
            ("a.example.org", "/", Some("exact")),
            ("A.Example.ORG:8080", "/", Some("exact")),
            ("a.example.org.", "/x", Some("exact")),
            ("a.example.org", "/api", Some("api")),
            ("a.example.org", "/api/", Some("api")),
            ("a.example.org", "/apiary", Some("exact")),
            ("a.example.org", "/api/v1", Some("deep")),
            ("a.example.org", "/api/v1/x", Some("deep")),
            ("a.example.org", "/api/v10", Some("api")),
            ("c.example.org", "/api", Some("wild")),
            ("x.b.example.org", "/only", Some("wilder")),
            ("x.b.example.org", "/other", None),
            ("example.org", "/", Some("any")),
            ("", "/", Some("any")),
            ("[::1]:80", "/", Some("six")),
            ("[::1]", "/", Some("six")),
            ("[::2]", "/", Some("any")),
        ];
        for (host, path, expected) in cases {
            let found = table.find(listener, host, path).map(|route| route.config.key.as_str());
            assert_eq!(found, expected, "{host}{path}");
        }
        assert!(table.find("127.0.0.1:9".parse().unwrap(), "a.example.org", "/").is_none(), "another listener");
    }

    #[test]
    fn two_routes_can_not_answer_the_same() {
        let table = table(&[("one", Some("a"), "/api/")]);
        let mut config = route("two");
        config.host = Some("a".into());
        config.path = "/api".into();
        assert_eq!(table.rival(&config), Some("one"));
        config.key = "one".into();
        assert_eq!(table.rival(&config), None);
    }
}
