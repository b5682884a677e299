//! Where requests come in over the network: the API and the webhooks, with the tokens and secrets that are good now.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::config::access::TokenSettings;
use super::config::hooks::HookFrom;
use super::front::Front;
use super::operations::Daemon;
use crate::api;
use crate::api::auth::{Gate, Token};
use crate::api::hooks::{Hook, Hooks};
use crate::ports::audit::Audit;

/// Bound sockets, and what is good at them.
pub struct Doors {
    api: Option<TcpListener>,
    hooks: Option<TcpListener>,
    credentials: Credentials,
}

/// The tokens and webhooks of a configuration, with their secrets read.
pub struct Credentials {
    tokens: Vec<Token>,
    hooks: Vec<Hook>,
    rate: NonZeroU32,
}

/// What can be replaced while requests come in.
pub struct Keys {
    gate: Gate,
    hooks: Hooks,
}

impl Doors {
    /// Reads tokens and secrets, and binds what the configuration names.
    ///
    /// # Errors
    ///
    /// A secret can't be read, or an address can't be listened on.
    pub async fn bind(settings: &Config) -> anyhow::Result<Self> {
        let credentials = Credentials::read(settings)?;
        let api = listen("[api] listen", settings.api.listen).await?;
        let hooks = listen("[hooks] listen", settings.hooks.listen).await?;
        Ok(Doors { api, hooks, credentials })
    }

    /// Serves on the thread of `front` until `stop`; answers the routes for the Unix socket too, and what can be replaced.
    ///
    /// # Errors
    ///
    /// The system refuses to move a socket there.
    pub fn open(
        self,
        daemon: Arc<Daemon>,
        audit: Arc<dyn Audit>,
        front: &Front,
        stop: &CancellationToken,
    ) -> io::Result<(api::server::Routes, Keys)> {
        let Credentials { tokens, hooks, rate } = self.credentials;
        let gate = Gate::new(tokens);
        let hooks = Hooks::new(hooks, rate, daemon.clone());
        let routes = api::server::routes(daemon, gate.clone(), Some(audit));
        let limits = api::listen::Limits::default();
        if let Some(listener) = self.api {
            let routes = hooks.routes().merge(routes.clone());
            front.handle().spawn(api::listen::serve(front.tcp(listener)?, routes, limits, stop.clone()));
        }
        if let Some(listener) = self.hooks {
            let routes = hooks.routes().fallback(|| async { api::problem::no_such_path() });
            front.handle().spawn(api::listen::serve(front.tcp(listener)?, routes, limits, stop.clone()));
        }
        Ok((routes, Keys { gate, hooks }))
    }
}

impl Keys {
    /// Only these tokens and webhooks are good from now on.
    pub fn replace(&self, credentials: Credentials) {
        let Credentials { tokens, hooks, rate } = credentials;
        self.gate.replace(tokens);
        self.hooks.replace(hooks, rate);
    }
}

impl Credentials {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// A secret can't be read.
    pub fn read(settings: &Config) -> anyhow::Result<Self> {
        let token = |token: &TokenSettings| {
            let sha256 = token.hash().map_err(anyhow::Error::msg)?;
            Ok(Token { name: token.name.clone(), role: token.role, sha256 })
        };
        let hook = |from: &HookFrom| {
            let secrets = from.read().map_err(anyhow::Error::msg)?;
            let branch = settings.source.branch.clone();
            Ok(Hook { provider: from.provider, source: from.source.to_string(), branch, secrets })
        };
        Ok(Credentials {
            tokens: settings.api.tokens.iter().map(token).collect::<anyhow::Result<_>>()?,
            hooks: settings.hooks.from.iter().map(hook).collect::<anyhow::Result<_>>()?,
            rate: settings.hooks.rate,
        })
    }
}

async fn listen(what: &str, address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await.with_context(|| format!("{what}: {address} can't be listened on"))?;
    let address = bound.local_addr()?;
    tracing::info!(%address, "{what}: served over TCP");
    Ok(Some(bound))
}
