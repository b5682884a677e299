//! The API server of a control plane of the benchmark's own, asked beside trimtab.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The flow that counts the requests of the user who is nobody in particular: trimtab, and none of the cluster's own parts.
const FLOW: &str = "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"global-default\"";

/// An API server.
pub struct Server {
    address: String,
    certificate: Certificate,
    admin: Client,
}

/// What a watch saw.
pub struct Event {
    /// When it arrived.
    pub at: SystemTime,
    /// The object's name.
    pub name: String,
    /// What its data has for `word`.
    pub word: String,
}

impl Server {
    /// The server that a kubeconfig of the bed names.
    pub fn of(kubeconfig: &str) -> anyhow::Result<Server> {
        let field = |name: &str| {
            let rest = kubeconfig.split_once(name).with_context(|| format!("the kubeconfig has no {name}"))?.1;
            Ok::<_, anyhow::Error>(
                rest.trim_start_matches([' ', '"']).split(['"', ' ', '}', ',']).next().unwrap_or_default(),
            )
        };
        let authority =
            base64::Engine::decode(&base64::prelude::BASE64_STANDARD, field("certificate-authority-data:")?)?;
        let address = field("server:")?.to_owned();
        let certificate =
            Certificate::from_pem_bundle(&authority)?.pop().context("the kubeconfig has no certificate")?;
        let admin = client(&certificate)?;
        Ok(Server { address, certificate, admin })
    }

    async fn ask(
        &self,
        client: &Client,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let apply = method == Method::PATCH && path.contains("fieldManager");
        let mut request = client.request(method.clone(), format!("{}{path}", self.address)).bearer_auth(token);
        if let Some(body) = body {
            let kind = match () {
                () if apply => "application/apply-patch+yaml",
                () if method == Method::PATCH => "application/merge-patch+json",
                () => "application/json",
            };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await?;
        let status = response.status();
        ensure!(status.is_success(), "{method} {path}: {status}: {}", response.text().await.unwrap_or_default());
        Ok(response)
    }

    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Response> {
        self.ask(&self.admin, "trimtab-bed-admin", method, path, body).await
    }

    /// Makes namespaces, and lets the bed's user do everything.
    pub async fn prepare(&self, namespaces: &[&str]) -> anyhow::Result<()> {
        for name in namespaces {
            self.admin(Method::POST, "/api/v1/namespaces", Some(&json!({ "metadata": { "name": name } }))).await?;
        }
        let binding = json!({
            "metadata": { "name": "bench" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [ { "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "user" } ],
        });
        self.admin(Method::POST, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", Some(&binding)).await?;
        Ok(())
    }

    /// How many requests of the bed's user were carried out so far.
    pub async fn requests(&self) -> anyhow::Result<f64> {
        let text = self.admin(Method::GET, "/metrics", None).await?.text().await?;
        let counts = text.lines().filter(|line| line.starts_with(FLOW)).filter_map(|line| line.rsplit(' ').next());
        Ok(counts.filter_map(|count| count.parse::<f64>().ok()).sum())
    }

    /// Changes the data of a ConfigMap behind trimtab's back.
    pub async fn edit(&self, namespace: &str, name: &str, word: &str) -> anyhow::Result<SystemTime> {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        self.admin(Method::PATCH, &path, Some(&json!({ "data": { "word": word } }))).await?;
        Ok(now())
    }

    /// A loop with nothing around it: applies ConfigMaps over so many connections.
    pub async fn apply_all(&self, namespace: &str, objects: &[Value], connections: usize) -> anyhow::Result<()> {
        let share = |number: usize| objects.iter().skip(number).step_by(connections);
        let one = async |number: usize| {
            let client = client(&self.certificate)?;
            for object in share(number) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=bench&force=true");
                self.ask(&client, "trimtab-bed-user", Method::PATCH, &path, Some(object)).await?.bytes().await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        futures_util::future::try_join_all((0..connections).map(one)).await?;
        Ok(())
    }

    /// Follows the benchmark's own ConfigMaps of a namespace from now on. Without a version, a server that has just begun may refuse.
    pub async fn watch(&self, namespace: &str) -> anyhow::Result<mpsc::UnboundedReceiver<Event>> {
        let path =
            format!("/api/v1/namespaces/{namespace}/configmaps?watch=true&resourceVersion=0&labelSelector=bench%3Dyes");
        let mut response = self.admin(Method::GET, &path, None).await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut rest = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                let at = now();
                rest.extend_from_slice(&chunk);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let Ok(event) = serde_json::from_slice::<Value>(&line) else { return };
                    let text =
                        |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                    let event = Event { at, name: text("/object/metadata/name"), word: text("/object/data/word") };
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(receiver)
    }
}

/// When the last of so many objects was seen to have a word.
pub async fn last_of(
    events: &mut mpsc::UnboundedReceiver<Event>,
    count: usize,
    word: &str,
) -> anyhow::Result<SystemTime> {
    let mut names = std::collections::BTreeSet::new();
    let all = async {
        while let Some(event) = events.recv().await {
            if event.word == word && names.insert(event.name) && names.len() == count {
                return Ok(event.at);
            }
        }
        bail!("the watch has ended")
    };
    let seen = tokio::time::timeout(Duration::from_secs(120), all).await;
    seen.with_context(|| format!("{word}: not on all {count} objects in time"))?
}

/// The clock that files are stamped with, as the branch is that is pushed.
#[allow(clippy::disallowed_methods)]
pub fn now() -> SystemTime {
    SystemTime::now()
}

fn client(certificate: &Certificate) -> anyhow::Result<Client> {
    Ok(Client::builder().no_proxy().tls_certs_only([certificate.clone()]).http1_only().build()?)
}
