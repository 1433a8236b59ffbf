//! One HTTP/2 connection over a pipe in memory, by hand-made frames, on a clock that the tests
//! turn themselves.

use std::time::Duration;

use bytes::Bytes;
use common::connection::Connections;
use common::{Error, Reply, Request, body, reply};
use http2::http2;
use hyper::StatusCode;
use testkit::h2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, HEADERS,
    PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

async fn handle(request: Request) -> Result<Reply, Error> {
    match request.uri().path() {
        "/panic" => panic!("on purpose"),
        "/large" => Ok(reply::html(Bytes::from(vec![b'x'; 1 << 20]))),
        "/slow" => {
            sleep(Duration::from_secs(5)).await;
            Ok(reply::text(StatusCode::OK, "slow"))
        }
        "/endless" => {
            sleep(Duration::from_secs(1000)).await;
            Ok(reply::text(StatusCode::OK, "late"))
        }
        "/body" => body::read(request).await.map(|b| reply::text(StatusCode::OK, b)),
        "/cookies" => {
            let cookies = request.headers().get_all("cookie").iter();
            let all: Vec<_> = cookies.map(|c| c.to_str().unwrap_or("?")).collect();
            Ok(reply::text(StatusCode::OK, all.join("|")))
        }
        _ => Ok(reply::text(StatusCode::OK, "ok")),
    }
}

/// A client's end of a connection that is being served.
struct Open {
    client: DuplexStream,
    stop: CancellationToken,
    served: JoinHandle<()>,
    unread: Vec<u8>,
    /// Answers pings.
    alive: bool,
}

/// A connection whose client has said nothing.
fn silent() -> Open {
    let (client, server) = duplex(1 << 20);
    let stop = CancellationToken::new();
    let connections = Connections::new(1, stop.clone(), true);
    let connection = connections.open(connections.try_place().expect("a place"));
    let served = tokio::spawn(http2(server, connection, handle));
    Open { client, stop, served, unread: Vec::new(), alive: true }
}

/// A connection whose client has sent its preface.
async fn open() -> Open {
    let mut open = silent();
    open.send(PREFACE).await;
    open
}

impl Open {
    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("a server that listens");
    }

    async fn get(&mut self, stream: u32, path: &str) {
        self.send(&request(stream, "GET", path)).await;
    }

    /// The next frame; nothing at the end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.unread) {
                if frame.kind == PING && frame.flags == 0 && self.alive {
                    let pong = Frame::bytes(PING, ACK, 0, &frame.payload);
                    let _ = self.client.write_all(&pong).await;
                }
                return Some(frame);
            }
            let read = self.client.read_buf(&mut self.unread);
            let read = timeout(Duration::from_secs(300), read).await.expect("the end");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads until the end of this stream: the head's first byte, and the body.
    async fn answer(&mut self, stream: u32) -> (u8, String) {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let frame = self.next().await.expect("an answer before the end");
            assert!(frame.kind != RST_STREAM || frame.stream != stream, "{frame:?}");
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = frame.payload[0],
                DATA => body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 {
                return (status, String::from_utf8(body).expect("UTF-8"));
            }
        }
    }

    /// Reads to the end: all frames, and how long it took on the tests' clock, in seconds.
    async fn end(&mut self) -> (Vec<Frame>, u64) {
        let start = Instant::now();
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
            // A client that answers pings could be kept for ever.
            assert!(start.elapsed() < Duration::from_secs(300), "no end: {frames:?}");
        }
        (frames, start.elapsed().as_secs())
    }

    /// Reads to the end, which a GOAWAY with this error must announce.
    async fn end_with(&mut self, error: u32) -> u64 {
        let (frames, seconds) = self.end().await;
        let errors: Vec<_> = frames.iter().filter_map(Frame::error).collect();
        assert_eq!(errors.last(), Some(&error), "{errors:?}");
        seconds
    }
}

/// `:status: 200` and `500` in the static table (RFC 7541 appendix A).
const OK: u8 = 0x88;
const INTERNAL_SERVER_ERROR: u8 = 0x8e;

#[tokio::test(start_paused = true)]
async fn a_preface_that_does_not_come_is_the_end_after_10_s() {
    assert_eq!(silent().end().await.1, 10);
    let mut half = silent();
    half.send(&PREFACE[..10]).await;
    assert!((10..=11).contains(&half.end().await.1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_nothing_is_sent_away_after_10_s() {
    let mut open = open().await;
    assert_eq!(open.end_with(0).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_idles_is_sent_away_10_s_after_its_last_answer() {
    let mut open = open().await;
    for stream in [1, 3, 5] {
        sleep(Duration::from_secs(7)).await;
        open.get(stream, "/").await;
        assert_eq!(open.answer(stream).await, (OK, "ok".into()));
    }
    sleep(Duration::from_secs(7)).await;
    // HEAD leaves no body to be counted.
    open.send(&request(7, "HEAD", "/")).await;
    assert_eq!(open.answer(7).await, (OK, String::new()));
    assert_eq!(open.end_with(0).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_say_goodbye_gets_a_second_for_it() {
    let mut open = open().await;
    open.alive = false;
    assert_eq!(open.end().await.1, 11);
    open.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_take_longer_than_a_client() {
    let mut open = open().await;
    open.get(1, "/slow").await;
    sleep(Duration::from_secs(4)).await;
    open.get(3, "/slow").await;
    assert_eq!(open.answer(1).await, (OK, "slow".into()));
    assert_eq!(open.answer(3).await, (OK, "slow".into()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_closed() {
    let mut open = open().await;
    open.alive = false;
    open.get(1, "/endless").await;
    let seconds = open.end().await.1;
    assert!((20..=32).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_may_wait_long() {
    let mut open = open().await;
    open.get(1, "/endless").await;
    assert_eq!(open.answer(1).await, (OK, "late".into()));
}

/// SETTINGS_INITIAL_WINDOW_SIZE: how much of each answer may come before we ask for more.
fn window(size: u32) -> Vec<u8> {
    let setting = [&[0, 4], &size.to_be_bytes()[..]].concat();
    Frame::bytes(SETTINGS, 0, 0, &setting)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_closed_after_30_s() {
    // No window at all, one that is used up at once, and the default one.
    for size in [0, 1, 100, 65_535] {
        let mut open = open().await;
        open.send(&window(size)).await;
        open.get(1, "/large").await;
        // It answers pings, and asks for more that it does not take.
        let start = Instant::now();
        sleep(Duration::from_secs(25)).await;
        if matches!(size, 0 | 65_535) {
            open.get(3, "/large").await;
        }
        open.end().await;
        assert_eq!(start.elapsed().as_secs(), 30, "{size}");
        open.served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let mut open = open().await;
    open.get(1, "/large").await;
    let mut taken = 0;
    while taken < 1 << 20 {
        let frame = open.next().await.expect("more");
        if frame.kind != DATA {
            continue;
        }
        taken += frame.payload.len();
        if taken.is_multiple_of(65_535) {
            sleep(Duration::from_secs(20)).await;
            for stream in [0, 1] {
                let more = 65_535_u32.to_be_bytes();
                open.send(&Frame::bytes(WINDOW_UPDATE, 0, stream, &more)).await;
            }
        }
    }
    assert_eq!(open.end_with(0).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_closed() {
    let mut open = open().await;
    open.get(1, "/").await;
    open.answer(1).await;
    open.send(&Frame::bytes(HEADERS, END_STREAM, 3, &block("GET", "/", &[]))).await;
    let start = Instant::now();
    // A field now and then does not help.
    let field = Frame::bytes(CONTINUATION, 0, 3, b"\0\x01x\x01y");
    while open.client.write_all(&field).await.is_ok() {
        sleep(Duration::from_millis(500)).await;
        assert!(start.elapsed().as_secs() < 20);
    }
    open.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rapid_reset_ends_the_connection() {
    let mut open = open().await;
    let mut flood = Vec::new();
    for stream in (1..2000).step_by(2) {
        flood.extend(request(stream, "GET", "/endless"));
        flood.extend(Frame::bytes(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let _ = open.client.write_all(&flood).await;
    assert!(open.end_with(ENHANCE_YOUR_CALM).await <= 1);
    open.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_continuations_ends_the_connection() {
    let mut open = open().await;
    open.send(&Frame::bytes(HEADERS, END_STREAM, 1, &block("GET", "/", &[]))).await;
    // Fields that are worth much more in memory than on the wire.
    let fields = b"\0\x01x\x01y".repeat(3000);
    for _ in 0..20 {
        let _ = open.client.write_all(&Frame::bytes(CONTINUATION, 0, 1, &fields)).await;
    }
    assert!(open.end_with(ENHANCE_YOUR_CALM).await <= 1);
    open.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_streams_than_allowed_are_refused_and_the_rest_is_answered() {
    let mut open = open().await;
    let streams = (1..2 * 300).step_by(2);
    for stream in streams.clone() {
        open.get(stream, "/slow").await;
    }
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < streams.clone().count() {
        let frame = open.next().await.expect("an answer or a refusal");
        answered += usize::from(frame.kind == DATA && frame.flags & END_STREAM != 0);
        refused += usize::from(frame.kind == RST_STREAM);
    }
    assert_eq!((answered, refused), (256, 44));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_500_to_its_own_stream_and_to_no_other() {
    let mut open = open().await;
    open.get(1, "/slow").await;
    open.get(3, "/panic").await;
    let (status, text) = open.answer(3).await;
    assert_eq!(status, INTERNAL_SERVER_ERROR);
    assert!(!text.contains("on purpose"), "{text}");
    assert_eq!(open.answer(1).await, (OK, "slow".into()));
}

#[tokio::test(start_paused = true)]
async fn cookies_may_come_in_several_fields() {
    let mut open = open().await;
    let block = block("GET", "/cookies", &[("cookie", "a=1"), ("cookie", "b=2")]);
    open.send(&Frame::bytes(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
    assert_eq!(open.answer(1).await, (OK, "a=1|b=2".into()));
}

#[tokio::test(start_paused = true)]
async fn a_length_over_the_limit_is_answered_at_once_and_without_a_reset() {
    let mut open = open().await;
    let block = block("POST", "/body", &[("content-length", "65537")]);
    open.send(&Frame::bytes(HEADERS, END_HEADERS, 1, &block)).await;
    let (_, text) = open.answer(1).await;
    assert!(text.contains("65536"), "{text}");
    for left in [16_384, 16_384, 16_384, 16_383, 2_u32] {
        let end = if left == 2 { END_STREAM } else { 0 };
        open.send(&Frame::bytes(DATA, end, 1, &vec![b'x'; left as usize])).await;
    }
    open.get(3, "/").await;
    assert_eq!(open.answer(3).await, (OK, "ok".into()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_streams_finish_and_those_on_their_way_be_answered() {
    let mut open = open().await;
    open.get(1, "/slow").await;
    sleep(Duration::from_millis(1)).await;
    open.stop.cancel();
    sleep(Duration::from_millis(1)).await;
    open.get(3, "/").await;
    assert_eq!(open.answer(3).await, (OK, "ok".into()));
    assert_eq!(open.answer(1).await, (OK, "slow".into()));
    assert_eq!(open.end().await.1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_idle_clients_away_and_serves_those_who_have_just_come() {
    let mut idle = open().await;
    idle.get(1, "/").await;
    idle.answer(1).await;
    idle.stop.cancel();
    assert_eq!(idle.end_with(0).await, 0);
    let mut late = silent();
    late.stop.cancel();
    sleep(Duration::from_millis(900)).await;
    late.send(&[PREFACE, &request(1, "GET", "/")].concat()).await;
    assert_eq!(late.answer(1).await, (OK, "ok".into()));
    assert_eq!(late.end().await.1, 0);
}
