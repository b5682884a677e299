//! A chart in a registry: its manifest, and the one layer of it that is the packed chart, each by its digest.

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{StatusCode, Url};
use secrecy::SecretString;
use serde::Deserialize;

use super::transport::{Answer, Transport, place};
use super::{MAX_PACKED, shown, sum};
use crate::domain::objects::chart::RemoteChart;

/// The largest manifest and the largest answer of a token server, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// What a manifest is.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What a packed chart is.
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

/// The packed chart.
pub(super) async fn fetch(
    transport: &Transport,
    host: &str,
    path: &str,
    chart: &RemoteChart,
) -> Result<Vec<u8>, String> {
    // A tag has no `+`; Helm writes a `_` in its place.
    let tag = match (&chart.digest, &chart.version) {
        (Some(digest), _) => format!("sha256:{digest}"),
        (None, version) => version.clone().unwrap_or_default().replace('+', "_"),
    };
    let registry = Registry { transport, base: format!("{}://{host}/v2/{path}", transport.scheme(host)) };
    let mut authorization = transport.basic(&transport.host(&registry.url("")?))?;
    let url = registry.url(&format!("manifests/{tag}"))?;
    let manifest = registry.get(&url, MANIFEST, &mut authorization, MAX_ANSWER).await?;
    let found = sum(&manifest);
    if let Some(digest) = chart.digest.as_ref().filter(|digest| **digest != found) {
        return Err(format!("{} has the digest sha256:{found}, not sha256:{digest}", place(&url)));
    }
    let read: Manifest =
        serde_json::from_slice(&manifest).map_err(|error| format!("its manifest can't be read: {error}"))?;
    let Some(layer) = read.layers.iter().find(|layer| layer.media_type == CHART) else {
        return Err(format!("{} is no chart: it has no layer of the type {CHART}", place(&url)));
    };
    let wanted = layer.digest.strip_prefix("sha256:").filter(|digest| super::packed_name(digest).is_some());
    let wanted = wanted.ok_or_else(|| format!("the digest of its layer is no SHA-256: {}", shown(&layer.digest)))?;
    let url = registry.url(&format!("blobs/{}", layer.digest))?;
    let packed = registry.get(&url, "*/*", &mut authorization, MAX_PACKED).await?;
    match sum(&packed) {
        found if found == wanted => Ok(packed),
        found => Err(format!("{} has the digest sha256:{found}", place(&url))),
    }
}

struct Registry<'a> {
    transport: &'a Transport,
    base: String,
}

impl Registry<'_> {
    fn url(&self, rest: &str) -> Result<Url, String> {
        Url::parse(&format!("{}/{rest}", self.base)).map_err(|error| error.to_string())
    }

    /// Asks; where a token is wanted, with one.
    async fn get(
        &self,
        url: &Url,
        accept: &str,
        authorization: &mut Option<SecretString>,
        limit: usize,
    ) -> Result<Vec<u8>, String> {
        let mut answer = self.transport.get(url, accept, authorization.as_ref(), limit).await?;
        if answer.status == StatusCode::UNAUTHORIZED
            && let Some(token) = self.token(url, &answer).await?
        {
            answer = self.transport.get(url, accept, Some(&token), limit).await?;
            *authorization = Some(token);
        }
        match answer.status {
            status if status.is_success() => Ok(answer.body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
                "{} answers {}: give the daemon the credentials for this host, `[charts.\"HOST\"]` in its configuration",
                place(url),
                answer.status
            )),
            status => Err(format!("{} answers {status}", place(url))),
        }
    }

    /// The token that a registry sends its clients for.
    async fn token(&self, url: &Url, answer: &Answer) -> Result<Option<SecretString>, String> {
        let asked = answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some(challenge) = Challenge::read(asked) else { return Ok(None) };
        let mut realm =
            Url::parse(&challenge.realm).map_err(|error| format!("its token server has no address: {error}"))?;
        for (name, value) in [("service", challenge.service), ("scope", challenge.scope)] {
            if let Some(value) = value {
                realm.query_pairs_mut().append_pair(name, &value);
            }
        }
        // The registry's credentials go to the token server that it names, as every client of a registry does it.
        let basic = self.transport.basic(&self.transport.host(url))?;
        let body = self.transport.must(&realm, basic.as_ref(), MAX_ANSWER).await?;
        #[derive(Deserialize)]
        struct Token {
            #[serde(default)]
            token: Option<String>,
            #[serde(default)]
            access_token: Option<String>,
        }
        let read: Token = serde_json::from_slice(&body).map_err(|_| "its token server answers no token".to_owned())?;
        let token = read.token.or(read.access_token).ok_or("its token server answers no token")?;
        Ok(Some(SecretString::from(format!("Bearer {token}"))))
    }
}

/// What a registry asks its clients for.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    /// `Bearer realm="https://auth.example/token",service="registry.example",scope="repository:charts/web:pull"`
    fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer "))?;
        let mut found = Challenge { realm: String::new(), service: None, scope: None };
        let mut rest = rest.trim();
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, next) = after.split_once('"')?;
            match name.trim_start_matches([',', ' ']) {
                "realm" => value.clone_into(&mut found.realm),
                "service" => found.service = Some(value.to_owned()),
                "scope" => found.scope = Some(value.to_owned()),
                _ => {}
            }
            rest = next;
        }
        (!found.realm.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_tokens_are() {
        let text = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push",error="x""#;
        let challenge = Challenge::read(text).unwrap();
        assert_eq!(challenge.realm, "https://auth.example/token");
        assert_eq!(challenge.scope.as_deref(), Some("repository:a/b:pull,push"));
        for text in ["", "Basic realm=\"x\"", "Bearer", "Bearer realm=\"x", "Bearer service=\"x\""] {
            assert_eq!(Challenge::read(text), None, "{text}");
        }
    }
}
