//! The tasks that wait, so that the master does not: one for each worker, and one for signals.

use std::process::ExitStatus;
use std::time::Duration;

use common::log::warn;
use common::stop::Signals;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use crate::channel::Receiver;
use crate::message::ToMaster;

/// How long a worker may live on without its channel.
const WITHOUT_CHANNEL: Duration = Duration::from_secs(1);

/// What the tasks that wait for workers and for signals report.
pub enum News {
    Says(u32, ToMaster),
    Ended(u32, ExitStatus),
    Hangup,
    Stop,
    StopAtOnce,
}

/// Listens to one worker until its end.
pub async fn report(
    pid: u32,
    mut child: Child,
    mut receiver: Receiver,
    reporter: UnboundedSender<News>,
) {
    loop {
        match receiver.receive().await {
            Ok(Some(message)) => _ = reporter.send(News::Says(pid, message)),
            Ok(None) => break,
            Err(error) => {
                warn(format_args!("worker {pid} → master: {error}"));
                break;
            }
        }
    }
    // The end of its channel is the end of a worker; what goes on without it is none.
    if timeout(WITHOUT_CHANNEL, child.wait()).await.is_err() {
        let _ = child.start_kill();
    }
    let _ = reporter.send(News::Ended(pid, child.wait().await.unwrap_or_default()));
}

/// Waits for signals.
pub async fn report_signals(signals: Signals, reporter: UnboundedSender<News>) {
    while !signals.stop.is_cancelled() {
        let news = tokio::select! {
            () = signals.stop.cancelled() => News::Stop,
            () = signals.hangup.notified() => News::Hangup,
        };
        let _ = reporter.send(news);
    }
    signals.at_once.cancelled().await;
    let _ = reporter.send(News::StopAtOnce);
}
