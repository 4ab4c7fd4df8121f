//! Statements that are sent one behind the other, without waiting for answers in between: a round trip for all of them.

use std::{future::poll_fn, pin::Pin, task::Poll};

use futures::future::{BoxFuture, MaybeDone, join, maybe_done};
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement, types::ToSql};

use super::super::{Kind, Value};

/// A statement whose answer is a number of rows.
pub(super) type Before<'p> = BoxFuture<'p, Result<u64, Error>>;

/// A statement that waits to be sent, with values of its own.
pub(super) struct Posted {
    statement: Statement,
    values: Vec<Owned>,
}

/// A [`Value`] that is kept.
enum Owned {
    Integer(i64),
    Text(String),
    Null(Kind),
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

impl Posted {
    pub(super) fn new(statement: Statement, values: &[Value<'_>]) -> Self {
        Self { statement, values: values.iter().map(Owned::of).collect() }
    }

    /// Sends it once it is polled.
    pub(super) fn send<'p>(&'p self, client: &'p Client) -> Before<'p> {
        Box::pin(async move {
            let texts: Vec<Vec<Option<&str>>> = self.values.iter().map(Owned::texts).collect();
            let values: Vec<Value<'_>> = self.values.iter().zip(&texts).map(|(value, texts)| value.value(texts)).collect();
            client.execute(&self.statement, &parameters(&values)).await
        })
    }
}

impl Owned {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Integer(number) => Self::Integer(*number),
            Value::Text(text) => Self::Text((*text).to_owned()),
            Value::Null(kind) => Self::Null(*kind),
            Value::Integers(numbers) => Self::Integers(numbers.to_vec()),
            Value::Texts(texts) => Self::Texts(texts.iter().map(|text| text.map(str::to_owned)).collect()),
        }
    }

    fn texts(&self) -> Vec<Option<&str>> {
        if let Self::Texts(texts) = self { texts.iter().map(Option::as_deref).collect() } else { Vec::new() }
    }

    fn value<'v>(&'v self, texts: &'v [Option<&'v str>]) -> Value<'v> {
        match self {
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text),
            Self::Null(kind) => Value::Null(*kind),
            Self::Integers(numbers) => Value::Integers(numbers),
            Self::Texts(_) => Value::Texts(texts),
        }
    }
}

/// Values as tokio-postgres takes them.
pub(super) fn parameters<'v>(values: &'v [Value<'v>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// How many rows the last of several statements without parameters changed.
pub(super) async fn changed(client: &Client, statements: &str) -> Result<u64, Error> {
    let answers = client.simple_query(statements).await?;
    let counts =
        answers.iter().filter_map(|answer| if let SimpleQueryMessage::CommandComplete(rows) = answer { Some(*rows) } else { None });
    Ok(counts.last().unwrap_or_default())
}

/// Sends `before` and then `next`, in this order and without waiting in between, and waits for all answers. Of `before` it is the last
/// one, or the first error. Where one of them cannot even be sent, `next` is not sent either.
pub(super) async fn in_turn<T>(before: Vec<Before<'_>>, next: impl Future<Output = T>) -> (Result<u64, Error>, Option<T>) {
    let mut before: Vec<MaybeDone<Before<'_>>> = before.into_iter().map(maybe_done).collect();
    // Each is sent when it is polled for the first time.
    let is_sent = poll_fn(|context| {
        let mut is_sent = true;
        for statement in &mut before {
            is_sent &= Pin::new(&mut *statement).poll(context).is_pending() || !matches!(statement, MaybeDone::Done(Err(_)));
        }
        Poll::Ready(is_sent)
    })
    .await;
    let next = async { if is_sent { Some(next.await) } else { None } };
    let (answers, next) = join(all(before), next).await;
    (answers.into_iter().fold(Ok(0), Result::and), next)
}

/// Sends statements in their order and without waiting in between, and waits for all answers.
pub(super) async fn in_order<T>(statements: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    all(statements.into_iter().map(maybe_done).collect()).await
}

/// The answers of all, which are sent in this order.
async fn all<T>(mut statements: Vec<MaybeDone<BoxFuture<'_, T>>>) -> Vec<T> {
    poll_fn(|context| {
        let mut is_answered = true;
        for statement in &mut statements {
            is_answered &= Pin::new(statement).poll(context).is_ready();
        }
        if is_answered { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    statements.iter_mut().filter_map(|statement| Pin::new(statement).take_output()).collect()
}
