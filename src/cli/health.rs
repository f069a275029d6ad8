//! `roster health`: is the service beside us alive?
//!
//! For images that have no shell and no curl. Only the address matters, so the rest of the configuration is
//! not looked at, and plain TCP is enough: no TLS, no proxy of the environment can stand in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Failure;
use crate::config::{self, Flags};

const PATIENCE: Duration = Duration::from_secs(3);

/// Succeeds when `/healthz` answers 200.
pub async fn run(flags: &Flags) -> Result<(), Failure> {
    let config = config::values(flags).keep(&["ROSTER_LISTEN", "PORT"]).check()?;
    let address = reachable(config.listen);
    let answer = tokio::time::timeout(PATIENCE, ask(address)).await;
    let answer = answer.unwrap_or_else(|_| bail!("no answer within {PATIENCE:?}"));
    Ok(answer.with_context(|| format!("{address} is not healthy"))?)
}

/// A listener on every address is asked over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if &start != b"HTTP/1.1 200" {
        bail!("the answer is not 200");
    }
    Ok(())
}
