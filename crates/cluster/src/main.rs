//! Lesson 9: one port, as many processes as cores, and a master that replaces those that die.

#[cfg(unix)]
mod handle;
#[cfg(unix)]
mod page;
#[cfg(unix)]
mod visits;

use std::process::ExitCode;

#[cfg(unix)]
use {
    cluster::{Event, Master, Settings, Worker},
    common::error::CannotStart,
    common::log::{say, warn},
};

#[cfg(unix)]
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // What Rust does with an error that `main` returns, but in one `write`: the lines of two
    // workers that cannot start must not mix.
    run().await.unwrap_or_else(|CannotStart(why)| {
        warn(format_args!("Error: {why}"));
        ExitCode::FAILURE
    })
}

#[cfg(unix)]
async fn run() -> Result<ExitCode, CannotStart> {
    let settings = Settings::from_env()?;
    if let Some(worker) = Worker::inherited().await? {
        // else: http.createServer(handle).listen(8086)
        let state = handle::State::new(settings, worker.master())?;
        let connect = move |stream, connection| state.clone().serve(stream, connection);
        // Not by returning from `main`: the runtime would wait for blocking calls that hang.
        std::process::exit(worker.run(connect).await?);
    }
    visits::check_redis().await?;
    let mut master = Master::listen(8086, &settings).await?; // if (cluster.isPrimary)
    say(format_args!("마스터 프로세스 아이디: {}", std::process::id()));
    for slot in 0..settings.workers {
        master.fork(slot); // cluster.fork()
    }
    while let Some(event) = master.event().await {
        match event {
            // cluster.on("online", (worker) => …)
            Event::Online(pid) => say(format_args!("{pid}번 워커 실행")),
            // cluster.on("listening", …)
            Event::Listening(first_line) => say(first_line),
            // cluster.on("message", …): examples/production listens to these
            Event::Report(..) | Event::RollBegins | Event::RollEnds => {}
            // cluster.on("disconnect", …): it serves nobody new, and may not have ended yet
            Event::Disconnect(slot) if settings.respawn => master.fork(slot),
            Event::Disconnect(_) => {}
            // cluster.on("exit", (worker, code, signal) => …)
            Event::Exit(exit) => say(exit),
        }
    }
    Ok(master.exit_code())
}

#[cfg(not(unix))]
fn main() -> Result<(), common::CannotStart> {
    Err(common::CannotStart(common::ko_en!(
        "이 서버는 Unix(Linux, macOS, WSL)에서만 실행됩니다. WSL에서 실행: wsl cargo run -p cluster",
        "This server needs Unix (Linux, macOS, WSL). With WSL: wsl cargo run -p cluster"
    )))
}
