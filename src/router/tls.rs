//! TLS at the listeners: which certificate a client gets, and how changed files come in force while connections go on.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{CertificateError, Loaded, Stamps, is_for};
use crate::domain::tls::{Certificate, Tls};

/// How long before its end a certificate is warned of.
const WARN: Duration = Duration::from_secs(21 * 86_400);
const DAY: u64 = 86_400;

/// The listeners that speak TLS, and their certificates.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Handshakes that failed.
    pub failed_handshakes: AtomicU64,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<Certificate, Entry>,
    listeners: BTreeMap<SocketAddr, Listener>,
}

/// What is known of one certificate.
#[derive(Clone, Debug)]
struct Entry {
    stamps: Stamps,
    /// What is in use.
    loaded: Option<Arc<Loaded>>,
    /// Why what lies there now is not.
    problem: Option<String>,
}

#[derive(Debug)]
struct Listener {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    certificates: Vec<Certificate>,
}

/// Which listeners speak TLS, with which certificates: the first route's first comes first.
pub type Needed = BTreeMap<SocketAddr, Vec<Certificate>>;

/// What routes ask for together: a listener speaks TLS as soon as one of its routes does.
pub fn needed<'a>(routes: impl Iterator<Item = (SocketAddr, Option<&'a Tls>)>) -> Needed {
    let mut needed = Needed::new();
    for (address, tls) in routes {
        let Some(tls) = tls else { continue };
        let certificates = needed.entry(address).or_default();
        for files in &tls.certificates {
            if !certificates.contains(files) {
                certificates.push(files.clone());
            }
        }
    }
    needed
}

impl Listeners {
    /// The settings for a new connection at a listener; `None`: it does not speak TLS.
    pub fn at(&self, listener: SocketAddr) -> Option<Arc<ServerConfig>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.listeners.get(&listener).map(|listener| listener.config.clone())
    }

    /// Whether certificates can be used that are not in use yet. Reads files.
    ///
    /// # Errors
    /// The first one that can't.
    pub fn check(&self, tls: &Tls) -> Result<(), CertificateError> {
        let known: Vec<_> = {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            inner.files.iter().filter(|(_, entry)| entry.loaded.is_some()).map(|(files, _)| files.clone()).collect()
        };
        let unknown = tls.certificates.iter().filter(|files| !known.contains(files));
        unknown.into_iter().try_for_each(|files| Loaded::read(files).map(drop))
    }

    /// Takes in what is needed and what has changed on disk. A certificate that can't be used any more stays as it was before.
    /// Reads files; not to be called by two at once.
    pub fn refresh(&self, needed: &Needed) {
        // Nothing is locked while files are read; whoever calls this sees to it that it is one at a time.
        let mut files = self.inner.read().unwrap_or_else(PoisonError::into_inner).files.clone();
        files.retain(|files, _| needed.values().any(|wanted| wanted.contains(files)));
        for wanted in needed.values().flatten() {
            let stamps = Stamps::look(wanted);
            match files.get_mut(wanted) {
                Some(entry) if entry.stamps == stamps && entry.loaded.is_some() => {}
                Some(entry) => entry.renew(wanted, stamps),
                None => {
                    let mut entry = Entry { stamps: stamps.clone(), loaded: None, problem: None };
                    entry.renew(wanted, stamps);
                    files.insert(wanted.clone(), entry);
                }
            }
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.listeners.retain(|address, _| needed.contains_key(address));
        for (address, certificates) in needed {
            let keys: Vec<_> = certificates
                .iter()
                .filter_map(|wanted| files.get(wanted)?.loaded.as_ref().map(|loaded| loaded.key.clone()))
                .collect();
            if !inner.listeners.contains_key(address)
                && let Some(listener) = Listener::new(*address)
            {
                inner.listeners.insert(*address, listener);
            }
            if let Some(listener) = inner.listeners.get_mut(address) {
                *listener.resolver.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
                listener.certificates.clone_from(certificates);
            }
        }
        inner.files = files;
    }

    /// Certificates of which none could ever be used, and why.
    pub fn missing(&self) -> Vec<String> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let missing = inner.files.values().filter(|entry| entry.loaded.is_none());
        missing.filter_map(|entry| entry.problem.clone()).collect()
    }

    /// What is wrong with the certificates, for people.
    pub fn limitations(&self, now: SystemTime) -> Vec<String> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        for (files, entry) in &inner.files {
            match (&entry.problem, &entry.loaded) {
                (Some(problem), Some(_)) => {
                    out.push(format!("a changed certificate is not in use: {problem}; the one before it goes on"));
                }
                (Some(problem), None) => {
                    out.push(format!("a certificate is missing: {problem}; connections that need it are refused"));
                }
                _ => {}
            }
            match entry.loaded.as_ref().map(|loaded| loaded.not_after.duration_since(now)) {
                Some(Err(_)) => out.push(format!("the certificate {files} has ended: renew it")),
                Some(Ok(left)) if left < WARN => {
                    out.push(format!("the certificate {files} ends in {} days: renew it", left.as_secs() / DAY));
                }
                _ => {}
            }
        }
        out
    }

    /// Writes what is known of them in the text format of Prometheus.
    pub fn write(&self, out: &mut String) {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Entry) -> Option<u64>| {
            // Writing to a string can't fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (files, entry) in &inner.files {
                if let Some(value) = value(entry) {
                    let certificate = super::metrics::escaped(&files.certificate);
                    let _ = writeln!(out, "{name}{{certificate=\"{certificate}\"}} {value}");
                }
            }
        };
        let ends = |entry: &Entry| {
            let end = entry.loaded.as_ref()?.not_after;
            Some(end.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
        };
        let help = "When the certificate in use ends, in seconds since 1970.";
        family("trimtab_router_certificate_not_after_seconds", "gauge", help, &ends);
        let help = "Whether the files of a certificate can't be used as they lie there now: 1 or 0.";
        family("trimtab_router_certificate_failed", "gauge", help, &|entry| Some(entry.problem.is_some().into()));
        let name = "trimtab_router_tls_handshakes_failed_total";
        let _ = writeln!(out, "# HELP {name} Connections that ended before TLS was agreed on.\n# TYPE {name} counter");
        let _ = writeln!(out, "{name} {}", self.failed_handshakes.load(Relaxed));
    }
}

impl Entry {
    fn renew(&mut self, files: &Certificate, stamps: Stamps) {
        match Loaded::read(files) {
            Ok(loaded) => {
                tracing::info!(certificate = %files, "certificate in use");
                (self.loaded, self.problem) = (Some(Arc::new(loaded)), None);
            }
            Err(error) => {
                let problem = error.to_string();
                if self.problem.as_ref() != Some(&problem) {
                    let before = self.loaded.is_some();
                    tracing::error!(certificate = %files, %error, kept = before, "certificate can't be used");
                }
                self.problem = Some(problem);
            }
        }
        self.stamps = stamps;
    }
}

impl Listener {
    /// A listener without certificates yet. Its settings never change, only what its resolver finds.
    fn new(address: SocketAddr) -> Option<Self> {
        let resolver = Arc::new(Resolver::default());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        let mut config = match config {
            Ok(config) => config.with_no_client_auth().with_cert_resolver(resolver.clone()),
            Err(error) => {
                tracing::error!(%address, %error, "TLS can't be set up");
                return None;
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets let a client resume without anything being remembered here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Some(Listener { config: Arc::new(config), resolver, certificates: Vec::new() })
    }
}

/// Finds the certificate for the host that a client names.
#[derive(Debug, Default)]
struct Resolver {
    keys: RwLock<Vec<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let named = hello.server_name().and_then(|host| keys.iter().find(|key| is_for(key, host)));
        named.or_else(|| keys.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::certificate;

    const AT: &str = "127.0.0.1:8443";

    fn ends(listeners: &Listeners) -> usize {
        let inner = listeners.inner.read().unwrap();
        inner.files.values().filter(|entry| entry.loaded.is_some()).count()
    }

    #[test]
    fn routes_of_one_listener_share_their_certificates() {
        let tls = |names: &[&str]| Tls {
            certificates: names.iter().map(|n| Certificate { certificate: (*n).into(), key: "/k".into() }).collect(),
        };
        let (one, two) = (tls(&["/a", "/b"]), tls(&["/b", "/c"]));
        let at: SocketAddr = AT.parse().unwrap();
        let plain = "127.0.0.1:80".parse().unwrap();
        let needed = needed([(at, Some(&one)), (at, None), (at, Some(&two)), (plain, None)].into_iter());
        assert_eq!(needed.len(), 1);
        let names: Vec<_> = needed[&at].iter().map(|files| files.certificate.as_str()).collect();
        assert_eq!(names, ["/a", "/b", "/c"]);
    }

    #[test]
    fn a_bad_new_certificate_keeps_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let files = certificate(dir.path(), "a", &["a.example"]);
        let at: SocketAddr = AT.parse().unwrap();
        let needed = Needed::from([(at, vec![files.clone()])]);
        let listeners = Listeners::default();
        listeners.refresh(&needed);
        assert!(listeners.at(at).is_some() && listeners.limitations(SystemTime::from(crate::clock::now())).is_empty());

        std::fs::write(&files.certificate, "garbage").unwrap();
        listeners.refresh(&needed);
        let said = listeners.limitations(SystemTime::from(crate::clock::now())).join("\n");
        assert!(said.contains("the one before it goes on") && said.contains("a.crt"), "{said}");
        assert!(listeners.missing().is_empty());
        assert_eq!(ends(&listeners), 1);
        let mut metrics = String::new();
        listeners.write(&mut metrics);
        assert!(metrics.contains("certificate_failed{certificate=") && metrics.contains("a.crt\"} 1\n"), "{metrics}");

        certificate(dir.path(), "a", &["a.example"]);
        listeners.refresh(&needed);
        assert!(listeners.limitations(SystemTime::from(crate::clock::now())).is_empty());
        let late = SystemTime::from(crate::clock::now()) + Duration::from_secs(1_000_000 * DAY);
        assert!(listeners.limitations(late).join("").contains("has ended"));

        listeners.refresh(&Needed::new());
        assert!(listeners.at(at).is_none());
        assert_eq!(ends(&listeners), 0);
    }

    #[test]
    fn what_was_never_there_is_missing() {
        let files = Certificate { certificate: "/nowhere/a.crt".into(), key: "/nowhere/a.key".into() };
        let listeners = Listeners::default();
        listeners.refresh(&Needed::from([(AT.parse().unwrap(), vec![files.clone()])]));
        assert_eq!(listeners.missing().len(), 1);
        assert!(listeners.check(&Tls { certificates: vec![files] }).is_err());
        assert!(listeners.at(AT.parse().unwrap()).is_some(), "it speaks TLS all the same, never plain text");
    }
}
