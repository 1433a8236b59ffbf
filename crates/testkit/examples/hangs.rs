//! A server for `tests/slow/main.rs`: every request makes a blocking call that never returns, as a
//! file on a network drive that is gone would.

use common::error::CannotStart;
use common::log::say;
use common::reply;
use hyper::StatusCode;

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    common::serve(0, |_| async {
        let hangs = tokio::task::spawn_blocking(|| {
            say("waiting");
            loop {
                std::thread::park();
            }
        });
        hangs.await.map_err(std::io::Error::other)?;
        Ok(reply::text(StatusCode::OK, "never"))
    })
    .await
}
