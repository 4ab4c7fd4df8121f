//! A server's webhook with what is kept between calls, and the calls to Amazon that SNS requires.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use http::Method;
use reqwest::{Request, Url};

use super::{
    Received, Refused, Webhook, WebhookCall,
    certificate::{Certificate, Certificates},
    replay::{Once, Replays},
};
use crate::{
    egress::Egress,
    feedback::Event,
    meta::Key,
    providers::http::{Clients, fetch},
};

/// For one call to Amazon.
const AMAZON_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for its turn to fetch a certificate: one is fetched at a time.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two refusals of a server that are logged.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of a certificate.
const CERTIFICATE_MAX: usize = 64 << 10;

/// What is known of Amazon, for all servers. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Amazon {
    certificates: Arc<RwLock<Certificates>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Amazon {
    fn certificates(&self) -> Certificates {
        self.certificates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a certificate.
    pub fn keep(&self, url: &str, certificate: Certificate) {
        self.certificates.write().unwrap_or_else(PoisonError::into_inner).keep(url, certificate);
    }

    /// Fetches a certificate that is not known.
    async fn fetch(&self, url: &str, clients: &Clients, egress: Egress) -> Result<(), Refused> {
        const UNAVAILABLE: Refused = Refused::NotNow("Amazon's certificate cannot be fetched");
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turn.lock()).await;
        let _turn = turn.map_err(|_| Refused::NotNow("other certificates of Amazon are being fetched"))?;
        if self.certificates().get(url).is_some() {
            return Ok(());
        }
        let pem = get(url, clients, egress).await.filter(|pem| pem.len() <= CERTIFICATE_MAX).ok_or(UNAVAILABLE)?;
        self.keep(url, Certificate::from_pem(&pem).map_err(|_| UNAVAILABLE)?);
        Ok(())
    }
}

/// The body at an address, where the answer is 200 and whole.
async fn get(url: &str, clients: &Clients, egress: Egress) -> Option<Vec<u8>> {
    let url = Url::parse(url).ok()?;
    let client = clients.get(egress, &url).ok()?;
    let answer = fetch(&client, Request::new(Method::GET, url), None, AMAZON_TIMEOUT).await.ok()?;
    (answer.status == 200 && answer.is_whole).then(|| answer.body.to_vec())
}

/// What became of a server's calls since its webhook was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were taken.
    pub taken: u64,
    /// When the last was, milliseconds since 1970.
    pub taken_at_ms: Option<i64>,
    /// Calls that were refused since the last that was taken.
    pub refused: u64,
    /// Why the last of them was.
    pub refused_why: Option<&'static str>,
}

/// A server's webhook.
pub struct Endpoint {
    server: Key,
    webhook: Box<dyn Webhook>,
    amazon: Amazon,
    clients: Clients,
    egress: Egress,
    replays: Mutex<Replays>,
    tally: Mutex<Tally>,
    /// When a refusal was last logged.
    logged_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("server", &self.server).field("tally", &self.tally()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The webhook of a server, to which no call has come.
    #[must_use]
    pub fn new(server: Key, webhook: Box<dyn Webhook>, amazon: Amazon, clients: Clients, egress: Egress) -> Self {
        Self { server, webhook, amazon, clients, egress, replays: Mutex::default(), tally: Mutex::default(), logged_at: Mutex::default() }
    }

    /// The server whose events come here.
    #[must_use]
    pub fn server(&self) -> &Key {
        &self.server
    }

    /// What became of its calls.
    #[must_use]
    pub fn tally(&self) -> Tally {
        *locked(&self.tally)
    }

    /// Bytes of a body that are read.
    #[must_use]
    pub fn body_max(&self) -> usize {
        self.webhook.body_max()
    }

    /// Whether events may come in the query of a GET.
    #[must_use]
    pub fn takes_get(&self) -> bool {
        self.webhook.takes_get()
    }

    /// Judges a call. Whoever gets it says with [`Taking::taken`] that its events are durable; otherwise it may come again.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn receive(self: &Arc<Self>, call: &WebhookCall<'_>) -> Result<Taking, Refused> {
        let received = self.judge(call).await;
        let begun = received.and_then(|received| {
            received.once.map_or(Ok(()), |once| locked(&self.replays).begin(once))?;
            Ok(received)
        });
        if let Err(refused) = &begun {
            self.note(refused);
        }
        let Received { events, once, confirm } = begun?;
        Ok(Taking { endpoint: self.clone(), events, once, confirm, at_ms: call.now_ms })
    }

    /// Refuses a call that need not be judged.
    #[must_use]
    pub fn refuse(&self, why: &'static str) -> Refused {
        let refused = Refused::Forged(why);
        self.note(&refused);
        refused
    }

    async fn judge(&self, call: &WebhookCall<'_>) -> Result<Received, Refused> {
        match self.webhook.receive(call, &self.amazon.certificates()) {
            Err(Refused::NeedsCertificate(url)) => {
                self.amazon.fetch(&url, &self.clients, self.egress).await?;
                match self.webhook.receive(call, &self.amazon.certificates()) {
                    Err(Refused::NeedsCertificate(_)) => Err(Refused::NotNow("Amazon's certificate was displaced by others")),
                    judged => judged,
                }
            }
            judged => judged,
        }
    }

    /// Counts a refusal, and logs it, but not many of them: a stranger must not fill the log.
    fn note(&self, refused: &Refused) {
        let why = match refused {
            Refused::Forged(why) | Refused::Unreadable(why) => *why,
            Refused::Late => "it was signed too long ago; check this machine's clock",
            Refused::Replayed => "it was received before",
            Refused::NotNow(_) | Refused::NeedsCertificate(_) => return,
        };
        let count = {
            let mut tally = locked(&self.tally);
            tally.refused += 1;
            tally.refused_why = Some(why);
            tally.refused
        };
        let mut logged_at = locked(&self.logged_at);
        if logged_at.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
            *logged_at = Some(Instant::now());
            tracing::warn!(
                server = %self.server, refused = count,
                "a call to this server's webhook is refused: {why}. If it was the vendor's, compare feedback.webhook with the vendor's settings (docs/webhooks.md)"
            );
        }
    }
}

/// A call that is being taken.
#[derive(Debug)]
pub struct Taking {
    endpoint: Arc<Endpoint>,
    /// Its events, to be made durable all together.
    pub events: Vec<Event>,
    once: Option<Once>,
    confirm: Option<String>,
    at_ms: i64,
}

impl Taking {
    /// Confirms the subscription that the call is about, where it is about one.
    ///
    /// # Errors
    /// When Amazon does not take the confirmation.
    pub async fn confirm(&self) -> Result<(), Refused> {
        let Some(url) = &self.confirm else { return Ok(()) };
        match get(url, &self.endpoint.clients, self.endpoint.egress).await {
            Some(_) => {
                tracing::info!(server = %self.endpoint.server, "the subscription of this server's webhook is confirmed");
                Ok(())
            }
            None => Err(Refused::NotNow("Amazon did not accept the confirmation of the subscription")),
        }
    }

    /// The call is taken: its events are durable.
    pub fn taken(mut self) {
        self.end(true);
        let mut tally = locked(&self.endpoint.tally);
        *tally = Tally { taken: tally.taken + 1, taken_at_ms: Some(self.at_ms), ..Tally::default() };
    }

    fn end(&mut self, is_taken: bool) {
        if let Some(once) = self.once.take() {
            locked(&self.endpoint.replays).end(once, is_taken);
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.end(false);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
