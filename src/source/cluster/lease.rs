//! One leader, by a Lease (coordination.k8s.io/v1).
//!
//! A replica takes the Lease when its holder has not renewed it for its whole duration, by the replica's own clock. A leader that
//! cannot reach the API server continues: the ledger prevents two from sending, by its lock and the epoch that each claim is
//! checked against. A leader exits when it sees another holder. Another installation has another Lease: see `others`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as LeaseObject, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::Instant};

use super::{
    options::LeaseOptions,
    others::{self, Others},
    repeated::{Repeated, Said},
    request::REQUEST_TIMEOUT,
};
use crate::backoff::jittered;

/// The Lease, held.
pub struct Lease {
    api: Api<LeaseObject>,
    options: LeaseOptions,
    lost: watch::Receiver<Option<String>>,
}

/// Acquires the Lease: waits while another process holds it, or another installation watches the same cluster, and calls
/// `standing_by`.
pub async fn acquire(client: &Client, options: LeaseOptions, standing_by: impl Fn()) -> Lease {
    let api: Api<LeaseObject> = Api::namespaced(client.clone(), &options.namespace);
    let mut candidate =
        Candidate { api: api.clone(), options: options.clone(), seen: None, acquired: None, is_held: false, told: Repeated::default() };
    let mut others = Others::new(client, &options);
    loop {
        match others.rival().await {
            Ok(None) if candidate.try_acquire().await => {
                // Another may have checked and begun at the same time.
                match others.rival().await {
                    Ok(Some(rival)) if others.was_first(&rival, candidate.acquired) => give_up(&api, &options).await,
                    _ => break,
                }
            }
            Ok(None) if candidate.is_held => standing_by(),
            Ok(None) => {}
            Ok(Some(rival)) => {
                others.tell(&rival);
                standing_by();
            }
            Err(error) => {
                candidate.forget_seen();
                candidate.tell(&format!("Leases cannot be listed ({error}); nothing is sent until they can"));
            }
        }
        tokio::time::sleep(jittered(options.duration / 8)).await;
    }
    let (lose, lost) = watch::channel(None);
    tokio::spawn(renew(api.clone(), options.clone(), lose));
    Lease { api, options, lost }
}

async fn give_up(api: &Api<LeaseObject>, options: &LeaseOptions) {
    let given_up = async {
        let Ok(mut lease) = api.get(&options.name).await else { return };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&options.identity)) else {
            return;
        };
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        spec.lease_duration_seconds = Some(1);
        let _ = api.replace(&options.name, &PostParams::default(), &lease).await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), given_up).await;
}

impl Lease {
    /// Waits until another process holds the Lease, and returns its name.
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        let holder = lost.wait_for(Option::is_some).await.ok().and_then(|holder| holder.clone());
        match holder {
            Some(holder) => holder,
            // The renewing task ends only with a holder.
            None => std::future::pending().await,
        }
    }

    /// Releases the Lease, so that another process need not wait until it expires.
    pub async fn release(self) {
        give_up(&self.api, &self.options).await;
    }
}

struct Candidate {
    api: Api<LeaseObject>,
    options: LeaseOptions,
    /// The version seen last, and since when. See [`Candidate::forget_seen`].
    seen: Option<(String, Instant)>,
    /// When it was acquired.
    acquired: Option<Timestamp>,
    /// Whether another process was seen holding it.
    is_held: bool,
    told: Repeated,
}

impl Candidate {
    async fn try_acquire(&mut self) -> bool {
        match tokio::time::timeout(REQUEST_TIMEOUT, self.attempt()).await {
            Ok(Ok(acquired)) => acquired,
            Ok(Err(error)) => {
                // 409: another process was faster, which the next attempt shows.
                if !matches!(&error, kube::Error::Api(status) if status.code == 409) {
                    self.forget_seen();
                    let LeaseOptions { namespace, name, .. } = self.options.clone();
                    self.tell(&format!("the Lease {namespace}/{name} cannot be read or written ({error}); nothing is sent until it can"));
                }
                false
            }
            Err(_) => {
                self.forget_seen();
                false
            }
        }
    }

    /// The API server could not be asked, so that the holder could not renew either: its duration begins anew.
    fn forget_seen(&mut self) {
        self.seen = None;
    }

    async fn attempt(&mut self) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(&self.options.name).await? else {
            let lease = LeaseObject { metadata: metadata(&self.options), spec: Some(held(&self.options, None)) };
            self.acquired = acquired(&lease);
            self.api.create(&PostParams::default(), &lease).await?;
            return Ok(true);
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                let now = Instant::now();
                self.seen = Some((version, now));
                now
            }
        };
        let duration = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(15)).unwrap_or(15));
        let is_free = holder.as_ref().is_none_or(|holder| *holder == self.options.identity) || since.elapsed() >= duration;
        if !is_free {
            let holder = holder.unwrap_or_default();
            self.is_held = true;
            self.tell(&format!("{holder} is the leader; this process is standing by"));
            return Ok(false);
        }
        let mut taken = LeaseObject { spec: Some(held(&self.options, Some(&spec))), metadata: lease.metadata };
        others::mark(&mut taken.metadata, &self.options.scope);
        self.acquired = acquired(&taken);
        self.api.replace(&self.options.name, &PostParams::default(), &taken).await?;
        Ok(true)
    }

    fn tell(&mut self, words: &str) {
        if let Said::Now { times } = self.told.say(words, Instant::now()) {
            tracing::warn!(times, "{words}");
        }
    }
}

fn metadata(options: &LeaseOptions) -> ObjectMeta {
    let mut metadata = ObjectMeta { name: Some(options.name.clone()), ..ObjectMeta::default() };
    others::mark(&mut metadata, &options.scope);
    metadata
}

fn acquired(lease: &LeaseObject) -> Option<Timestamp> {
    lease.spec.as_ref()?.acquire_time.as_ref().map(|time| time.0)
}

fn held(options: &LeaseOptions, before: Option<&LeaseSpec>) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    let is_mine = before.is_some_and(|before| before.holder_identity.as_ref() == Some(&options.identity));
    LeaseSpec {
        holder_identity: Some(options.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(options.duration.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: before.filter(|_| is_mine).and_then(|before| before.acquire_time.clone()).or_else(|| Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(before.and_then(|before| before.lease_transitions).unwrap_or(0) + i32::from(before.is_some() && !is_mine)),
        ..LeaseSpec::default()
    }
}

async fn renew(api: Api<LeaseObject>, options: LeaseOptions, lose: watch::Sender<Option<String>>) {
    let every = options.duration / 3;
    let mut is_told = false;
    loop {
        tokio::time::sleep(jittered(every)).await;
        if lose.is_closed() {
            return;
        }
        let renewed = tokio::time::timeout(every.max(Duration::from_secs(2)), renew_once(&api, &options)).await;
        match renewed {
            Ok(Ok(None)) => is_told = false,
            Ok(Ok(Some(holder))) => {
                let _ = lose.send(Some(holder));
                return;
            }
            _ if std::mem::replace(&mut is_told, true) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease cannot be renewed; sending continues, because only one process has the ledger");
            }
            Err(_) => tracing::warn!("the Lease cannot be renewed in time; sending continues, because only one process has the ledger"),
        }
    }
}

/// The other holder, if there is one.
async fn renew_once(api: &Api<LeaseObject>, options: &LeaseOptions) -> kube::Result<Option<String>> {
    let Some(lease) = api.get_opt(&options.name).await? else {
        let lease = LeaseObject { metadata: metadata(options), spec: Some(held(options, None)) };
        api.create(&PostParams::default(), &lease).await?;
        return Ok(None);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    if let Some(holder) = spec.holder_identity.clone().filter(|holder| !holder.is_empty() && *holder != options.identity) {
        return Ok(Some(holder));
    }
    let renewed = LeaseObject { spec: Some(held(options, Some(&spec))), metadata: lease.metadata };
    match api.replace(&options.name, &PostParams::default(), &renewed).await {
        // Somebody else wrote meanwhile, which the next attempt shows.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        other => other.map(|_| None),
    }
}
