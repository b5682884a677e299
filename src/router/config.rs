//! What a route may look like: the checks that a [`RouteConfig`] passes before it is stored. Pure.

use std::collections::BTreeSet;

use crate::domain::route::{MAX_TESTERS, Tester};
use crate::domain::tls;
use crate::domain::workload::{Check, Probe};
use crate::protocol::router::{Backend, RouteConfig};

/// The most groups of a route.
pub const MAX_BACKENDS: usize = 64;
/// The most endpoints of a group.
pub const MAX_ENDPOINTS: usize = 1_024;
/// The highest weight of a group.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The most routes of one router.
pub const MAX_ROUTES: usize = 10_000;
/// The longest key, host, path, group or instance id.
const MAX_TEXT: usize = 1_024;
/// The longest time that any setting may name: a day.
const MAX_MILLIS: u64 = 86_400_000;
/// The most requests that may wait on one route.
const MAX_HELD: u32 = 100_000;

/// Checks a route and brings its host to lower case; the error is a sentence for the sender.
pub fn validate(mut route: RouteConfig) -> Result<RouteConfig, String> {
    let key = route.key.clone();
    check(&mut route).map_err(|reason| format!("route {key:?} is refused: {reason}"))?;
    Ok(route)
}

fn check(route: &mut RouteConfig) -> Result<(), String> {
    if route.key.is_empty() || route.key.len() > MAX_TEXT {
        return Err(format!("its key must have 1 to {MAX_TEXT} bytes"));
    }
    if route.listen.port() == 0 {
        return Err(format!("it listens on {}: name the port, 0 is none", route.listen));
    }
    if let Some(host) = &mut route.host {
        host.make_ascii_lowercase();
        check_host(host)?;
    }
    check_path("path", &route.path)?;
    check_time("drain", route.drain.as_millis(), 0)?;
    check_time("timeout", route.timeout.as_millis(), 1)?;
    if let Some(hold) = &route.hold {
        check_time("hold.timeout", hold.timeout.as_millis(), 1)?;
        if hold.max > MAX_HELD {
            return Err(format!("hold.max is {}, the most is {MAX_HELD}", hold.max));
        }
    }
    if let Some(sticky) = &route.sticky
        && !is_token(&sticky.cookie)
    {
        return Err(format!(
            "{:?} is no name for a cookie: use letters, digits, `-`, `_` and `.`, at most 128",
            sticky.cookie
        ));
    }
    if let Some(probe) = &route.probe {
        check_probe(probe)?;
    }
    if let Some(tls) = &route.tls {
        tls::check(tls)?;
    }
    if route.testers.len() > MAX_TESTERS {
        return Err(format!("it has {} kinds of testers, the most is {MAX_TESTERS}", route.testers.len()));
    }
    route.testers.iter().try_for_each(Tester::check)?;
    check_backends(&route.backends, route.hold.is_some())
}

fn check_backends(backends: &[Backend], holds: bool) -> Result<(), String> {
    if backends.iter().filter(|backend| backend.testers).count() > 1 {
        return Err("more than one group is marked for testers".into());
    }
    if backends.len() > MAX_BACKENDS {
        return Err(format!("it has {} groups, the most is {MAX_BACKENDS}", backends.len()));
    }
    let mut groups = BTreeSet::new();
    for Backend { group, weight, endpoints, .. } in backends {
        if !is_token(group.as_str()) {
            return Err(format!("group {group:?} is no id: use letters, digits, `-`, `_` and `.`, at most 128"));
        }
        if !groups.insert(group) {
            return Err(format!("group {group} is there twice"));
        }
        if *weight > MAX_WEIGHT {
            return Err(format!("group {group} has weight {weight}, the most is {MAX_WEIGHT}"));
        }
        if *weight > 0 && endpoints.is_empty() && !holds {
            return Err(format!(
                "group {group} has weight {weight} but no endpoint, so its share of the requests would fail: \
                 set weight 0, add endpoints, or hold the route"
            ));
        }
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(format!("group {group} has {} endpoints, the most is {MAX_ENDPOINTS}", endpoints.len()));
        }
        let mut ids = BTreeSet::new();
        for endpoint in endpoints {
            if endpoint.id.is_empty() || endpoint.id.len() > MAX_TEXT {
                return Err(format!("an endpoint of group {group} has an id that is empty or over {MAX_TEXT} bytes"));
            }
            if !ids.insert(&endpoint.id) {
                return Err(format!("group {group} has endpoint {:?} twice", endpoint.id));
            }
            if endpoint.address.port() == 0 {
                return Err(format!("endpoint {:?} of group {group} has port 0", endpoint.id));
            }
        }
    }
    Ok(())
}

fn check_probe(probe: &Probe) -> Result<(), String> {
    check_time("probe.interval", probe.interval.as_millis(), 10)?;
    check_time("probe.timeout", probe.timeout.as_millis(), 1)?;
    if probe.healthy_after == 0 || probe.unhealthy_after == 0 {
        return Err("probe.healthyAfter and probe.unhealthyAfter must be at least 1".into());
    }
    match &probe.check {
        Check::Http { path } => {
            // A query is allowed here, unlike in a prefix.
            check_path("probe.check.http.path", path.split_once('?').map_or(path.as_str(), |(path, _)| path))?;
            path.parse::<http::Uri>().map(drop).map_err(|error| format!("probe.check.http.path {path:?}: {error}"))
        }
        Check::Tcp {} | Check::Exec { .. } => Ok(()),
    }
}

fn check_time(what: &str, millis: u64, least: u64) -> Result<(), String> {
    if millis < least {
        return Err(format!("{what} is {millis}ms, the least is {least}ms"));
    }
    if millis > MAX_MILLIS {
        return Err(format!("{what} is over a day"));
    }
    Ok(())
}

fn check_path(what: &str, path: &str) -> Result<(), String> {
    let fits = path.starts_with('/')
        && path.len() <= MAX_TEXT
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if fits {
        return Ok(());
    }
    Err(format!("{what} {path:?} must begin with `/` and hold only visible ASCII without `?` and `#`"))
}

/// A host name or an address, or `*.` and a host name; lower case, without a port.
fn check_host(host: &str) -> Result<(), String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let bracketed = name.starts_with('[') && name.ends_with(']');
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_')
            || (bracketed && matches!(byte, b':' | b'[' | b']'))
    };
    if !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!("{host:?} is no host: write a name without scheme and port, or `*.` and a name"))
}

/// Whether a text can stand in a cookie, a label and a header as it is.
fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::route;

    type Change = fn(&mut RouteConfig);

    #[test]
    fn takes_what_can_be_served() {
        let changes: [Change; 6] = [
            |_| {},
            |r| r.host = Some("*.Example.org".into()),
            |r| r.host = Some("[::1]".into()),
            |r| r.backends[0].weight = 0,
            |r| r.backends.clear(),
            |r| r.path = "/api/v1/".into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut config = route("a");
            change(&mut config);
            let config = validate(config).unwrap_or_else(|error| panic!("{number}: {error}"));
            assert!(config.host.is_none_or(|host| host == host.to_ascii_lowercase()));
        }
    }

    #[test]
    fn refuses_what_can_not_and_says_why() {
        let cases: [(Change, &str); 14] = [
            (|r| r.key = String::new(), "key"),
            (|r| r.listen.set_port(0), "port"),
            (|r| r.host = Some("example.org:80".into()), "no host"),
            (|r| r.host = Some("*.".into()), "no host"),
            (|r| r.path = "api".into(), "begin with"),
            (|r| r.path = "/a?b".into(), "begin with"),
            (|r| r.backends[0].endpoints.clear(), "no endpoint"),
            (|r| r.backends.push(r.backends[0].clone()), "twice"),
            (|r| r.backends[0].weight = 1_000_001, "most"),
            (|r| r.backends[0].group = "a;b".into(), "no id"),
            (|r| r.backends[0].endpoints[0].address.set_port(0), "port 0"),
            (|r| r.timeout = crate::domain::span::Span::ZERO, "least"),
            (|r| r.drain = crate::domain::span::Span::from_secs(100_000), "over a day"),
            (
                |r| r.sticky = Some(crate::protocol::router::Sticky { cookie: "a b".into(), max_age: r.drain }),
                "no name for a cookie",
            ),
        ];
        for (number, (change, word)) in cases.into_iter().enumerate() {
            let mut config = route("a");
            change(&mut config);
            let error = validate(config).expect_err(&format!("case {number} was taken"));
            assert!(error.contains(word), "case {number}: {error}");
        }
    }

    #[test]
    fn a_group_may_lack_endpoints_while_the_route_holds() {
        let mut config = route("a");
        config.backends[0].endpoints.clear();
        config.hold = Some(crate::protocol::router::Hold { timeout: config.timeout, max: 10 });
        assert!(validate(config).is_ok());
    }
}
