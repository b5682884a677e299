//! The connection to a cluster: from a kubeconfig, or from within.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::unreached::Way;
use crate::adapters::web::NO_AUTHORITIES;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Which cluster, and how it is reached.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Its name in the daemon's configuration.
    pub name: String,
    /// The kubeconfig; none: the service account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; its current one where none is named.
    pub context: Option<String>,
    /// Whether a kubeconfig may start programs.
    pub allow_exec: bool,
    /// How many requests go out at once.
    pub at_once: usize,
    /// The namespaces that are followed and written to; none: all, and what belongs to no namespace.
    pub namespaces: Vec<String>,
}

/// A client, and where it leads.
#[derive(Clone)]
pub struct Reached {
    /// It.
    pub client: kube::Client,
    /// For people.
    pub way: Way,
}

/// A client for a cluster. Reads files, but connects to nothing yet.
///
/// # Errors
///
/// What can't be used, and what to do.
pub async fn reach(connection: &Connection) -> Result<Reached, String> {
    let mut said_by = "the service account of this pod".to_owned();
    let mut config = match &connection.kubeconfig {
        None => kube::Config::incluster()
            .map_err(|error| format!("this is no pod of a cluster: {}; name a kubeconfig", chain(&error)))?,
        Some(path) => {
            let read = Kubeconfig::read_from(path)
                .map_err(|error| format!("{} can't be used: {}", path.display(), unread(&error)))?;
            let context = connection.context.as_ref().or(read.current_context.as_ref());
            let context = context.map_or_else(|| "the current context".into(), |context| format!("context {context}"));
            said_by = format!("{context} of {}", path.display());
            let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
            kube::Config::from_custom_kubeconfig(read, &options)
                .await
                .map_err(|error| format!("{} can't be used: {}", path.display(), chain(&error)))?
        }
    };
    let programs = config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
    if programs && !connection.allow_exec {
        let name = &connection.name;
        return Err(format!(
            "its kubeconfig asks to start a program for a token: set allow_exec = true under [kubernetes.clusters.{name}] where \
             that is meant"
        ));
    }
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    let unchecked = config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http");
    if config.root_cert.is_none() && unchecked {
        // Nobody's certificate is looked at: a machine without authorities can do it as well.
        config.root_cert = Some(Vec::new());
    }
    let authorities = config.root_cert.is_some();
    let way = Way::new(&config.cluster_url, config.proxy_url.as_ref(), said_by);
    let client = kube::Client::try_from(config).map_err(|error| {
        let told = format!("no client can be made: {}", chain(&error));
        match authorities || !told.contains("certificate") {
            true => told,
            false => format!("{told}: its kubeconfig names no `certificate-authority`, and {NO_AUTHORITIES}"),
        }
    })?;
    Ok(Reached { client, way })
}

/// Why a kubeconfig can't be read. Where it is not one, its parser would quote the lines around, and with them credentials.
fn unread(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(parse) = error else { return chain(error) };
    let place = parse.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    format!("it is no kubeconfig, or not valid YAML{}", place.unwrap_or_default())
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_that_can_t_be_read_is_told_without_what_stands_in_it() {
        for text in [
            "kind: Config\nclusters: [{ name: bed, cluster: { server: x\nusers: [{ name: me, user: { token: hunter2-31337 } }]\n",
            "kind: Config\nusers: hunter2-31337\n",
            "kind: Config\nusers:\n  - name: me\n    user: hunter2-31337\n",
            "kind: Config\nusers:\n  - name: me\n    user: { token: [hunter2-31337] }\n",
        ] {
            let error = Kubeconfig::from_yaml(text).expect_err(text);
            let told = unread(&error);
            assert!(told.contains("line") && !told.contains("hunter2"), "{told}");
        }
    }
}
