//! `WIRE=1`: every exchange as it goes over the wire, both ways, decrypted, on standard error.

use std::fmt::Display;
use std::sync::OnceLock;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::either::Either;
use tokio_util::io::{InspectReader, InspectWriter};

use crate::log::{Escaped, warn};

/// Shows the bytes of one direction of a connection. [`text`] makes one for HTTP/1.1.
pub type Show = Box<dyn FnMut(&[u8]) + Send>;

/// The stream itself, or with `WIRE=1` one that shows what goes through it. `show` makes what
/// shows one direction: `>` is what the client sent, `<` what it was sent.
pub fn shown<S>(stream: S, show: impl Fn(char) -> Show) -> Shown<S>
where
    S: AsyncRead + AsyncWrite,
{
    if is_on() {
        let writer = InspectWriter::new(stream, show('<'));
        Either::Right(InspectReader::new(writer, show('>')))
    } else {
        Either::Left(stream)
    }
}

/// Whether `WIRE=1` is set.
pub fn is_on() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var_os("WIRE").is_some_and(|value| value == "1"))
}

/// What stands before each line: nothing, or in a worker of a cluster its process id.
pub static PROCESS: OnceLock<String> = OnceLock::new();

/// One line: `> GET / HTTP/1.1` of connection `#1`.
pub fn line(of: impl Display, direction: char, what: impl Display) {
    let process = PROCESS.get().map_or("", String::as_str);
    warn(format_args!("{process}{of}{direction} {what}"));
}

/// What [`shown`] returns.
pub type Shown<S> = Either<S, InspectReader<InspectWriter<S, Show>, Show>>;

/// A line for each line on the wire, with the number of the connection. What is not text (a
/// picture) is shown as `\x1f`; line ends are shown too, for they are half of HTTP/1.1.
pub fn text(connection: u64) -> impl Fn(char) -> Show {
    move |direction| {
        Box::new(move |bytes| {
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                self::line(format_args!("#{connection} "), direction, escaped(line));
            }
        })
    }
}

/// Bytes as text; those that are none as `\x1f`.
pub fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown += &Escaped(chunk.valid()).to_string();
        chunk.invalid().iter().for_each(|b| shown += &format!("\\x{b:02x}"));
    }
    shown
}
