//! HTTP/2 frames by hand (RFC 9113 section 4), for what no well-behaved client sends.

/// What a client sends first: the preface and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Types of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const PING: u8 = 6;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const WINDOW_UPDATE: u8 = 8;
/// See [`DATA`].
pub const CONTINUATION: u8 = 9;

/// Flags: the answer to SETTINGS or PING.
pub const ACK: u8 = 1;
/// Flags: no more will come in this stream.
pub const END_STREAM: u8 = 1;
/// Flags: no CONTINUATION will come.
pub const END_HEADERS: u8 = 4;

/// The error code for a client that asks too much of us (RFC 9113 section 7).
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// [`DATA`], [`HEADERS`], …
    pub kind: u8,
    /// What they mean depends on the kind.
    pub flags: u8,
    /// 0 for the connection itself.
    pub stream: u32,
    /// At most 16 KiB.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame as bytes.
    pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length =
            u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Takes the first frame out of `bytes`, if all of it is there.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let head = bytes.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if bytes.len() < 9 + length {
            return None;
        }
        let frame: Vec<u8> = bytes.drain(..9 + length).collect();
        let stream = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
        let (kind, flags) = (frame[3], frame[4]);
        Some(Self { kind, flags, stream, payload: frame[9..].to_vec() })
    }

    /// The code of a GOAWAY.
    pub fn error(&self) -> Option<u32> {
        let code = self.payload.get(4..8).filter(|_| self.kind == GOAWAY)?;
        Some(u32::from_be_bytes([code[0], code[1], code[2], code[3]]))
    }
}

/// A whole request without a body.
pub fn request(stream: u32, method: &str, path: &str) -> Vec<u8> {
    Frame::bytes(HEADERS, END_STREAM | END_HEADERS, stream, &block(method, path, &[]))
}

/// A header block (RFC 7541 section 6.2.2), nothing indexed and nothing compressed.
pub fn block(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo =
        [(":method", method), (":scheme", "https"), (":authority", "a"), (":path", path)];
    for (name, value) in pseudo.iter().chain(headers) {
        block.push(0);
        for text in [name, value] {
            block
                .push(u8::try_from(text.len()).ok().filter(|n| *n < 127).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
