//! Fetching a file, up to a limit, with its sum.

use std::path::Path;
use std::time::Duration;

use reqwest::{ClientBuilder, redirect};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::layout::{Remote, check_url};
use crate::adapters::outgoing::{Destinations, causes};
use crate::adapters::web::Web;
use crate::ports::artifacts::ArtifactError;

/// How long a whole download may take.
const WHOLE: Duration = Duration::from_secs(1800);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

/// The HTTP client of the store. A redirect may lead only to where an artifact may be fetched from, and never to a file.
pub(super) fn client(destinations: &Destinations) -> Web {
    let destinations = destinations.clone();
    Web::new(move || builder(&destinations))
}

fn builder(destinations: &Destinations) -> ClientBuilder {
    let rule = destinations.clone();
    let redirects = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("too many redirects");
        }
        if let Some(first) = attempt.previous().first()
            && let Err(forbidden) = rule.check_redirect(first, attempt.url())
        {
            return attempt.error(forbidden);
        }
        match check_url(attempt.url()) {
            Ok(()) if attempt.url().scheme() != "file" => attempt.follow(),
            Ok(()) => attempt.error("it redirects to a file"),
            Err(reason) => attempt.error(reason),
        }
    });
    reqwest::Client::builder()
        .redirect(redirects)
        .dns_resolver(destinations.resolver())
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .timeout(WHOLE)
        .user_agent(concat!("trimtab/", env!("CARGO_PKG_VERSION")))
}

/// Fetches to a new file and returns its SHA-256 in hexadecimal.
pub(super) async fn to_file(
    web: &Web,
    destinations: &Destinations,
    remote: &Remote,
    to: &Path,
    limit: u64,
) -> Result<String, ArtifactError> {
    let failed = |reason: String| ArtifactError::Unreachable { artifact: remote.name(), reason };
    let file = File::create_new(to).await.map_err(|error| failed(error.to_string()))?;
    let mut sink = Sink { remote, file, sum: Sha256::new(), size: 0, limit };
    if remote.url.scheme() == "file" {
        read_file(&mut sink).await?;
    } else {
        destinations.check(&remote.url).map_err(|forbidden| failed(forbidden.to_string()))?;
        let http = web.client().map_err(failed)?;
        let sent = http.client.get(remote.url.clone()).send().await;
        let response = sent.map_err(|error| failed(http.causes(error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(failed(format!("the server answered {status}")));
        }
        download(&mut sink, response).await?;
    }
    sink.finish().await
}

async fn read_file(sink: &mut Sink<'_>) -> Result<(), ArtifactError> {
    let path = sink.remote.url.to_file_path().map_err(|()| sink.failed("this names no file of this machine"))?;
    let metadata = tokio::fs::metadata(&path).await.map_err(|error| sink.failed(error))?;
    if !metadata.is_file() {
        return Err(sink.failed("this is no regular file"));
    }
    let mut file = File::open(&path).await.map_err(|error| sink.failed(error))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).await.map_err(|error| sink.failed(error))? {
            0 => return Ok(()),
            read => sink.write(&buffer[..read]).await?,
        }
    }
}

async fn download(sink: &mut Sink<'_>, mut response: reqwest::Response) -> Result<(), ArtifactError> {
    if response.content_length().is_some_and(|length| length > sink.limit) {
        return Err(sink.too_large());
    }
    while let Some(chunk) = response.chunk().await.map_err(|error| sink.failed(causes(&error.without_url())))? {
        sink.write(&chunk).await?;
    }
    Ok(())
}

struct Sink<'a> {
    remote: &'a Remote,
    file: File,
    sum: Sha256,
    size: u64,
    limit: u64,
}

impl Sink<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(self.too_large());
        }
        self.sum.update(bytes);
        self.file.write_all(bytes).await.map_err(|error| self.failed(error))
    }

    async fn finish(mut self) -> Result<String, ArtifactError> {
        self.file.flush().await.map_err(|error| self.failed(error))?;
        Ok(hex::encode(self.sum.finalize()))
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ArtifactError {
        ArtifactError::Unreachable { artifact: self.remote.name(), reason: reason.to_string() }
    }

    fn too_large(&self) -> ArtifactError {
        let reason = format!("it is larger than the {} bytes that are fetched", self.limit);
        ArtifactError::Unusable { artifact: self.remote.name(), reason }
    }
}
