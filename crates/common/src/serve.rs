//! The accept loop of lesson 1, with a limit on connections and a graceful shutdown.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::connection::{Connection, Connections};
use crate::error::{CannotStart, Error};
use crate::guard::open_files;
use crate::listen::{Listener, listen};
use crate::log::say;
use crate::stop::{Hangup, Signals};
use crate::{Reply, Request, http1};

/// How long connections are still accepted once the server is to stop. Closing the listener at
/// once would reset those that the kernel has accepted already and that we have not seen yet.
pub const LAST_ACCEPTS: Duration = Duration::from_millis(20);

/// Serves HTTP/1.1 with `handle` until SIGINT or SIGTERM; then finishes what is in flight and
/// ends the process with status 0.
///
/// `http.createServer(handle).listen(port)` in Node, but for the limits.
///
/// # Errors
/// The server cannot start: see [`listen`].
pub async fn serve<H, F>(port: u16, handle: H) -> Result<(), CannotStart>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let signals = Signals::catch(Hangup::Stops)?;
    let listener = listen(port).await?;
    let limit = open_files::limit();
    let connections = Connections::new(limit, signals.stop, listener.loopback);
    say(listener.first_line("http"));
    accept_loop(listener, connections.clone(), move |stream, connection| {
        http1(stream, connection, handle.clone())
    })
    .await;
    connections.finish().await;
    // Not by returning from `main`: the runtime would wait for blocking calls that hang.
    std::process::exit(0);
}

/// Accepts connections and gives each to a task of its own, which does `connect` with it. When
/// the server is to stop, all connections are told first; then the listener is closed.
pub async fn accept_loop<C, F>(
    listener: Listener,
    connections: Arc<Connections>,
    connect: C,
) where
    C: Fn(TcpStream, Arc<Connection>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut closing = pin!(async {
        connections.stop.cancelled().await;
        sleep(LAST_ACCEPTS).await;
    });
    loop {
        let next = async { (connections.place().await, listener.next().await) };
        let (place, stream) = tokio::select! {
            biased;
            () = closing.as_mut() => return,
            next = next => next,
        };
        tokio::spawn(connect(stream, connections.open(place)));
    }
}
