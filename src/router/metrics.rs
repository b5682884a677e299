//! The measurements as text in the format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::plane::Plane;
use crate::protocol::router::{EndpointHealth, GroupStats, RouteStatus, latency_buckets_ms};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All measurements of a router.
pub fn text(plane: &Plane) -> String {
    let routes: Vec<RouteStatus> = plane
        .gate
        .read(|table| table.routes.values().cloned().collect::<Vec<_>>())
        .iter()
        .map(|r| r.status(""))
        .collect();
    let mut out = String::with_capacity(16 * 1024);
    // Writing to a string can't fail.
    let _ = write_all(&mut out, plane, &routes);
    out
}

fn write_all(out: &mut String, plane: &Plane, routes: &[RouteStatus]) -> std::fmt::Result {
    head(out, "trimtab_router_connections", "gauge", "Client connections that are open.")?;
    writeln!(out, "trimtab_router_connections {}", plane.connections())?;
    head(out, "trimtab_router_tunnels", "gauge", "Connections that another protocol took over (WebSocket), open now.")?;
    writeln!(out, "trimtab_router_tunnels {}", plane.tunnels.load(Ordering::Relaxed))?;
    plane.refusals.write(out);
    plane.tls.write(out);
    head(out, "trimtab_router_access_lines_lost_total", "counter", "Lines of the access log that were not written.")?;
    writeln!(out, "trimtab_router_access_lines_lost_total {}", plane.access.lost())?;

    head(out, "trimtab_router_held", "gauge", "Requests that wait because their route holds.")?;
    for status in routes {
        writeln!(out, "trimtab_router_held{{route=\"{}\"}} {}", escaped(&status.route.key), status.held)?;
    }
    head(out, "trimtab_router_in_flight", "gauge", "Requests in flight, by endpoint.")?;
    endpoints(out, routes, "trimtab_router_in_flight", |endpoint| endpoint.in_flight)?;
    head(out, "trimtab_router_endpoint_up", "gauge", "Whether an endpoint can serve: 1 or 0.")?;
    endpoints(out, routes, "trimtab_router_endpoint_up", |endpoint| u64::from(endpoint.health == EndpointHealth::Up))?;
    head(out, "trimtab_router_weight", "gauge", "A group's weight.")?;
    for status in routes {
        for backend in &status.route.backends {
            let labels = labels(status, backend.group.as_str());
            writeln!(out, "trimtab_router_weight{{{labels}}} {}", backend.weight)?;
        }
    }
    groups(out, routes)
}

fn groups(out: &mut String, routes: &[RouteStatus]) -> std::fmt::Result {
    let each = || {
        routes
            .iter()
            .flat_map(|status| status.groups.iter().map(move |group| (labels(status, group.group.as_str()), group)))
    };
    head(out, "trimtab_router_requests_total", "counter", "Answers of the instances, by class.")?;
    for (labels, group) in each() {
        for (class, count) in CLASSES.iter().zip(group.classes) {
            writeln!(out, "trimtab_router_requests_total{{{labels},class=\"{class}\"}} {count}")?;
        }
    }
    head(out, "trimtab_router_failed_total", "counter", "Attempts that got no whole answer from an instance.")?;
    for (labels, group) in each() {
        writeln!(out, "trimtab_router_failed_total{{{labels}}} {}", group.failed)?;
    }
    head(out, "trimtab_router_request_duration_seconds", "histogram", "Time until the head of an instance's answer.")?;
    let bounds = latency_buckets_ms();
    for (labels, group) in each() {
        histogram(out, &labels, &bounds, group)?;
    }
    Ok(())
}

fn histogram(out: &mut String, labels: &str, bounds: &[f64], group: &GroupStats) -> std::fmt::Result {
    let name = "trimtab_router_request_duration_seconds";
    let mut below = 0;
    for (bound, count) in bounds.iter().zip(&group.latency) {
        below += count;
        writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", bound / 1_000.0)?;
    }
    let all: u64 = group.latency.iter().sum();
    writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {all}")?;
    writeln!(out, "{name}_sum{{{labels}}} {}", group.latency_sum_ms / 1_000.0)?;
    writeln!(out, "{name}_count{{{labels}}} {all}")
}

fn endpoints(
    out: &mut String,
    routes: &[RouteStatus],
    name: &str,
    value: impl Fn(&crate::protocol::router::EndpointStatus) -> u64,
) -> std::fmt::Result {
    for status in routes {
        for endpoint in &status.endpoints {
            let labels = labels(status, endpoint.group.as_str());
            let id = escaped(&endpoint.endpoint.id);
            writeln!(out, "{name}{{{labels},endpoint=\"{id}\"}} {}", value(endpoint))?;
        }
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn labels(status: &RouteStatus, group: &str) -> String {
    format!("route=\"{}\",group=\"{}\"", escaped(&status.route.key), escaped(group))
}

/// A label's value with what the format asks to be escaped.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_can_not_break_out() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn histograms_are_cumulative() {
        let bounds = [1.0, 2.0];
        let stats = GroupStats {
            group: "g".into(),
            classes: [0; 5],
            failed: 0,
            latency: vec![1, 2, 3],
            latency_sum_ms: 1_500.0,
        };
        let mut out = String::new();
        histogram(&mut out, "a=\"b\"", &bounds, &stats).unwrap();
        let values: Vec<_> = out.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(values, ["1", "3", "6", "1.5", "6"]);
        assert!(out.contains("le=\"0.001\"") && out.contains("le=\"+Inf\""));
    }
}
