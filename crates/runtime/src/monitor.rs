//! The monitoring port: `/metrics` for Prometheus and `/healthz` for whoever restarts processes.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often counters are swept into histograms when nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);
/// Buckets of every histogram named `…_seconds`.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Buckets of every histogram named `…_bytes`.
const BYTES: &[f64] = &[4096.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Collects the process's metrics from now on: `metrics::counter!` and its like. Calling it again returns the same.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
                .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".into()), BYTES))
                .and_then(PrometheusBuilder::install_recorder)
                .expect("buckets are not empty and no other recorder is installed")
        })
        .clone()
}

/// What `/healthz` says. Clones are the same; it starts as "starting", which is not healthy.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some("starting".into()))))
    }
}

impl Health {
    /// All is well.
    pub fn set_healthy(&self) {
        *self.0.lock() = None;
    }

    /// Something is not; anybody may read the reason.
    pub fn set_unhealthy(&self, reason: impl Into<String>) {
        *self.0.lock() = Some(reason.into());
    }

    /// The reason, where it is unhealthy.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// Serves both until `stop` is cancelled.
pub fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send {
    let page = metrics.clone();
    let router = Router::new()
        .route(
            "/metrics",
            get(move || async move {
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.render())
            }),
        )
        .route(
            "/healthz",
            get(move || async move {
                match health.problem() {
                    None => (StatusCode::OK, "ok\n".to_owned()).into_response(),
                    Some(problem) => {
                        (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response()
                    }
                }
            }),
        );
    async move {
        let stopped = stop.clone();
        let server =
            axum::serve(listener, router).with_graceful_shutdown(async move { stopped.cancelled().await });
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
            // A scraper that keeps its connection open must not keep the process up.
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, stop) = (Health::default(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, metrics(), health.clone(), stop.clone()));

        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 503"));
        health.set_healthy();
        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        health.set_unhealthy("L1 is 40 blocks behind");
        assert!(fetch(address, "/healthz").await.ends_with("L1 is 40 blocks behind\n"));

        metrics::counter!("dac_test_total").increment(3);
        metrics::histogram!("dac_test_seconds").record(0.3);
        let page = fetch(address, "/metrics").await;
        assert!(page.contains("dac_test_total 3"), "{page}");
        assert!(page.contains("dac_test_seconds_bucket{le=\"0.5\"} 1"), "{page}");
        assert!(fetch(address, "/else").await.starts_with("HTTP/1.1 404"));

        // A client that stays connected does not keep it up.
        let _idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
