//! `WIRE=1`: every exchange as it goes over the wire, both ways, decrypted, on standard error.

use std::sync::OnceLock;

use crate::log::{Escaped, warn};

/// Shows the bytes of one connection.
pub struct Wire {
    connection: u64,
}

impl Wire {
    /// Something only with `WIRE=1` in the environment.
    pub fn from_env(connection: u64) -> Option<Self> {
        static ON: OnceLock<bool> = OnceLock::new();
        let on =
            ON.get_or_init(|| std::env::var_os("WIRE").is_some_and(|value| value == "1"));
        on.then_some(Self { connection })
    }

    /// Bytes that the client sent: lines with `>`.
    pub fn received(&mut self, bytes: &[u8]) {
        self.show('>', bytes);
    }

    /// Bytes that the client has been sent: lines with `<`.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.show('<', bytes);
    }

    /// A line for each line on the wire. What is not text (a picture, an HTTP/2 frame) is
    /// shown as `\x1f`; line ends are shown too, for they are half of HTTP/1.
    fn show(&self, direction: char, bytes: &[u8]) {
        let mut lines = String::new();
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let mut shown = String::new();
            for chunk in line.utf8_chunks() {
                shown += &Escaped(chunk.valid()).to_string();
                chunk.invalid().iter().for_each(|b| shown += &format!("\\x{b:02x}"));
            }
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines += &format!("#{} {direction} {shown}", self.connection);
        }
        warn(lines);
    }
}
