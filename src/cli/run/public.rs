//! What of a process faces the internet: the links that it gives away, and the listener that takes them back.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    cli::{keys, text},
    engine::View,
    feedback::Intake,
    serve::{
        Public, feedback,
        public::{client::Network, unsubscribe},
    },
    token::{
        Keys, PublicUrl,
        unsubscribe::{Links, Tokens},
    },
};

/// How people, mailbox providers and vendors reach this process.
#[derive(Args, Clone, Debug)]
pub struct PublicArgs {
    /// Where people reach --public-address from the internet, through a proxy that ends TLS: `https://news.example.com`. It begins the
    /// links by which they unsubscribe; without it, campaigns with `unsubscribe.oneClick` and no page of their own are not sent.
    #[arg(long, value_name = "URL", env = "MAILFLEET_PUBLIC_URL")]
    pub public_url: Option<PublicUrl>,
    /// Serve the page on which people unsubscribe, and take vendors' webhooks, at this address, in plain HTTP.
    #[arg(long, value_name = "ADDRESS")]
    pub public_address: Option<SocketAddr>,
    /// The networks of the proxies before --public-address, whose X-Forwarded-For is believed: 10.0.0.0/8; repeatable, or with commas.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', requires = "public_address")]
    pub public_trusted_proxies: Vec<Network>,
    /// The keys that authenticate links. Default: STATE/keys, which is made at the first start.
    #[arg(long, value_name = "FILE", env = "MAILFLEET_KEYS")]
    pub keys: Option<PathBuf>,
}

/// What of a process faces the internet.
pub(super) struct Face {
    /// The keys of this installation; none in a dry run.
    pub keys: Option<Keys>,
    /// Makes links, where the public URL is known; samples in a dry run.
    pub links: Option<Links>,
    /// The public listener, where it is wanted.
    pub listening: Option<Listening>,
}

/// The task of the listener; it takes no more connections when this is dropped.
pub(super) struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PublicArgs {
    /// Serves what is wanted; what arrives goes to `intake`. `view` shows the servers whose vendors call. A dry run gives away samples,
    /// and listens nowhere.
    pub(super) async fn open(&self, state_dir: &Path, is_dry: bool, intake: Intake, view: watch::Receiver<View>) -> Result<Face, String> {
        if is_dry {
            return Ok(Face { keys: None, links: Some(Links::sample(self.public_url.clone())), listening: None });
        }
        let keys = keys::open(self.keys.as_deref(), state_dir)?;
        let mut listening = None;
        if let Some(address) = self.public_address {
            let routes = unsubscribe::router(Tokens::new(&keys), intake.clone()).merge(feedback::router(view, intake));
            let public = Public::bind(address, routes, self.public_trusted_proxies.clone())
                .await
                .map_err(|error| format!("--public-address {address} cannot be used: {error}. Choose another."))?;
            let address = public.address().unwrap_or(address);
            text::report(&format!("http://{address} serves the unsubscribe page, and receives vendors' webhooks"));
            listening = Some(Listening(tokio::spawn(public.serve())));
        } else if let Some(url) = &self.public_url {
            text::report(&format!(
                "Unsubscribe links lead to {url}, which this process does not serve: another process must, with --public-address and the same state folder or keys."
            ));
        }
        let links = self.public_url.clone().map(|url| Links::new(&keys, url));
        Ok(Face { keys: Some(keys), links, listening })
    }
}
