//! lettre's pool as a sender for the benchmarks: what a program that sends by the usual crate reaches on the same line.
//! It renders each recipient's text into a message of the same size, keeps no ledger, and asks for no more than its pool does by
//! itself: a task for each connection sends one message after the other.

#![allow(clippy::print_stderr)] // a program of its own, which says what went wrong

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    address::{Address, Envelope},
    transport::smtp::PoolConfig,
};

/// What each task needs, and the messages that are left.
struct Work {
    left: AtomicU64,
    body_bytes: usize,
}

fn message(number: u64, body_bytes: usize) -> Vec<u8> {
    let line = "Nothing else is worth a word, but the line goes on until it is long enough.\r\n";
    let mut text = format!(
        "From: news@news.example.com\r\nTo: person{number}@example.com\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nMessage-ID: <{number}@news.example.com>\r\n\r\nDear Person {number},\r\n"
    );
    while text.len() < body_bytes {
        text.push_str(line);
    }
    text.into_bytes()
}

async fn send(mailer: AsyncSmtpTransport<Tokio1Executor>, work: Arc<Work>, from: Address) -> Result<(), String> {
    loop {
        let taken = work.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let Ok(number) = taken else { return Ok(()) };
        let to: Address = format!("person{number}@example.com").parse().map_err(|error| format!("{error}"))?;
        let envelope = Envelope::new(Some(from.clone()), vec![to]).map_err(|error| error.to_string())?;
        mailer.send_raw(&envelope, &message(number, work.body_bytes)).await.map_err(|error| error.to_string())?;
    }
}

fn arguments() -> Option<(u64, u32, Vec<u16>)> {
    let mut given = std::env::args().skip(1);
    let messages = given.next()?.parse().ok()?;
    let connections = given.next()?.parse().ok()?;
    let ports = given.map(|port| port.parse().ok()).collect::<Option<Vec<u16>>>()?;
    (!ports.is_empty()).then_some((messages, connections, ports))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some((messages, connections, ports)) = arguments() else {
        eprintln!("usage: lettre-pool MESSAGES CONNECTIONS PORT...: so many messages over so many connections to each port of 127.0.0.1");
        return ExitCode::from(2);
    };
    let Ok(from) = "news@news.example.com".parse::<Address>() else { return ExitCode::from(2) };
    let work = Arc::new(Work { left: AtomicU64::new(messages), body_bytes: 5_000 });
    let mut tasks = tokio::task::JoinSet::new();
    for port in ports {
        let pool = PoolConfig::new().max_size(connections);
        let mailer = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(port).pool_config(pool).build();
        for _ in 0..connections {
            tasks.spawn(send(mailer.clone(), work.clone(), from.clone()));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(problem) = ended.map_err(|error| error.to_string()).and_then(|sent| sent) {
            eprintln!("lettre-pool: {problem}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
