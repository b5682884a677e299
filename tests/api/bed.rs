//! A daemon whose API is served over TCP.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::e2e::bed::Bed;
use crate::e2e::documents::{app, environment, web};
use crate::support::{PATIENCE, eventually_async, free_port};

pub const READER: &str = "reader-token-0123456789";
pub const OPERATOR: &str = "operator-token-0123456789";

/// The second of the secrets of webhooks.
pub const SECRET: &str = "a secret for the tests 0123456789";

/// A daemon with its API on a port.
pub struct Served {
    pub bed: Bed,
    pub base: String,
    pub http: Client,
}

/// A daemon, alone: no supervisor, no router. `config` is added to its configuration.
pub async fn daemon(config: &str) -> Served {
    start(config, false).await
}

/// A daemon with a supervisor and a router.
pub async fn whole(config: &str) -> Served {
    start(config, true).await
}

async fn start(config: &str, whole: bool) -> Served {
    let port = free_port();
    let documents =
        [("env.yaml", environment("dev")), ("app.yaml", app("web", "rolling")), ("release.yaml", web("1.0.0", ""))];
    let mut bed = Bed::new(&documents.each_ref().map(|(path, text)| (*path, text.as_str())));
    std::fs::write(bed.path("reader"), READER).unwrap();
    std::fs::write(bed.path("secret"), SECRET).unwrap();
    std::fs::write(bed.path("older"), "an older secret 0123456789").unwrap();
    std::fs::write(bed.path("operator"), format!("{OPERATOR}\n")).unwrap();
    let text = std::fs::read_to_string(bed.config()).unwrap();
    let text = text.replace("[api]\n", &format!("[api]\nlisten = '127.0.0.1:{port}'\n"));
    let tokens = "[[api.tokens]]\nname = 'viewer'\nrole = 'read'\nfile = 'reader'\n\
                  [[api.tokens]]\nname = 'ci'\nrole = 'operate'\nfile = 'operator'\n";
    std::fs::write(bed.config(), format!("{text}{tokens}{config}")).unwrap();
    if whole {
        bed = bed.start();
    } else {
        bed.start_daemon();
    }
    // A connection for each request: one that the daemon closes while it is taken up again would fail a test for nothing.
    let http = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap();
    let served = Served { bed, base: format!("http://127.0.0.1:{port}"), http };
    served.answers().await;
    served
}

impl Served {
    /// Waits until the API answers over TCP.
    pub async fn answers(&self) {
        eventually_async(PATIENCE, "the API answers over TCP", async || {
            self.get("/healthz").send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A GET as a reader, as JSON.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).bearer_auth(READER).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        json(answer).await
    }

    pub fn push(&self, message: &str, version: &str) -> String {
        self.bed.push(message, &[("release.yaml", &web(version, ""))])
    }
}

/// An answer's body.
pub async fn json(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// The problem that an answer tells.
pub async fn problem(answer: Response) -> Value {
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{answer:?}");
    let status = answer.status().as_u16();
    let problem = json(answer).await;
    assert_eq!(problem["status"], status);
    problem
}
