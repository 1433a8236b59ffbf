//! The channel between master and worker, fed with what no good master and no good worker says.
#![cfg(unix)]

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use cluster::channel::{self, MAX_MESSAGE, Receiver};
use cluster::message::{ToMaster, ToWorker};
use proptest::prelude::*;

/// Runs a test with the end of a channel that receives, and the bare socket at its other end.
fn with_channel<F: Future<Output = ()>>(test: impl FnOnce(Receiver, UnixStream) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (here, there) = UnixStream::pair().expect("a pair of sockets");
        test(channel::open(here).expect("a channel").1, there).await;
    });
}

fn any_message() -> impl Strategy<Value = ToMaster> {
    prop_oneof![
        Just(ToMaster::Ready),
        Just(ToMaster::Refused),
        Just(ToMaster::Leaving),
        Just(ToMaster::Told),
        Just(ToMaster::Status),
        any::<usize>().prop_map(ToMaster::Took),
        any::<u64>().prop_map(ToMaster::Requests),
        any::<u32>().prop_map(ToMaster::Crash),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_messages_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        with_channel(|mut receiver, mut socket| async move {
            socket.write_all(&bytes).expect("room for them");
            drop(socket);
            for _ in 0..=bytes.len() {
                match receiver.receive::<ToMaster>().await {
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => return,
                }
            }
            panic!("more messages than bytes");
        });
    }

    #[test]
    fn messages_may_come_in_pieces(
        messages in prop::collection::vec(any_message(), 1..20),
        pieces in prop::collection::vec(1..40usize, 1..20),
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            serde_json::to_writer(&mut bytes, message).expect("JSON");
            bytes.push(b'\n');
        }
        with_channel(|mut receiver, mut socket| async move {
            let writing = std::thread::spawn(move || {
                let mut rest = &bytes[..];
                for length in pieces.iter().cycle() {
                    let (piece, more) = rest.split_at(rest.len().min(*length));
                    socket.write_all(piece).expect("room");
                    rest = more;
                    if rest.is_empty() {
                        return;
                    }
                }
            });
            for message in messages {
                assert_eq!(receiver.receive().await.expect("a message"), Some(message));
            }
            assert_eq!(receiver.receive::<ToMaster>().await.expect("the end"), None);
            writing.join().expect("all written");
        });
    }
}

#[test]
fn a_message_without_end_is_an_error() {
    with_channel(|mut receiver, mut socket| async move {
        let writing = std::thread::spawn(move || {
            let _ = socket.write_all(&vec![b'x'; 2 * MAX_MESSAGE]);
        });
        let error = receiver.receive::<ToMaster>().await.expect_err("too long");
        assert!(error.to_string().contains("64 KiB"), "{error}");
        drop(receiver);
        writing.join().expect("the end of the other side");
    });
}

#[test]
fn descriptors_stay_with_their_messages() {
    with_channel(|mut receiver, socket| async move {
        let (sender, _) = channel::open(socket).expect("a channel");
        let files: Vec<UnixStream> =
            (0..20).map(|_| UnixStream::pair().expect("a pair").0).collect();
        for file in &files {
            sender.send(&ToWorker::Crash, None).expect("room");
            sender.send(&ToWorker::Connection, Some(file.as_fd())).expect("room");
        }
        for file in &files {
            assert_eq!(receiver.receive().await.expect("one"), Some(ToWorker::Crash));
            assert_eq!(
                receiver.receive().await.expect("two"),
                Some(ToWorker::Connection)
            );
            let received = receiver.take_fd().expect("its descriptor");
            let same = |fd: &dyn AsFd| channel::identity(fd.as_fd()).expect("fstat");
            assert_eq!(same(&received), same(file));
        }
        assert!(receiver.take_fd().is_none());
    });
}

/// A channel that takes no more breaks off: a half message would make nonsense of the next one.
#[test]
fn a_side_that_reads_nothing_costs_nobody_a_wait() {
    with_channel(|_receiver, socket| async move {
        let (sender, _) = channel::open(socket).expect("a channel");
        let long = ToWorker::Status("x".repeat(1000));
        let sent = (0..10_000).take_while(|_| sender.send(&long, None).is_ok()).count();
        assert!((10..10_000).contains(&sent), "{sent} messages of 1,000 bytes");
    });
}
