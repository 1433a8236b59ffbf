//! What all clients of a server may have under way together. A test binary of its own: the limit
//! is one for the whole process.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use common::connection::Connections;
use common::guard::ON_REFUSAL;
use common::{Error, Reply, Request, reply};
use http2::http2;
use hyper::StatusCode;
use testkit::h2::{ACK, END_STREAM, Frame, HEADERS, PREFACE, SETTINGS, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

async fn handle(request: Request) -> Result<Reply, Error> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_secs(5)).await;
    }
    Ok(reply::text(StatusCode::OK, "ok"))
}

/// A client asks for `count` slow answers at once. How many were answered, as indices of the
/// static table of RFC 7541: 0x88 is 200, and 503 has none.
async fn ask(connections: &std::sync::Arc<Connections>, count: u32) -> (u32, u32) {
    let (mut client, server) = duplex(1 << 20);
    let connection = connections.open(connections.try_place().expect("a place"));
    tokio::spawn(http2(server, connection, handle));
    let mut all = PREFACE.to_vec();
    all.extend(Frame::bytes(SETTINGS, ACK, 0, &[]));
    (0..count).for_each(|n| all.extend(request(2 * n + 1, "GET", "/slow")));
    client.write_all(&all).await.expect("a server that reads");
    let (mut good, mut refused, mut ended) = (0, 0, 0);
    let mut unread = Vec::new();
    while ended < count {
        while let Some(frame) = Frame::take(&mut unread) {
            match (frame.kind, frame.payload.first()) {
                (HEADERS, Some(0x88)) => good += 1,
                (HEADERS, _) => refused += 1,
                _ => {}
            }
            ended += u32::from(frame.flags & END_STREAM != 0 && frame.stream > 0);
        }
        if ended < count {
            let read = client.read_buf(&mut unread).await.expect("answers");
            assert!(read > 0, "the end, after {ended} of {count} answers");
        }
    }
    (good, refused)
}

#[tokio::test(start_paused = true)]
async fn requests_over_the_limit_of_all_clients_are_503_and_the_rest_is_answered() {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let _ = ON_REFUSAL.set(|_, _, status| {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        TOLD.fetch_add(1, Relaxed);
    });
    let connections = Connections::new(100, CancellationToken::new(), true);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let connections = connections.clone();
            tokio::spawn(async move { ask(&connections, 250).await })
        })
        .collect();
    let (mut good, mut refused) = (0, 0);
    for client in clients {
        let (one, other) = client.await.expect("a client");
        (good, refused) = (good + one, refused + other);
    }
    assert_eq!((good, refused), (4000, 1000));
    assert_eq!(TOLD.load(Relaxed), refused, "an access log hears of each");
    assert_eq!(ask(&connections, 250).await, (250, 0), "and all is well again");
}
