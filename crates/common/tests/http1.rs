//! One connection over a pipe in memory, on a clock that the tests turn themselves: half a
//! minute of silence takes no time here, and only here.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use bytes::Bytes;
use common::connection::Connections;
use common::{Error, Reply, Request, body, http1, reply};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A page that fits into no buffer on the way.
const LARGE: usize = 1 << 20;

async fn handle(request: Request) -> Result<Reply, Error> {
    match request.uri().path() {
        "/panic" => panic!("on purpose"),
        "/later" => {
            tokio::task::yield_now().await;
            panic!("on purpose, later")
        }
        "/large" => Ok(reply::html(Bytes::from(vec![b'x'; LARGE]))),
        "/slow" => {
            sleep(Duration::from_secs(5)).await;
            Ok(reply::text(StatusCode::OK, "slow"))
        }
        "/body" => body::read(request).await.map(|b| reply::text(StatusCode::OK, b)),
        _ => Ok(reply::text(StatusCode::OK, "ok")),
    }
}

/// A client's end of a connection that is being served.
struct Open {
    client: DuplexStream,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

fn open() -> Open {
    let (client, server) = duplex(1024);
    let stop = CancellationToken::new();
    let connections = Connections::new(1, stop.clone(), true);
    let connection = connections.open(connections.try_place().expect("a place"));
    let served = tokio::spawn(http1(server, connection, handle));
    Open { client, stop, served }
}

impl Open {
    async fn get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.client.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until this text has come.
    async fn read_until(&mut self, part: &str) -> String {
        let mut text = String::new();
        while !text.contains(part) {
            let mut buffer = [0; 1024];
            let n = self.client.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the end came before {part:?}: {text}");
            text += std::str::from_utf8(&buffer[..n]).unwrap();
        }
        text
    }

    /// Reads to the end, and how long it took on the tests' clock, in seconds.
    async fn read_to_end(&mut self) -> (String, u64) {
        let start = Instant::now();
        let mut bytes = Vec::new();
        let read = self.client.read_to_end(&mut bytes);
        timeout(Duration::from_secs(300), read).await.expect("the end").unwrap();
        (String::from_utf8(bytes).unwrap(), start.elapsed().as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_500_to_its_own_client_and_the_connection_goes_on() {
    let mut open = open();
    for path in ["/panic", "/later"] {
        open.get(path).await;
        let head = open.read_until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length = length.split('\r').next().unwrap().parse::<usize>().unwrap();
        let (_, body) = head.split_once("\r\n\r\n").unwrap();
        let mut rest = vec![0; length - body.len()];
        open.client.read_exact(&mut rest).await.unwrap();
        let body = body.to_owned() + std::str::from_utf8(&rest).unwrap();
        assert!(!body.contains("on purpose"), "{body}");
    }
    open.get("/").await;
    assert!(open.read_until("ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_closed_after_10_s() {
    let mut open = open();
    assert_eq!(open.read_to_end().await, (String::new(), 10));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_idles_is_closed_after_10_s() {
    let mut open = open();
    sleep(Duration::from_secs(6)).await;
    open.get("/").await;
    open.read_until("ok").await;
    assert_eq!(open.read_to_end().await, (String::new(), 10));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_take_longer_than_a_client() {
    let mut open = open();
    open.get("/slow").await;
    open.read_until("slow").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_more_still_gets_its_answer() {
    let mut open = open();
    open.get("/slow").await;
    open.client.shutdown().await.unwrap();
    assert!(open.read_to_end().await.0.ends_with("slow"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_closed_after_30_s() {
    let mut open = open();
    open.get("/large").await;
    let start = Instant::now();
    timeout(Duration::from_secs(300), &mut open.served).await.expect("the end").unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let mut open = open();
    open.get("/large").await;
    let mut taken = 0;
    let mut buffer = vec![0; LARGE / 10];
    while taken < LARGE {
        sleep(Duration::from_secs(20)).await;
        taken += timeout(Duration::from_secs(1), open.client.read(&mut buffer))
            .await
            .expect("something to take")
            .unwrap();
        for _ in 0..LARGE / 10 / 1024 {
            taken += open.client.read(&mut buffer).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408_after_30_s_and_the_end() {
    let mut open = open();
    let head = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
    open.client.write_all(head).await.unwrap();
    let start = Instant::now();
    for _ in 0..5 {
        sleep(Duration::from_secs(5)).await;
        open.client.write_all(b"x").await.unwrap();
    }
    let answer = open.read_until("30").await;
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    open.read_to_end().await;
}

#[tokio::test(start_paused = true)]
async fn chunks_over_the_limit_are_413_and_broken_ones_400_and_both_are_the_end() {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for (chunks, status) in [
        (chunk.repeat(16) + "0\r\n\r\n", "200"),
        (chunk.repeat(17) + "0\r\n\r\n", "413"),
        ("zz\r\n".to_owned(), "400"),
        ("1\r\nab\r\n".to_owned(), "400"),
    ] {
        let mut open = open();
        let head = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (mut read, mut write) = tokio::io::split(open.client);
        let sending = tokio::spawn(async move {
            let _ = write.write_all((head.to_owned() + &chunks).as_bytes()).await;
            write
        });
        let mut answer = Vec::new();
        timeout(Duration::from_secs(300), read.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:.200}");
        assert!(answer.contains("connection: close"), "{answer:.200}");
        drop(sending.await.unwrap());
        timeout(Duration::from_secs(300), &mut open.served)
            .await
            .expect("the end")
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_a_silent_client_have_a_second() {
    let mut silent = open();
    let mut late = open();
    sleep(Duration::from_millis(1)).await;
    silent.stop.cancel();
    late.stop.cancel();
    sleep(Duration::from_millis(900)).await;
    late.get("/").await;
    assert!(late.read_to_end().await.0.contains("connection: close"));
    assert_eq!(silent.read_to_end().await, (String::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_begun_requests_and_answers_be_finished() {
    let mut running = open();
    running.get("/slow").await;
    let mut half = open();
    half.get("/").await;
    half.read_until("ok").await;
    half.client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut large = open();
    large.get("/large").await;
    let mut idle = open();
    idle.get("/").await;
    idle.read_until("ok").await;
    sleep(Duration::from_millis(1)).await;
    for open in [&running, &half, &large, &idle] {
        open.stop.cancel();
    }
    assert_eq!(idle.read_to_end().await, (String::new(), 0));
    sleep(Duration::from_secs(3)).await;
    half.client.write_all(b"st: a\r\n\r\n").await.unwrap();
    assert!(half.read_to_end().await.0.contains("connection: close"));
    assert!(running.read_to_end().await.0.ends_with("slow"));
    assert!(large.read_to_end().await.0.len() > LARGE);
}
