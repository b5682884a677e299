//! Requests to repositories and registries: to where the operator lets documents lead, by host with its credentials and authority.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use reqwest::{Certificate, Client, ClientBuilder, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use crate::adapters::outgoing::Destinations;
use crate::adapters::web::{self, Trusting};

/// How long a whole answer may take.
const WHOLE: Duration = Duration::from_secs(120);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

/// How a host is reached.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Who asks.
    pub user: Option<String>,
    /// A file with the password or token.
    pub password_file: Option<PathBuf>,
    /// Certificates that are trusted there instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// It is asked without TLS.
    pub plain_http: bool,
}

/// An answer.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// See the module.
pub(super) struct Transport {
    destinations: Destinations,
    hosts: BTreeMap<String, Host>,
}

impl Transport {
    /// To where documents may lead.
    pub fn new(destinations: Destinations, hosts: BTreeMap<String, Host>) -> Self {
        Transport { destinations, hosts }
    }

    /// How a host is reached, by `HOST:PORT` or `HOST`.
    pub fn host(&self, url: &Url) -> Host {
        let name = url.host_str().unwrap_or_default();
        let exact = url.port_or_known_default().and_then(|port| self.hosts.get(&format!("{name}:{port}")));
        exact.or_else(|| self.hosts.get(name)).cloned().unwrap_or_default()
    }

    /// Whether a registry is asked without TLS: one of this machine, or one that the operator says so of.
    pub fn scheme(&self, authority: &str) -> &'static str {
        let bare = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = self.hosts.get(authority).or_else(|| self.hosts.get(bare));
        let plain = host.is_some_and(|host| host.plain_http)
            || (is_here(bare) && host.is_none_or(|host| host.ca_file.is_none()));
        if plain { "http" } else { "https" }
    }

    /// The user and password for a host, as the value of `Authorization`.
    pub fn basic(&self, host: &Host) -> Result<Option<SecretString>, String> {
        use base64::Engine as _;
        let Some(file) = &host.password_file else { return Ok(None) };
        let password = std::fs::read_to_string(file)
            .map(SecretString::from)
            .map_err(|error| format!("the password file {} can't be read: {error}", file.display()))?;
        let user = host.user.as_deref().unwrap_or_default();
        let both = SecretString::from(format!("{user}:{}", password.expose_secret().trim_end()));
        let encoded = base64::prelude::BASE64_STANDARD.encode(both.expose_secret());
        Ok(Some(SecretString::from(format!("Basic {encoded}"))))
    }

    /// Asks for something, with at most so many bytes in the answer.
    pub async fn get(
        &self,
        url: &Url,
        accept: &str,
        authorization: Option<&SecretString>,
        limit: usize,
    ) -> Result<Answer, String> {
        let host = self.host(url);
        allowed(url, &host)?;
        self.destinations.check(url).map_err(|forbidden| forbidden.to_string())?;
        let http = self.client(&host)?;
        let mut request = http.client.get(url.clone()).header(ACCEPT, accept);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value.expose_secret());
        }
        let mut response = request.send().await.map_err(|error| http.causes(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let too_large = || format!("{} answers with more than {limit} bytes", place(url));
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| http.causes(error))? {
            body.extend_from_slice(&chunk);
            if body.len() > limit {
                return Err(too_large());
            }
        }
        Ok(Answer { status, headers, body })
    }

    /// [`get`](Self::get) of what must be there.
    pub async fn must(&self, url: &Url, authorization: Option<&SecretString>, limit: usize) -> Result<Vec<u8>, String> {
        let answer = self.get(url, "*/*", authorization, limit).await?;
        match answer.status.is_success() {
            true => Ok(answer.body),
            false => Err(format!("{} answers {}", place(url), answer.status)),
        }
    }

    fn client(&self, host: &Host) -> Result<Trusting, String> {
        let authorities = host.ca_file.as_deref().map(certificates).transpose()?;
        web::client(|| match &authorities {
            Some(authorities) => self.builder(host).tls_certs_only(authorities.clone()),
            None => self.builder(host),
        })
    }

    fn builder(&self, host: &Host) -> ClientBuilder {
        let (rule, plain) = (self.destinations.clone(), host.plain_http);
        let redirects = redirect::Policy::custom(move |attempt| {
            let Some(first) = attempt.previous().first().cloned() else { return attempt.follow() };
            if attempt.previous().len() > REDIRECTS {
                return attempt.error("too many redirects");
            }
            if let Err(forbidden) = rule.check_redirect(&first, attempt.url()) {
                return attempt.error(forbidden);
            }
            match attempt.url().scheme() {
                "https" => attempt.follow(),
                "http" if plain || first.scheme() == "http" => attempt.follow(),
                _ => attempt.error("it redirects to where anybody may change the answer"),
            }
        });
        Client::builder()
            .redirect(redirects)
            .dns_resolver(self.destinations.resolver())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE)
            .timeout(WHOLE)
            .user_agent(concat!("trimtab/", env!("CARGO_PKG_VERSION")))
    }
}

/// The certificates in a file.
fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let told = |error: &dyn std::fmt::Display| format!("the certificates in {} can't be used: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| told(&error))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| told(&error))
}

/// Nobody may change on the way what is fetched: without TLS from this machine only, or where the operator says so.
fn allowed(url: &Url, host: &Host) -> Result<(), String> {
    let name = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_here(name) || host.plain_http => Ok(()),
        "http" => Err(format!(
            "{} is asked without TLS: use https://, or let the daemon's configuration allow it",
            place(url)
        )),
        other => Err(format!("{other}:// is not fetched from")),
    }
}

/// Whether a host is this machine.
fn is_here(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL for people: without user, password and query, where secrets may stand.
pub(super) fn place(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.authority().rsplit('@').next().unwrap_or_default(), url.path())
}
