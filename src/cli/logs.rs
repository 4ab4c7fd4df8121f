//! The log: on a terminal for people, elsewhere as it is usual for programs, or as JSON for those that collect logs.
//!
//! Who asks for a log by MAILFLEET_LOG wants it as a log, with dates and fields, on a terminal too.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{
    json_log::{self, JsonLines},
    screen::{self, Colour, Line},
};

/// The default log filter: the Kubernetes client would log each failed request, and we report what it means.
const QUIET: &str = "warn,kube_client=off,kube_runtime=off";
/// The variable that gives another one.
const VARIABLE: &str = "MAILFLEET_LOG";

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line: everything on standard error.
    Json,
}

/// Begins to log to standard error, above the picture that may be drawn there.
pub fn begin(format: LogFormat) {
    let asked = std::env::var(VARIABLE).ok().and_then(|asked| EnvFilter::try_new(asked).ok());
    let is_for_people = asked.is_none() && io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(asked.unwrap_or_else(|| EnvFilter::new(QUIET)))
        .with_writer(|| screen::Above)
        .with_target(false)
        .with_ansi(screen::has_colours());
    if format == LogFormat::Json {
        json_log::begin();
        log.with_ansi(false).event_format(JsonLines).init();
    } else if is_for_people {
        log.event_format(ForPeople).init();
    } else {
        log.init();
    }
}

/// `14:03:07 warning: a send failed: … (server default/dublin, reason ServiceNotAvailable)`
struct ForPeople;

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut words = Words::default();
        event.record(&mut words);
        let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        let line = words.line(&time, *event.metadata().level());
        writer.write_str(&line.block(screen::stderr_columns(), writer.has_ansi_escapes()))
    }
}

/// What an event says.
#[derive(Default)]
struct Words {
    message: String,
    /// The cause, if there is one.
    error: String,
    /// Everything else: names and values.
    others: Vec<String>,
}

impl Words {
    /// The line for people.
    fn line(&self, time: &str, level: Level) -> Line {
        let (word, colour) = match level {
            Level::ERROR => ("error", Colour::Red),
            Level::WARN => ("warning", Colour::Yellow),
            Level::INFO => ("note", Colour::Green),
            Level::DEBUG | Level::TRACE => ("debug", Colour::Green),
        };
        let error = if self.error.is_empty() { String::new() } else { format!(": {}", self.error) };
        let others = if self.others.is_empty() { String::new() } else { format!(" ({})", self.others.join(", ")) };
        Line::plain(format!("{time} ")).coloured(word, colour).then(&format!(": {}{error}{others}", self.message))
    }

    fn note(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "error" => self.error = value,
            name => self.others.push(format!("{name} {value}")),
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A string takes everything.
        let _ = write!(text, "{value:?}");
        self.note(field, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_for_people_has_a_time_words_and_no_date() {
        let words =
            Words { message: "a send failed: 421 Later.".to_owned(), others: vec!["server default/dublin".to_owned()], ..Words::default() };
        assert_eq!(words.line("14:03:07", Level::WARN).text(), "14:03:07 warning: a send failed: 421 Later. (server default/dublin)");
        let words = Words { message: "the runs cannot be read".to_owned(), error: "disk I/O error".to_owned(), ..Words::default() };
        assert_eq!(words.line("14:03:07", Level::ERROR).text(), "14:03:07 error: the runs cannot be read: disk I/O error");
    }
}
