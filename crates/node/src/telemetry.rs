//! Log and metrics of the process: set up once, before anything can speak.

use std::collections::BTreeMap;
use std::fmt;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use plexspaces_actor::current_trace;
use plexspaces_api::{LogBook, LogEntry};
use plexspaces_types::{Clock, Name};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt as log_format};

use crate::{Error, LogConfig, LogFormat};

/// The field of a line that names its trace.
const TRACE_ID: &str = "trace_id";

/// Lines of the log that a node remembers for those who ask.
const LOG_LINES: usize = 10_000;

/// Seconds; from a native actor's turn to a slow commit.
const BUCKETS: [f64; 14] = [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// The process's log and metrics. Clones are the same.
#[derive(Clone)]
pub struct Telemetry {
    pub(crate) logs: LogBook,
    pub(crate) metrics: PrometheusHandle,
}

/// Sets up the log on standard error and the metrics. A process can do this once.
pub fn init(config: &LogConfig) -> Result<Telemetry, Error> {
    let filter = config.filter();
    let filter =
        EnvFilter::try_new(&filter).map_err(|error| Error::Telemetry { what: "the log filter", why: format!("{filter:?}: {error}") })?;
    let logs = LogBook::new(LOG_LINES, Clock::system());
    let lines: Box<dyn Layer<_> + Send + Sync> = match config.format {
        LogFormat::Text => {
            let format = WithTrace { format: log_format::format().with_ansi(use_colour()), end: "", open: " trace_id=", close: "" };
            log_format::layer().with_writer(std::io::stderr).with_ansi(use_colour()).event_format(format).boxed()
        }
        LogFormat::Json => {
            let format = log_format::format().json().flatten_event(true);
            let format = WithTrace { format, end: "}", open: ",\"trace_id\":\"", close: "\"}" };
            log_format::layer().json().with_writer(std::io::stderr).event_format(format).boxed()
        }
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(Remember(logs.clone()));
    subscriber.try_init().map_err(|error| Error::Telemetry { what: "the log", why: error.to_string() })?;
    let metrics = recorder().map_err(|error| Error::Telemetry { what: "the metrics", why: error.to_string() })?;
    Ok(Telemetry { logs, metrics })
}

fn recorder() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?;
    let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
    builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &sizes)?.install_recorder()
}

fn use_colour() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none()
}

/// Writes lines as another does, with the trace that each belongs to where it does not say so itself.
struct WithTrace<F> {
    format: F,
    /// What the other ends a line with, which makes room for the trace.
    end: &'static str,
    /// Before and behind the trace's id.
    open: &'static str,
    close: &'static str,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Self { format, end, open, close } = self;
        let unsaid = current_trace().filter(|_| event.metadata().fields().field(TRACE_ID).is_none());
        let Some(trace) = unsaid else { return format.format_event(context, writer, event) };
        let mut line = String::new();
        format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end().strip_suffix(end).ok_or(fmt::Error)?;
        writeln!(writer, "{line}{open}{trace:032x}{close}")
    }
}

/// Copies each line into the log book.
struct Remember(LogBook);

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        let meta = event.metadata();
        self.0.push(LogEntry {
            timestamp_ms: Clock::system().now_ms(),
            level: *meta.level(),
            source: meta.target().to_owned(),
            message: fields.remove("message").unwrap_or_default(),
            tenant: fields.remove("tenant").and_then(|tenant| Name::new("tenant", &tenant).ok()),
            app: fields.remove("app"),
            actor_id: fields.remove("actor_id"),
            trace_id: fields.remove(TRACE_ID).or_else(|| current_trace().map(|trace| format!("{trace:032x}"))),
            fields,
        });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}
