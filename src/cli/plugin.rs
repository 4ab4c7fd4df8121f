//! `mailfleet plugin check`: whether a plugin conforms to the contract (docs/plugin/openapi.yaml). Nothing is sent.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::text;
use crate::{
    meta::bound::counted,
    providers::{
        Context,
        http::{Answer, ApiClient, Call, HeaderName, HeaderValue, Purpose, sensitive},
        plugin::CONTRACT,
    },
    resources::{Duration, secret::SecretValue},
};

/// Plugins: sending servers written as an HTTP service.
#[derive(Args, Debug)]
pub struct PluginArgs {
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// The commands for plugins.
#[derive(Subcommand, Debug)]
pub enum PluginCommand {
    /// Check whether a plugin conforms to the contract. Nothing is sent: every delivery is a dry run.
    Check(CheckArgs),
}

#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  the plugin conforms to the contract\n  1  it does not\n  2  usage error, or it cannot be reached"
)]
pub struct CheckArgs {
    /// The plugin's URL, as in spec.provider.plugin.url.
    #[arg(value_name = "URL")]
    pub url: String,
    /// A file with the token that the plugin requires.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// An entry of spec.provider.plugin.config; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_entry)]
    pub config: Vec<(String, String)>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = CheckOutput::Text)]
    pub output: CheckOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// One line per check.
    Text,
    /// One JSON object.
    Json,
}

fn parse_entry(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "write it as KEY=VALUE".to_owned())
}

/// The timeout of each request.
const TIMEOUT: Duration = Duration::from_secs(20);

pub async fn run(args: PluginArgs) -> ExitCode {
    let PluginCommand::Check(args) = args.command;
    let checker = match Checker::new(&args) {
        Ok(checker) => checker,
        Err(why) => {
            text::report(&why);
            return ExitCode::from(super::exit::EXIT_CONFIGURATION);
        }
    };
    let probed = match checker.probe(json!({}), true).await {
        Ok(answer) => answer,
        Err(why) => {
            text::report(&why);
            return ExitCode::from(super::exit::EXIT_CONFIGURATION);
        }
    };
    let checks = checker.all(&probed).await;
    let failed = checks.iter().filter(|check| check.found.is_err()).count();
    let written = print(&checks, failed, args.output);
    if failed == 0 && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A check: what the contract requires, and what was found.
struct Check {
    name: &'static str,
    asks: &'static str,
    found: Result<(), String>,
}

fn print(checks: &[Check], failed: usize, output: CheckOutput) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if output == CheckOutput::Json {
        let list: Vec<Value> = checks
            .iter()
            .map(|check| json!({"check": check.name, "contract": check.asks, "passed": check.found.is_ok(), "found": check.found.as_ref().err()}))
            .collect();
        return writeln!(out, "{:#}", json!({"passed": failed == 0, "checks": list}));
    }
    for check in checks {
        match &check.found {
            Ok(()) => writeln!(out, "ok      {}", check.name)?,
            Err(found) => writeln!(out, "failed  {}: {found}. The contract: {}.", check.name, check.asks)?,
        }
    }
    writeln!(out, "{}, {failed} failed", counted(checks.len(), "check", "checks"))
}

struct Checker {
    endpoint: ApiClient,
    token: Option<HeaderValue>,
    config: Value,
}

impl Checker {
    fn new(args: &CheckArgs) -> Result<Self, String> {
        let token = match &args.token_file {
            None => None,
            Some(path) => {
                let token = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                Some(token.trim().to_owned())
                    .filter(|token| !token.is_empty())
                    .ok_or_else(|| format!("{} is empty", path.display()))?
                    .into()
            }
        };
        let hidden: Vec<SecretValue> = token.iter().map(|token: &String| SecretValue::new(token.as_str())).collect();
        let context = Context::new("check/check");
        let endpoint = ApiClient::new(&context, &args.url, Some(TIMEOUT), hidden).map_err(|failure| failure.message)?;
        let token = token
            .map(|token| sensitive(&format!("Bearer {token}")))
            .transpose()
            .map_err(|_| "the token contains characters that cannot be sent".to_owned())?;
        let config = args.config.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect::<serde_json::Map<_, _>>();
        Ok(Self { endpoint, token, config: config.into() })
    }

    async fn ask(&self, call: Call, with_token: bool) -> Result<Answer, String> {
        let call = call.with_some(http::header::AUTHORIZATION, self.token.clone().filter(|_| with_token));
        self.endpoint.ask(call, Purpose::Delivery).await.map_err(|no_answer| no_answer.failure.message)
    }

    fn body(&self, more: Value) -> Value {
        let mut body = json!({"contract": CONTRACT, "server": "check/check", "config": self.config});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        body
    }

    async fn probe(&self, more: Value, with_token: bool) -> Result<Answer, String> {
        self.ask(Call::post_json("probe", &self.body(more)), with_token).await
    }

    async fn deliver(&self, messages: Vec<Value>, key: &str) -> Result<Answer, String> {
        let body = self.body(json!({"messages": messages, "dryRun": true, "aFieldOfALaterVersion": {"x": 1}}));
        let key = HeaderValue::from_str(key).map_err(|error| error.to_string())?;
        self.ask(Call::post_json("deliver", &body).with(HeaderName::from_static("idempotency-key"), key), true).await
    }

    /// The outcomes of messages, one for each id.
    async fn outcomes(&self, messages: Vec<Value>, key: &str) -> Result<Vec<String>, String> {
        let ids: Vec<String> = messages.iter().filter_map(|message| message["id"].as_str().map(str::to_owned)).collect();
        let answer = self.deliver(messages, key).await?;
        let said = json_of(&answer, 200)?;
        let outcomes = said["outcomes"].as_array().ok_or("there is no list `outcomes`")?;
        if outcomes.len() != ids.len() {
            return Err(format!("{} outcomes for {}", outcomes.len(), counted(ids.len(), "message", "messages")));
        }
        ids.iter()
            .map(|id| {
                let named: Vec<&Value> = outcomes.iter().filter(|outcome| outcome["id"].as_str() == Some(id)).collect();
                match named[..] {
                    [one] => Ok(one["outcome"].as_str().unwrap_or_default().to_owned()),
                    _ => Err(format!("message `{id}` is named {} times", named.len())),
                }
            })
            .collect()
    }

    async fn deliver_as(&self, messages: Vec<Value>, wanted: &str) -> Result<(), String> {
        let found = self.outcomes(messages, &uuid::Uuid::new_v4().to_string()).await?;
        match found.iter().find(|outcome| *outcome != wanted) {
            None => Ok(()),
            Some(other) => Err(self.endpoint.shown(&format!("an outcome is `{other}` instead of `{wanted}`"))),
        }
    }

    async fn all(&self, probed: &Answer) -> Vec<Check> {
        let message = |id: &str| letter(id, "bob@example.com", "Hello\r\n");
        let mut checks = Vec::new();
        let mut add = |name, asks, found| checks.push(Check { name, asks, found });
        // The plugin's words may repeat the token.
        let found = check_probe(probed).map_err(|words| self.endpoint.shown(&words));
        add("a probe says whether the plugin is ready", "200 and `ready`", found);
        if self.token.is_some() {
            let answered = self.probe(json!({}), false).await;
            add("a probe without the token is refused", "401", answered.and_then(|answer| status(&answer, &[401, 403])));
        }
        let answered = self.probe(json!({"contract": "v999"}), true).await;
        add("another contract is refused", "400", answered.and_then(|answer| status(&answer, &[400])));
        let broken = Call::post("deliver", HeaderValue::from_static("application/json"), "{\"contract\": ".into());
        let broken = broken.with(HeaderName::from_static("idempotency-key"), HeaderValue::from_static("broken"));
        add("a request that is not JSON is refused", "400", self.ask(broken, true).await.and_then(|answer| status(&answer, &[400])));
        add(
            "a message is accepted, with fields of later versions in the request",
            "200 and `accepted`",
            self.deliver_as(vec![message("one")], "accepted").await,
        );
        let several = (0..20).map(|number| message(&format!("id-{number}"))).collect();
        add("each of several messages has one outcome", "one outcome for each id", self.deliver_as(several, "accepted").await);
        let other = letter("utf-8", "bob@example.com", "Grüße, 日本語 ✓\r\n");
        add("UTF-8 is accepted", "`accepted`", self.deliver_as(vec![other], "accepted").await);
        let large = letter("large", "bob@example.com", &"x".repeat(70).repeat(15_000));
        add("a message of 1 MB is accepted", "requests up to 64 MiB", self.deliver_as(vec![large], "accepted").await);
        let wrong = letter("wrong", "not an address", "Hello\r\n");
        add(
            "an invalid recipient is rejected, without a failure of the plugin",
            "`rejected`",
            self.deliver_as(vec![wrong], "rejected").await,
        );
        add("a repeated request gets the same answer", "the first answer again for a known Idempotency-Key", self.check_again().await);
        add("concurrent requests are all answered", "one outcome for each id", self.check_together().await);
        checks
    }

    async fn check_again(&self) -> Result<(), String> {
        let key = uuid::Uuid::new_v4().to_string();
        let first = self.deliver(vec![letter("a", "bob@example.com", "Hello\r\n")], &key).await?;
        // Other messages under the same key: the ids show whether the plugin processed them anew.
        let second = self.deliver(vec![letter("b", "bob@example.com", "Hello\r\n")], &key).await?;
        if json_of(&first, 200)? == json_of(&second, 200)? { Ok(()) } else { Err("the second answer differs".to_owned()) }
    }

    async fn check_together(&self) -> Result<(), String> {
        let calls =
            (0..8).map(|number| self.deliver_as(vec![letter(&format!("together-{number}"), "bob@example.com", "Hello\r\n")], "accepted"));
        futures::future::join_all(calls).await.into_iter().collect()
    }
}

fn check_probe(answer: &Answer) -> Result<(), String> {
    let said = json_of(answer, 200)?;
    match said["ready"].as_bool() {
        Some(true) => Ok(()),
        Some(false) if said["failure"]["reason"].is_string() && said["failure"]["message"].is_string() => {
            Err(format!("it is not ready: {}", said["failure"]["message"].as_str().unwrap_or_default()))
        }
        Some(false) => Err("it is not ready, and does not say why in `failure`".to_owned()),
        None => Err("there is no `ready`".to_owned()),
    }
}

fn letter(id: &str, recipient: &str, body: &str) -> Value {
    let content = format!(
        "From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: A check of the contract\r\nMessage-ID: <{id}@example.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
    );
    json!({
        "id": id, "mailFrom": "ann@example.com", "recipient": recipient, "content": STANDARD.encode(content),
        "campaign": "", "run": "", "messageId": format!("{id}@example.com"),
    })
}

fn status(answer: &Answer, wanted: &[u16]) -> Result<(), String> {
    if wanted.contains(&answer.status) { Ok(()) } else { Err(format!("the answer is {}", answer.status)) }
}

fn json_of(answer: &Answer, wanted: u16) -> Result<Value, String> {
    status(answer, &[wanted])?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("the answer is not JSON: {error}"))
}
