//! Where there is no Unix: no socket can be handed from one process to another, so there are
//! no workers, and the master says so.

/// A master that cannot start.
pub mod master {
    use std::process::ExitCode;

    use common::CannotStart;

    use crate::Settings;

    /// # Errors
    /// Always.
    pub async fn run(_port: u16, _settings: &Settings) -> Result<ExitCode, CannotStart> {
        Err(CannotStart(
            "이 서버는 Unix(Linux, macOS, WSL)에서만 실행됩니다. \
             WSL에서 실행: wsl cargo run -p cluster"
                .into(),
        ))
    }
}

/// Workers that there never are.
pub mod worker {
    use std::convert::Infallible;
    use std::process::ExitCode;
    use std::sync::Arc;
    use std::time::Duration;

    use common::CannotStart;
    use common::connection::Seat;
    use tokio::net::TcpStream;

    /// A worker.
    pub struct Worker(Infallible);

    /// What a worker tells its master.
    pub struct ToMaster(Infallible);

    impl Worker {
        /// # Errors
        /// Never.
        pub async fn inherited() -> Result<Option<Self>, CannotStart> {
            Ok(None)
        }

        /// See the other one.
        pub fn to_master(&self) -> Arc<ToMaster> {
            match self.0 {}
        }

        /// # Errors
        /// Never.
        pub async fn run<C, F>(self, _connect: C) -> Result<ExitCode, CannotStart>
        where
            C: Fn(TcpStream, Arc<Seat>) -> F,
            F: Future<Output = ()> + Send + 'static,
        {
            match self.0 {}
        }
    }

    impl ToMaster {
        /// See the other one.
        pub fn count(&self) {
            match self.0 {}
        }

        /// See the other one.
        pub fn crash_after(self: &Arc<Self>, _delay: Duration) {
            match self.0 {}
        }

        /// See the other one.
        pub async fn status(&self) -> Option<String> {
            match self.0 {}
        }

        /// See the other one.
        pub fn crash(&self, _pid: u32) {
            match self.0 {}
        }
    }
}
