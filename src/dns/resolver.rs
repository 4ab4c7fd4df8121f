//! Looks up in DNS what a judgement asks for.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType as Type},
    },
};

use tokio::sync::Semaphore;

use super::{
    answers::{Answer, Answers, Data, Question, RecordType},
    check::{Check, judge},
    subject::Subject,
};

/// The most lookups for one server; 256 domains need about 1,500.
const LOOKUPS_MAX: usize = 2_000;
/// Lookups at a time for one server.
const AT_A_TIME: usize = 8;
/// Rounds of lookups: a chain of ten SPF includes behind a walk up a domain needs about 20.
const ROUNDS_MAX: usize = 40;
/// The most records of one answer that are looked at.
const RECORDS_MAX: usize = 100;
/// Queries at a time, for all servers.
const QUERIES_MAX: usize = 32;
/// How long the resolver may take to answer, and how often it is asked again.
const TIMEOUT: Duration = Duration::from_secs(3);
const RETRIES: usize = 1;
/// After so many queries in a row without any answer, the resolver is not asked for a while: two thousand servers would wait in line
/// for as many timeouts.
const SILENT_MAX: u32 = 8;
const SILENT_FOR: Duration = Duration::from_secs(5);
/// How long all lookups for one server may take.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// Answers that are kept.
const CACHE_MAX: u64 = 10_000;
/// How long an answer is kept at least and at most, whatever its TTL says; that there is no record is kept no longer than people who
/// have just published one will wait.
const TTL_MIN: Duration = Duration::from_secs(5);
const TTL_MAX: Duration = Duration::from_secs(3600);
const NEGATIVE_MAX: Duration = Duration::from_secs(300);

/// The port of name servers.
const PORT: u16 = 53;

/// Reads the address of a resolver: `10.0.0.53`, `10.0.0.53:5353`, `[2001:db8::53]:53`.
///
/// # Errors
/// When it is none.
pub fn resolver_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.parse()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)))
        .map_err(|_| format!("`{text}` is not the address of a resolver; write an IP address, with `:PORT` where it is not {PORT}"))
}

/// A resolver, with its cache. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    inner: Result<Arc<TokioResolver>, String>,
    permits: Arc<Semaphore>,
    silence: Arc<Mutex<Silence>>,
}

/// Queries in a row without any answer.
#[derive(Default)]
pub(super) struct Silence {
    queries: u32,
    until: Option<Instant>,
}

impl Silence {
    /// Notes whether a query was answered.
    pub fn note(&mut self, is_answered: bool, now: Instant) {
        *self = if is_answered { Self::default() } else { Self { queries: self.queries.saturating_add(1), until: Some(now + SILENT_FOR) } };
    }

    /// Whether the resolver is away, as far as is known.
    pub fn lasts(&self, now: Instant) -> bool {
        self.queries >= SILENT_MAX && self.until.is_some_and(|until| now < until)
    }
}

/// What was looked up for a server.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The records, judged.
    pub checks: Vec<Check>,
    /// When the first answer expires.
    pub valid_for: Duration,
}

impl Resolver {
    /// The resolver at an address, or the system's (`/etc/resolv.conf`).
    #[must_use]
    pub fn new(address: Option<SocketAddr>) -> Self {
        let builder = match address {
            Some(address) => {
                let with_port = |mut connection: ConnectionConfig| {
                    connection.port = address.port();
                    connection
                };
                let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
                let server = NameServerConfig::new(address.ip(), true, connections);
                Ok(Hickory::builder_with_config(ResolverConfig::from_name_servers(vec![server]), TokioRuntimeProvider::default()))
            }
            None => {
                Hickory::builder_tokio().map_err(|_| "this machine's /etc/resolv.conf names no usable resolver; give --resolver".to_owned())
            }
        };
        let inner = builder.and_then(|builder| {
            let build = builder.with_options(options()).build();
            build.map(Arc::new).map_err(|error| format!("the resolver cannot be set up: {error}"))
        });
        Self { inner, permits: Arc::new(Semaphore::new(QUERIES_MAX)), silence: Arc::default() }
    }

    /// Judges a server's records, looking up what that takes.
    pub async fn look(&self, subject: &Subject) -> Looked {
        settle(subject, |question| async move { self.ask(&question).await }).await
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One answer, and how long it holds.
    async fn ask(&self, question: &Question) -> (Answer, Duration) {
        let resolver = match &self.inner {
            Ok(resolver) => resolver,
            Err(why) => return (Answer::Failed(why.clone()), TTL_MIN),
        };
        // What is no name has no records: macros of SPF can make one.
        let Ok(mut name) = Name::from_ascii(&question.name) else { return (Answer::Missing, TTL_MAX) };
        name.set_fqdn(true);
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        if self.silence().lasts(Instant::now()) {
            return (Answer::Failed(NO_ANSWER.to_owned()), TTL_MIN);
        }
        let result = resolver.lookup(name, record_type(question.kind)).await;
        self.silence().note(matches!(result, Ok(_) | Err(NetError::Dns(_))), Instant::now());
        match result {
            Ok(lookup) => {
                let records = lookup.answers().iter().filter_map(|record| data(question.kind, &record.data));
                let data: Vec<Data> = records.take(RECORDS_MAX).collect();
                let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
                (Answer::Found(data), ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let ttl = none.negative_ttl.map_or(TTL_MIN, |seconds| Duration::from_secs(seconds.into()));
                (Answer::Missing, ttl.clamp(TTL_MIN, NEGATIVE_MAX))
            }
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                (Answer::Failed(format!("the name server answered {}", word(code))), TTL_MIN)
            }
            Err(_) => (Answer::Failed(NO_ANSWER.to_owned()), TTL_MIN),
        }
    }
}

/// Judges a server's records, asking until no question is open; what is one too many, or too late, is not known.
pub(super) async fn settle<F: Future<Output = (Answer, Duration)>>(subject: &Subject, ask: impl Fn(Question) -> F) -> Looked {
    let (mut answers, mut valid_for) = (Answers::within(subject.egress), TTL_MAX);
    let (deadline, ask) = (tokio::time::Instant::now() + LOOK_MAX, &ask);
    for _ in 0..ROUNDS_MAX {
        let checks = judge(subject, &mut answers);
        let open = answers.take_open();
        if open.is_empty() {
            return Looked { checks, valid_for };
        }
        let room = LOOKUPS_MAX.saturating_sub(answers.len());
        let asked = stream::iter(open.into_iter().enumerate()).map(|(index, question)| async move {
            if index >= room {
                return (question, Answer::Failed(format!("the server needs more than {LOOKUPS_MAX} lookups")), TTL_MAX);
            }
            let (answer, ttl) = match tokio::time::timeout_at(deadline, ask(question.clone())).await {
                Ok(answered) => answered,
                Err(_) => (Answer::Failed(NO_ANSWER.to_owned()), TTL_MIN),
            };
            (question, answer, ttl)
        });
        let mut asked = asked.buffer_unordered(AT_A_TIME);
        while let Some((question, answer, ttl)) = asked.next().await {
            answers.note(question, answer);
            valid_for = valid_for.min(ttl);
        }
    }
    // What is open counts as not known.
    Looked { checks: judge(subject, &mut answers), valid_for }
}

/// A response code as operators know it (RFC 1035, 4.1.1).
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("`{other}`"),
    }
}

/// The same for a closed port, a timeout and a network that is away, so that the message is stable.
const NO_ANSWER: &str = "the resolver does not answer";

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = RETRIES;
    options.cache_size = CACHE_MAX;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options.positive_min_ttl = Some(TTL_MIN);
    options.positive_max_ttl = Some(TTL_MAX);
    options.negative_min_ttl = Some(TTL_MIN);
    options.negative_max_ttl = Some(NEGATIVE_MAX);
    options
}

const fn record_type(kind: RecordType) -> Type {
    match kind {
        RecordType::A => Type::A,
        RecordType::Aaaa => Type::AAAA,
        RecordType::Mx => Type::MX,
        RecordType::Ptr => Type::PTR,
        RecordType::Txt => Type::TXT,
    }
}

/// The data of a record of the type asked for, or an alias on the way to it.
fn data(kind: RecordType, found: &RData) -> Option<Data> {
    let name = |name: &Name| {
        let text = name.to_ascii().to_ascii_lowercase();
        if text == "." { text } else { text.trim_end_matches('.').to_owned() }
    };
    match (kind, found) {
        (RecordType::A, RData::A(address)) => Some(Data::Address(IpAddr::V4(address.0))),
        (RecordType::Aaaa, RData::AAAA(address)) => Some(Data::Address(IpAddr::V6(address.0))),
        (RecordType::Mx, RData::MX(mx)) => Some(Data::Mx(mx.preference, name(&mx.exchange))),
        (RecordType::Ptr, RData::PTR(target)) => Some(Data::Name(name(&target.0))),
        (RecordType::Txt, RData::TXT(text)) => Some(Data::Text(String::from_utf8_lossy(&text.txt_data.concat()).into_owned())),
        (_, RData::CNAME(target)) => Some(Data::Alias(name(&target.0))),
        _ => None,
    }
}
