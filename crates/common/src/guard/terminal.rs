//! A terminal that is closed leaves its servers behind, unless they hear of it (SIGHUP).
#![cfg(unix)]

use std::io::{IsTerminal, stderr, stdin, stdout};

/// A terminal that was closed is no terminal any more.
pub fn is_there() -> bool {
    stdin().is_terminal() || stdout().is_terminal() || stderr().is_terminal()
}

/// Under `nohup` SIGHUP is ignored: its bit is set in the mask of proc(5), where there is one.
pub fn is_nohup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.unwrap_or_default().trim(), 16)
        .is_ok_and(|mask| mask & 1 == 1)
}
