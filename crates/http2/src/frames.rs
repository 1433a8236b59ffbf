//! `WIRE=1` over HTTP/2: a line for each frame (RFC 9113 section 4.1), as the bytes themselves
//! say nothing to a reader.

use common::wire::{self, Show, escaped};

/// What a client sends before its first frame (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The head of each frame: length (3 bytes), type, flags, stream (4 bytes).
const HEAD: usize = 9;

const TYPES: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

/// Shows the frames of one connection: `#1 < DATA stream 1 END_STREAM 41 bytes: <h1>…`.
pub fn shown(connection: u64) -> impl Fn(char) -> Show {
    move |direction| {
        let mut unread = Vec::new();
        Box::new(move |bytes| {
            unread.extend_from_slice(bytes);
            while let Some((what, length)) = first(&unread) {
                wire::line(format_args!("#{connection} "), direction, what);
                unread.drain(..length);
            }
        })
    }
}

/// The first frame, if all of it is there: what it says, and its length in bytes.
fn first(bytes: &[u8]) -> Option<(String, usize)> {
    if bytes.starts_with(PREFACE) {
        return Some((escaped(PREFACE), PREFACE.len()));
    }
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [a, b, c, kind, flags, stream @ ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = rest.get(..length)?;
    let stream = u32::from_be_bytes(stream) & 0x7fff_ffff; // the first bit means nothing
    let name = TYPES.get(usize::from(kind)).copied().unwrap_or("unknown");
    let mut what = format!("{name} stream {stream}{} {length} bytes", names(kind, flags));
    if name == "DATA" {
        what += &format!(": {}", escaped(payload));
    }
    Some((what, HEAD + length))
}

/// The names of the flags that are set (RFC 9113 section 6).
fn names(kind: u8, flags: u8) -> String {
    let ack = matches!(TYPES.get(usize::from(kind)), Some(&("SETTINGS" | "PING")));
    let flag = |bit, name| if flags & bit == bit { name } else { "" };
    let first = if ack { " ACK" } else { " END_STREAM" };
    [flag(1, first), flag(4, " END_HEADERS"), flag(8, " PADDED"), flag(32, " PRIORITY")]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_lines() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(b"\0\0\0\x04\x01\0\0\0\0"); // SETTINGS, ACK
        bytes.extend(b"\0\0\x02\x01\x05\0\0\0\x01ab"); // HEADERS
        bytes.extend(b"\0\0\x03\x00\x01\x80\0\0\x01a\xffb"); // DATA
        bytes.extend(b"\0\0\x01\x63\0\0\0\0\x07x\0\0");
        let mut lines = Vec::new();
        while let Some((what, length)) = first(&bytes) {
            lines.push(what);
            bytes.drain(..length);
        }
        assert_eq!(
            lines,
            [
                "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n",
                "SETTINGS stream 0 ACK 0 bytes",
                "HEADERS stream 1 END_STREAM END_HEADERS 2 bytes",
                "DATA stream 1 END_STREAM 3 bytes: a\\xffb",
                "unknown stream 7 1 bytes",
            ]
        );
        assert_eq!(bytes, b"\0\0", "half a head");
    }
}
