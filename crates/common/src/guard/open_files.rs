//! How many connections there may be. Each is an open file, and a process may have only so many.

/// Connections at once where files suffice: 16 KiB of head for each are 64 MiB.
const MAX_CONNECTIONS: u32 = 4000;

/// Files that are left to everything else: listeners, pages that are being read, Redis.
const SPARE: u32 = 32;

/// The limit of connections at once. Raises the soft limit of open files to the hard one first,
/// as Go's runtime does: the soft one, often 1,024, is for programs that use `select(2)`.
#[cfg(unix)]
pub fn limit() -> u32 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return MAX_CONNECTIONS;
    };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let files = if raised { hard } else { soft };
    let files = u32::try_from(files).unwrap_or(u32::MAX);
    files.saturating_sub(SPARE).clamp(8, MAX_CONNECTIONS)
}

/// The limit of connections at once.
#[cfg(not(unix))]
pub fn limit() -> u32 {
    MAX_CONNECTIONS
}
