//! Lines for the person at the terminal. `println!` panics when nobody reads its output any
//! more (`cargo run -p cookie | head -1`); a server must not end over that, so these do not.
//! Nor does it wait for whoever reads slowly: see [`in_background`].

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// Bytes that may wait for a terminal to take them. What comes beyond them is left out.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// How long the end of a server waits for them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes one line to standard output and flushes it. A closed output is no error.
pub fn say(line: impl Display) {
    write_or_queue(Output::Standard, format!("{line}\n"));
}

/// Writes one line to standard error. A closed output is no error.
pub fn warn(line: impl Display) {
    write_or_queue(Output::Error, format!("{line}\n"));
}

#[derive(Clone, Copy)]
enum Output {
    Standard,
    Error,
}

/// One `write` a line, so that the lines of several processes never mix.
fn write(output: Output, line: &str) {
    fn all(mut out: impl Write, line: &str) -> io::Result<()> {
        out.write_all(line.as_bytes())?;
        out.flush()
    }
    let _ = match output {
        Output::Standard => all(io::stdout().lock(), line),
        Output::Error => all(io::stderr().lock(), line),
    };
}

/// The thread that writes, once there is one.
static WRITER: OnceLock<Writer> = OnceLock::new();

struct Writer {
    queue: Sender<Item>,
    /// Bytes in the queue.
    waiting: AtomicUsize,
}

enum Item {
    Line(Output, String),
    Flush(Sender<()>),
}

/// From now on a thread of its own writes the lines: a pager that nobody scrolls, or a
/// terminal after Ctrl+S, must not stop the server that it belongs to.
pub fn in_background() {
    WRITER.get_or_init(|| {
        let (queue, items) = channel();
        thread::spawn(move || {
            for item in items {
                match item {
                    Item::Line(output, line) => {
                        write(output, &line);
                        if let Some(writer) = WRITER.get() {
                            writer.waiting.fetch_sub(line.len(), Relaxed);
                        }
                    }
                    Item::Flush(done) => _ = done.send(()),
                }
            }
        });
        Writer { queue, waiting: AtomicUsize::new(0) }
    });
}

/// Waits until all lines so far are written, for a second at most. Whatever ends a process
/// calls it first.
pub fn flush() {
    let (done, flushed) = channel();
    if let Some(writer) = WRITER.get() {
        let _ = writer.queue.send(Item::Flush(done));
        let _ = flushed.recv_timeout(LAST_WORDS);
    }
}

fn write_or_queue(output: Output, line: String) {
    let Some(writer) = WRITER.get() else { return write(output, &line) };
    let length = line.len();
    let before = writer.waiting.fetch_add(length, Relaxed);
    if before > MAX_WAITING || writer.queue.send(Item::Line(output, line)).is_err() {
        writer.waiting.fetch_sub(length, Relaxed);
    }
}

/// Shows text from outside with its control characters escaped, so that a request can
/// neither forge a log line nor drive the terminal (CWE-117, CWE-150).
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            // Cc, and the line separators and direction marks that terminals obey too.
            match c {
                '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                    write!(f, "{}", c.escape_unicode())?
                }
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_not() {
        let shown = Escaped("안니 \"😀\"\r\n\x1b[2J\u{7f}\u{202e}").to_string();
        assert_eq!(shown, "안니 \"😀\"\\r\\n\\u{1b}[2J\\u{7f}\\u{202e}");
    }
}
