//! HTTP clients on machines with and without authorities (CA certificates): where there are none, what is asked without TLS goes its way,
//! and what needs TLS says what is missing.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, ClientBuilder};

use super::outgoing::causes;

/// What is missing, and what to do.
pub(in crate::adapters) const NO_AUTHORITIES: &str = "this machine has no CA certificates to check the server's with: install them (Debian's package \
                                                      is ca-certificates), or name a file of them in SSL_CERT_FILE";

/// A client that is made when it is needed first.
pub(in crate::adapters) struct Web {
    make: Box<dyn Fn() -> ClientBuilder + Send + Sync>,
    kept: OnceLock<Client>,
}

impl Web {
    /// A client as `make` says.
    pub fn new(make: impl Fn() -> ClientBuilder + Send + Sync + 'static) -> Self {
        Web { make: Box::new(make), kept: OnceLock::new() }
    }

    /// It, for one request. One that trusts nobody is not kept: the certificates may be there the next time.
    ///
    /// # Errors
    ///
    /// Something that `make` says can't be done.
    pub fn client(&self) -> Result<Trusting, String> {
        if let Some(client) = self.kept.get() {
            return Ok(Trusting { client: client.clone(), authorities: true });
        }
        let made = client(&*self.make)?;
        if made.authorities {
            let _ = self.kept.set(made.client.clone());
        }
        Ok(made)
    }
}

/// A client, and whether it trusts anybody.
pub(in crate::adapters) struct Trusting {
    /// It.
    pub client: Client,
    authorities: bool,
}

impl Trusting {
    /// Why a request failed, without its URL, in whose query a token may stand.
    pub fn causes(&self, error: reqwest::Error) -> String {
        self.told(causes(&error.without_url()))
    }

    /// The innermost cause alone.
    pub fn root_cause(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        self.told(cause.to_string())
    }

    fn told(&self, text: String) -> String {
        if self.authorities || !text.contains("certificate") { text } else { format!("{text}: {NO_AUTHORITIES}") }
    }
}

/// A client for a thread of its own, and what it can't do here where it is to ask for `url`. To be called outside of a runtime.
///
/// # Errors
///
/// It can't be made.
pub fn blocking(url: &str, timeout: Duration) -> Result<(reqwest::blocking::Client, Option<&'static str>), String> {
    let make = || reqwest::blocking::Client::builder().timeout(timeout);
    if let Ok(client) = make().build() {
        return Ok((client, None));
    }
    let client = make().tls_certs_only([]).build().map_err(|error| causes(&error))?;
    Ok((client, url.starts_with("https:").then_some(NO_AUTHORITIES)))
}

/// A client as `make` says; where this machine has no authorities, one that trusts nobody.
///
/// # Errors
///
/// Something that `make` says can't be done.
pub(in crate::adapters) fn client(make: impl Fn() -> ClientBuilder) -> Result<Trusting, String> {
    if let Ok(client) = make().build() {
        return Ok(Trusting { client, authorities: true });
    }
    let client = make().tls_certs_only([]).build().map_err(|error| causes(&error))?;
    Ok(Trusting { client, authorities: false })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    /// Servers without and with TLS; their ports.
    async fn servers() -> (u16, u16) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let (plain, tls) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let ports = (plain.local_addr().unwrap().port(), tls.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = plain.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(ANSWER).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = tls.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        ports
    }

    #[tokio::test]
    async fn without_authorities_only_what_needs_them_fails_and_says_what_is_missing() {
        let (plain, tls) = servers().await;
        // The first client of each request can't be made, as where the system has no certificates.
        let second = AtomicBool::new(false);
        let web = Web::new(move || match second.fetch_not(Ordering::SeqCst) {
            false => Client::builder().user_agent("\n"),
            true => Client::builder().no_proxy(),
        });
        let here = web.client().unwrap();
        assert_eq!(here.client.get(format!("http://127.0.0.1:{plain}/")).send().await.unwrap().status(), 200);
        let error = here.client.get(format!("https://localhost:{tls}/?token=hunter2")).send().await.unwrap_err();
        let told = here.causes(error);
        assert!(told.contains("SSL_CERT_FILE") && !told.contains("hunter2"), "{told}");
        assert!(web.kept.get().is_none(), "the next request looks again");
        // Where there are some, another reason is told.
        let web = Web::new(|| Client::builder().no_proxy().tls_certs_only([]));
        let here = web.client().unwrap();
        let told = here.causes(here.client.get(format!("https://localhost:{tls}/")).send().await.unwrap_err());
        assert!(told.contains("certificate") && !told.contains("SSL_CERT_FILE"), "{told}");
        assert!(web.kept.get().is_some());
    }
}
