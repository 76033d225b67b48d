//! HTTP: `/healthz` (the process lives), `/readyz` (reads are served; what has failed), `/metrics` (Prometheus text). Nothing else.
//!
//! On loopback the `Host` header must name loopback too: a web page that rebinds its own name to 127.0.0.1 gets
//! nothing.

mod metrics;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::interrupt::stopped;
use crate::limits::HTTP_BODY_BYTES_MAX;

/// Serves until the server stops.
pub async fn serve<B: Backend>(listener: TcpListener, backend: B, mut stopping: watch::Receiver<bool>) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready::<B>))
        .route("/metrics", get(render_metrics::<B>))
        .with_state(backend)
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(from_fn_with_state(loopback, check_host));
    // Requests are answered in milliseconds: stopping need not wait for idle keep-alive connections.
    tokio::select! {
        () = stopped(&mut stopping) => {}
        served = axum::serve(listener, router) => {
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP server stopped");
            }
        }
    }
}

async fn ready<B: Backend>(State(backend): State<B>) -> Response {
    match backend.ready() {
        true => readiness(&backend.degraded()).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}

/// Reads are served, so the answer is 200 whatever has failed: a balancer that took the server out would take away what
/// still works. The first line tells the two apart, the others say why.
fn readiness(degraded: &[String]) -> String {
    if degraded.is_empty() {
        return "ready\n".into();
    }
    let lines = degraded.iter().map(|line| line.replace('\n', " ") + "\n");
    "degraded\n".to_string() + &lines.collect::<String>()
}

async fn render_metrics<B: Backend>(State(backend): State<B>) -> Response {
    let content_type = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (content_type, metrics::render(backend.metrics())).into_response()
}

async fn check_host(State(loopback): State<bool>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if loopback && !is_loopback(host) {
        return (StatusCode::FORBIDDEN, "this server answers only to localhost\n").into_response();
    }
    next.run(request).await
}

/// `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
