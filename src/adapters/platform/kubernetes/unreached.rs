//! Why an API server can't be reached, for people: the root cause first, then where, then what to look at.

use http::Uri;

/// Where a cluster is reached, and by what that is said. No credentials stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    server: String,
    host: String,
    said_by: String,
}

impl Way {
    /// `said_by`: what names the address, `context eu of /etc/kubeconfig`.
    pub fn new(server: &Uri, proxy: Option<&Uri>, said_by: String) -> Self {
        let through = proxy.map(|proxy| format!(" through {}", place(proxy))).unwrap_or_default();
        Way {
            server: format!("{}{through}", place(server)),
            host: server.host().unwrap_or_default().to_owned(),
            said_by,
        }
    }

    /// Why a connection failed.
    pub fn unreached(&self, error: &dyn std::error::Error) -> String {
        self.told(&root(error))
    }

    /// The server accepts no credentials of these.
    pub fn unauthorized(&self) -> String {
        format!(
            "{} does not accept the daemon's credentials (401 Unauthorized): renew those of {}",
            self.server, self.said_by
        )
    }

    fn told(&self, cause: &str) -> String {
        let Way { server, host, said_by } = self;
        let says = |words: &str| cause.contains(words);
        if says("onnection refused") {
            return format!(
                "connection refused by {server}: see that the API server runs, and that {said_by} has its address"
            );
        }
        if says("failed to lookup address") || says("dns error") {
            return format!(
                "no address is known for {host} ({cause}): see the name in {said_by}, and this machine's DNS"
            );
        }
        if says("certificate expired") || says("Expired") {
            return format!("the certificate of {server} has expired: renew the API server's ({cause})");
        }
        if says("certificate not valid yet") || says("NotValidYet") {
            return format!("the certificate of {server} is not valid yet: see this machine's clock ({cause})");
        }
        if says("not valid for") || says("NotValidForName") {
            return format!("the certificate of {server} is not for {host}: see the address in {said_by} ({cause})");
        }
        if says("invalid peer certificate") || says("self-signed") {
            return format!(
                "the certificate of {server} is of an authority that is not trusted: see `certificate-authority` of {said_by} ({cause})"
            );
        }
        if says("fatal alert") {
            return format!("{server} refuses the client certificate: renew that of {said_by} ({cause})");
        }
        if says("InvalidContentType") || says("corrupt message") {
            return format!("{server} speaks no TLS: see the address in {said_by} ({cause})");
        }
        if says("timed out") || says("deadline has elapsed") {
            return format!(
                "no answer from {server}: see that {said_by} has its address, and the network and firewalls between"
            );
        }
        if says("No route to host") || says("etwork is unreachable") {
            return format!(
                "no way leads to {server}: see the address in {said_by}, and this machine's network ({cause})"
            );
        }
        format!("{cause}, from {server}, the address in {said_by}")
    }
}

/// Scheme, host and port of an address, and nothing of what may stand beside them.
fn place(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    format!("{scheme}://{}:{port}", uri.host().unwrap_or_default())
}

/// The innermost cause.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        let server = "https://me:hunter2@10.0.0.1:6443/".parse().expect("a URL");
        Way::new(&server, None, "context eu of /etc/kubeconfig".into())
    }

    #[test]
    fn the_root_cause_comes_first_with_where_and_what_to_look_at() {
        for (cause, told) in [
            (
                "Connection refused (os error 111)",
                "connection refused by https://10.0.0.1:6443: see that the API server runs, and that context eu of /etc/kubeconfig has its \
                 address",
            ),
            (
                "failed to lookup address information: Name or service not known",
                "no address is known for 10.0.0.1 (failed to lookup address information: Name or service not known): see the name in \
                 context eu of /etc/kubeconfig, and this machine's DNS",
            ),
            (
                "invalid peer certificate: UnknownIssuer",
                "the certificate of https://10.0.0.1:6443 is of an authority that is not trusted: see `certificate-authority` of context eu \
                 of /etc/kubeconfig (invalid peer certificate: UnknownIssuer)",
            ),
            (
                "invalid peer certificate: certificate expired: verified at time 2 (UNIX), but certificate is not valid after 1",
                "the certificate of https://10.0.0.1:6443 has expired: renew the API server's (invalid peer certificate: certificate expired: \
                 verified at time 2 (UNIX), but certificate is not valid after 1)",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"10.0.0.1\"",
                "the certificate of https://10.0.0.1:6443 is not for 10.0.0.1: see the address in context eu of /etc/kubeconfig (invalid peer \
                 certificate: certificate not valid for name \"10.0.0.1\")",
            ),
            (
                "received fatal alert: CertificateUnknown",
                "https://10.0.0.1:6443 refuses the client certificate: renew that of context eu of /etc/kubeconfig (received fatal alert: \
                 CertificateUnknown)",
            ),
            (
                "deadline has elapsed",
                "no answer from https://10.0.0.1:6443: see that context eu of /etc/kubeconfig has its address, and the network and firewalls \
                 between",
            ),
            ("something", "something, from https://10.0.0.1:6443, the address in context eu of /etc/kubeconfig"),
        ] {
            assert_eq!(way().told(cause), told);
        }
    }

    #[test]
    fn no_credentials_are_told() {
        let proxy = "http://me:hunter2@proxy:3128".parse().expect("a URL");
        let server = "https://me:hunter2@eu.example.com".parse().expect("a URL");
        let way = Way::new(&server, Some(&proxy), "x".into());
        for told in [way.unauthorized(), way.told("Connection refused"), format!("{way:?}")] {
            assert!(!told.contains("hunter2") && told.contains("https://eu.example.com:443 through http://proxy:3128"));
        }
    }
}
