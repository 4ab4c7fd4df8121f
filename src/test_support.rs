//! What tests of several rooms build: intents, works and templates with everything filled in.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    message::{Content, Template},
    resources::{
        CountOrPercent, Duration, Rate,
        campaign::{EffectiveRetry, Mailbox, Weighting, WhenOutcomeIsUnknown, WhenRenderFails, WhenRowIsBad},
    },
    routing::{CampaignIntent, ServerIntent, Work},
};

/// An object of a kind, by its namespace, name and spec in YAML.
pub fn object_in<T: serde::de::DeserializeOwned>(kind: &str, namespace: &str, name: &str, spec: &str) -> T {
    let yaml =
        format!("{{apiVersion: mailfleet.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}");
    serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

/// The same in the namespace `default`.
pub fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &str) -> T {
    object_in(kind, "default", name, spec)
}

/// The run `first` of a campaign from `news@example.com`: four attempts, unknown outcomes skipped.
pub fn work(work_hash: u64) -> Work {
    Work {
        run: "first".to_owned(),
        work_hash,
        from_address: "news@example.com".into(),
        retry: EffectiveRetry { attempts: 4, initial_delay: Duration::from_secs(1), deadline: Duration::from_secs(432_000) },
        when_outcome_is_unknown: WhenOutcomeIsUnknown::Skip,
        max_render_errors: CountOrPercent::Count(100),
        when_render_fails: WhenRenderFails::Stop,
        max_bad_rows: CountOrPercent::Percent(5),
        when_row_is_bad: WhenRowIsBad::Stop,
        outcomes: None,
        reopen: 0,
        topic: None,
        shows_unsubscribing: false,
        attached_bytes: 0,
        has_inline: false,
    }
}

/// A campaign that sends this, through no server yet.
pub fn campaign_intent(work: Work) -> CampaignIntent {
    CampaignIntent {
        mail_domain: None,
        work: Arc::new(work),
        hold: false,
        servers: Arc::default(),
        weighting: Weighting::Overflow,
        candidates: Arc::default(),
        resume: None,
        rollout: crate::routing::RolloutIntent::default(),
        plan_limits: None,
        own_limits: None,
        hours: None,
        senders: None,
    }
}

/// A server that is routed, with four connections and these windows.
pub fn server_intent(rates: &[Rate]) -> ServerIntent {
    ServerIntent {
        routed: true,
        is_on_trial: false,
        provider: "smtp",
        host: "relay.example".into(),
        acknowledged_failures: 0,
        rates: rates.to_vec(),
        per_domain: Arc::default(),
        warmup_today: None,
        connections: Some(4),
        in_flight_max: None,
        return_path: None,
        names_messages: false,
        signing: [].into(),
        stall_after: Duration::from_secs(10),
    }
}

/// The status of a campaign in this state; counts that `recipients` does not name are 0.
pub fn campaign_status(state: &str, run: &str, mut recipients: Value) -> Value {
    for count in ["resent", "duplicates", "badRows"] {
        recipients[count] = json!(0);
    }
    json!({
        "observedGeneration": 1, "state": state, "run": run, "recipients": recipients, "servers": [], "conditions": [],
        "effective": {
            "weighting": "Overflow", "whenNoServerIsActive": "Stop", "whenOutcomeIsUnknown": "Skip", "maxRenderErrors": 0,
            "retry": {"attempts": 5, "initialDelay": "1m", "deadline": "120h"},
        },
    })
}

/// A template that says Hi to everybody.
pub fn template() -> Arc<Template> {
    let content =
        Content { text: Some("Hi".into()), ..Content::bare(Mailbox { name: None, address: "news@example.com".to_owned() }, "Hello") };
    Arc::new(Template::compile(&content).unwrap_or_else(|_| unreachable!("a good template")))
}

/// Numbers that look random and are the same each time, from a seed that is not 0 (xorshift).
pub struct Chance(pub u64);

impl Chance {
    /// A number below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % n.max(1)
    }
}
