//! The monitoring port, with `/metrics` for Prometheus and three probes.
//!
//! * `/livez` answers as long as the process can answer. An orchestrator restarts a process that
//! does not answer.
//! * `/readyz` tells whether the process serves. An orchestrator sends no clients to a process that
//! does not.
//! * `/healthz` tells whether a person should look. It fails if `/readyz` fails, and also for
//! problems that a restart or another process does not mend, such as an L1 endpoint that is out of
//! reach.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{MetricsConfig, Period};
use crate::grpc::{CallTimes, Incoming, LimitedStream, ListenerLimits, Port};
use crate::shutdown::panic_message;
use crate::{process, tls};

/// The most connections of the monitoring port, and of one client: scrapers and probes need one
/// each, for one request.
pub const CONNECTIONS: u32 = 16;
const CONNECTIONS_PER_CLIENT: u32 = 8;
/// How long a connection may take for its request and its answer together.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(10);
/// How often counters are swept into histograms if nothing reads them.
const UPKEEP: Duration = Duration::from_secs(5);
/// The buckets of every histogram named `…_seconds`.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// The buckets of every histogram named `…_bytes`.
const BYTES: &[f64] = &[4096.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// The process's metrics. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The page that Prometheus reads: the recorded metrics, and the process's own use of
    /// resources.
    pub fn render(&self) -> String {
        self.0.render() + &process::page()
    }

    /// Sweeps recorded values into histograms, so that they do not pile up while nothing reads
    /// them.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Collects the metrics recorded with `metrics::counter!` and similar macros from now on. Later
/// calls return the same metrics.
pub fn metrics() -> Metrics {
    static HANDLE: OnceLock<Metrics> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
                .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".into()), BYTES))
                .and_then(PrometheusBuilder::install_recorder)
                .expect("buckets are not empty and no other recorder is installed");
            tls::describe_metrics();
            Metrics(handle)
        })
        .clone()
}

/// Creates a counter at 0, so that an alert on its increase sees the first event too.
pub fn counter(name: &'static str, help: &'static str) {
    metrics::describe_counter!(name, help);
    metrics::counter!(name).increment(0);
}

/// Creates a counter with one label at 0, for each of the values that are known beforehand.
pub fn counter_by<'a>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = &'a str>,
) {
    metrics::describe_counter!(name, help);
    for value in values {
        metrics::counter!(name, label => value.to_owned()).increment(0);
    }
}

/// Creates a gauge at 0.
pub fn gauge(name: &'static str, help: &'static str) {
    metrics::describe_gauge!(name, help);
    metrics::gauge!(name).increment(0.0);
}

/// Creates an empty histogram.
pub fn histogram(name: &'static str, help: &'static str) {
    metrics::describe_histogram!(name, help);
    let _ = metrics::histogram!(name);
}

/// The condition of a process, which its probes report.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Healthy,
    /// The process serves, but a person should look.
    Degraded(String),
    /// The process does not serve.
    Unhealthy(String),
}

/// The state that the probes report. Clones are the same state. It begins as "starting", which is
/// not healthy.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Condition>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Condition::Unhealthy("starting".into()))))
    }
}

impl Health {
    /// Reports that all is well.
    pub fn set_healthy(&self) {
        *self.0.lock() = Condition::Healthy;
    }

    /// Reports a problem while the process serves; `/readyz` goes on succeeding. The reason is
    /// public: the monitoring port shows it to every client.
    pub fn set_degraded(&self, reason: impl Into<String>) {
        *self.0.lock() = Condition::Degraded(reason.into());
    }

    /// Reports that the process serves, with all of these problems if there are any.
    pub fn set_serving(&self, problems: impl IntoIterator<Item = String>) {
        let problems: Vec<String> = problems.into_iter().collect();
        if problems.is_empty() { self.set_healthy() } else { self.set_degraded(problems.join("; ")) }
    }

    /// Reports that the process does not serve. The reason is public: the monitoring port shows it
    /// to every client.
    pub fn set_unhealthy(&self, reason: impl Into<String>) {
        *self.0.lock() = Condition::Unhealthy(reason.into());
    }

    /// The reason why the process is not healthy, if it is not.
    pub fn problem(&self) -> Option<String> {
        match &*self.0.lock() {
            Condition::Healthy => None,
            Condition::Degraded(reason) | Condition::Unhealthy(reason) => Some(reason.clone()),
        }
    }

    /// The reason why the process does not serve, if it does not.
    pub fn unready(&self) -> Option<String> {
        match &*self.0.lock() {
            Condition::Healthy | Condition::Degraded(_) => None,
            Condition::Unhealthy(reason) => Some(reason.clone()),
        }
    }
}

impl axum::serve::Listener for Incoming {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        let stream = poll_fn(|context| self.poll_accept(context)).await;
        let peer = stream.peer();
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

fn limits() -> ListenerLimits {
    ListenerLimits {
        connections: CONNECTIONS,
        connections_per_client: CONNECTIONS_PER_CLIENT,
        handshake_timeout: Period(CONNECTION_AGE_MAX),
        write_timeout: Period(CONNECTION_AGE_MAX),
        ..ListenerLimits::default()
    }
}

/// Builds the answer of a probe.
fn probe(problem: Option<String>) -> Response {
    match problem {
        None => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response(),
    }
}

/// Closes the connection after one request, so that all connections have the same short life.
async fn close_after(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The monitoring port of a process. It answers from the start, even while the process waits for L1
/// or for another process to end.
#[derive(Debug)]
pub struct Monitor {
    address: SocketAddr,
    health: Health,
    stop: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

impl Monitor {
    /// Binds the port and serves it, if the configuration has one.
    pub async fn bind(config: Option<&MetricsConfig>) -> io::Result<Option<Self>> {
        match config {
            Some(config) => Ok(Some(Self::start(TcpListener::bind(config.listen).await?)?)),
            None => Ok(None),
        }
    }

    /// Serves the port from now on.
    pub fn start(listener: TcpListener) -> io::Result<Self> {
        let (health, stop) = (Health::default(), CancellationToken::new());
        let address = listener.local_addr()?;
        let server = tokio::spawn(serve(listener, metrics(), health.clone(), stop.clone()));
        Ok(Self { address, health, stop, server })
    }

    /// The address on which it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The state that its probes report.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Runs until `stop` is cancelled or the server fails.
    pub async fn run(mut self, stop: CancellationToken) {
        let ended = tokio::select! {
            ended = &mut self.server => ended,
            () = stop.cancelled() => {
                self.stop.cancel();
                (&mut self.server).await
            }
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the monitoring port failed"),
            Err(lost) => tracing::error!(error = panic_message(lost), "the monitoring port failed"),
        }
    }
}

/// Serves all paths until `stop` is cancelled.
fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send {
    let page = metrics.clone();
    let ready = health.clone();
    let router = Router::new()
        .route(
            "/metrics",
            get(move || async move {
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.render())
            }),
        )
        .route("/livez", get(|| async { probe(None) }))
        .route("/readyz", get(move || async move { probe(ready.unready()) }))
        .route("/healthz", get(move || async move { probe(health.problem()) }))
        .layer(axum::middleware::map_response(close_after));
    let port = Port::new("metrics", &[], &limits(), CallTimes::default(), stop.clone());
    let incoming = Incoming::new(listener, &port).with_age_max(CONNECTION_AGE_MAX);
    async move {
        let stopped = stop.clone();
        let server =
            axum::serve(incoming, router).with_graceful_shutdown(async move { stopped.cancelled().await });
        let upkeep = async {
            let mut ticks = tokio::time::interval(UPKEEP);
            loop {
                ticks.tick().await;
                metrics.run_upkeep();
            }
        };
        tokio::select! {
            result = server.into_future() => result,
            () = upkeep => Ok(()),
            // A scraper that keeps its connection open must not keep the process running.
            () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(1)).await } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_served_until_stopped() {
        let monitor = Monitor::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let (address, health) = (monitor.address(), monitor.health().clone());
        let stop = CancellationToken::new();
        let server = tokio::spawn(monitor.run(stop.clone()));

        let probes = async || {
            let mut codes = Vec::new();
            for path in ["/livez", "/readyz", "/healthz"] {
                codes.push(fetch(address, path).await[9..12].parse::<u16>().unwrap());
            }
            codes
        };
        assert_eq!(probes().await, [200, 503, 503], "starting");
        health.set_healthy();
        assert_eq!(probes().await, [200, 200, 200]);
        health.set_degraded("L1 is 40 blocks behind");
        assert_eq!(probes().await, [200, 200, 503]);
        assert!(fetch(address, "/healthz").await.ends_with("L1 is 40 blocks behind\n"));
        health.set_serving(["L1 lies".to_owned(), "a batch waits".to_owned()]);
        assert_eq!(probes().await, [200, 200, 503]);
        assert!(fetch(address, "/healthz").await.ends_with("L1 lies; a batch waits\n"));
        health.set_serving(None);
        assert_eq!(probes().await, [200, 200, 200]);
        health.set_unhealthy("the store does not answer");
        assert_eq!(probes().await, [200, 503, 503]);
        assert!(fetch(address, "/readyz").await.ends_with("the store does not answer\n"));

        metrics::counter!("dac_test_total").increment(3);
        metrics::histogram!("dac_test_seconds").record(0.3);
        let page = fetch(address, "/metrics").await;
        assert!(page.contains("dac_test_total 3"), "{page}");
        assert!(page.contains("dac_test_seconds_bucket{le=\"0.5\"} 1"), "{page}");
        assert!(fetch(address, "/else").await.starts_with("HTTP/1.1 404"));

        // Idle connections do not keep others out, and a connection with a request gets one answer.
        let mut idle = Vec::new();
        for _ in 0..4 * CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        kept.read_to_string(&mut answer).await.unwrap();
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");

        // A client that stays connected does not keep the port running.
        let _idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        server.await.unwrap();
    }
}
