//! A client that sends exactly what it is told to, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::answer::hint_line;
use crate::{Answer, PATIENCE};

/// What a [`Client`] speaks over: a TCP stream, or TLS over one.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection. Every read and write has a time limit.
pub struct Client {
    stream: Box<dyn Stream>,
    tcp: TcpStream,
    authority: String,
    scheme: &'static str,
    unread: Vec<u8>,
    patience: Duration,
    /// The request that waits for its answer, as a `curl` line.
    curl: String,
    /// What a learner should look at when an answer is wrong, or does not come.
    pub(crate) hint: String,
}

impl Client {
    /// Connects to `host:port`, on whichever of its addresses answers.
    #[track_caller]
    pub fn connect(authority: &str) -> Self {
        let tcp = Self::tcp(authority);
        let stream = Box::new(tcp.try_clone().expect("clone of a socket"));
        Self::over(stream, tcp, authority, "http")
    }

    /// A plain connection with its time limits set.
    #[track_caller]
    pub fn tcp(authority: &str) -> TcpStream {
        let with_port = if authority.contains(':') {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let addresses: Vec<_> = with_port
            .to_socket_addrs()
            .unwrap_or_else(|error| panic!("{authority}: {error}"))
            .collect();
        let tcp = addresses
            .iter()
            .find_map(|address| TcpStream::connect_timeout(address, PATIENCE).ok())
            .unwrap_or_else(|| panic!("nobody listens at {authority} ({addresses:?})"));
        tcp.set_read_timeout(Some(PATIENCE)).expect("time limit");
        tcp.set_write_timeout(Some(PATIENCE)).expect("time limit");
        tcp.set_nodelay(true).expect("no delay");
        tcp
    }

    /// A client over a stream that is open already; `tcp` is what lies under it.
    pub fn over(
        stream: Box<dyn Stream>,
        tcp: TcpStream,
        authority: &str,
        scheme: &'static str,
    ) -> Self {
        Self {
            stream,
            tcp,
            authority: authority.to_owned(),
            scheme,
            unread: Vec::new(),
            patience: PATIENCE,
            curl: String::new(),
            hint: String::new(),
        }
    }

    /// Another limit for each read.
    pub fn set_patience(&mut self, limit: Duration) {
        self.tcp.set_read_timeout(Some(limit)).expect("time limit");
        self.patience = limit;
    }

    /// Sends bytes as they are. An error is no failure: the server may have closed already.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends these bytes again and again, and reads nothing, until the other side takes no more.
    #[track_caller]
    pub fn send_until_blocked(&mut self, bytes: &str) {
        let small = socket2::SockRef::from(&self.tcp);
        small.set_recv_buffer_size(4096).expect("a small buffer");
        small.set_send_buffer_size(4096).expect("a small buffer");
        self.tcp.set_write_timeout(Some(Duration::from_secs(1))).expect("time limit");
        for _ in 0..16 * 1024 * 1024 / bytes.len() {
            match self.stream.write_all(bytes.as_bytes()) {
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut
                    ) =>
                {
                    return;
                }
                sent => sent.expect("a server that reads, or waits"),
            }
        }
        panic!("the server reads on and on, though nobody reads its answers");
    }

    /// What has come within the patience that was set; nothing if nothing has.
    pub fn try_read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 16 * 1024];
        let length = read(&mut self.stream, &mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// Says that no more will come, and goes on reading.
    pub fn finish_sending(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its answer; the connection stays open if both sides agree.
    #[track_caller]
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        self.curl = self.curl_line(method, path, headers, body);
        self.send([request.as_bytes(), body].concat());
        let mut answer = self.read_answer_to(method);
        answer.curl = self.curl.clone();
        answer.hint = self.hint.clone();
        answer
    }

    /// Reads the answer to whatever was sent; the method was not HEAD.
    #[track_caller]
    pub fn read_answer(&mut self) -> Answer {
        self.read_answer_to("GET")
    }

    /// Reads the answer to a request with this method: one to HEAD has no body.
    #[track_caller]
    pub fn read_answer_to(&mut self, method: &str) -> Answer {
        loop {
            let head = self.read_until_blank_line();
            let mut answer = Answer::from_head(&head);
            if answer.status == 100 {
                continue;
            }
            if method != "HEAD" && !matches!(answer.status, 204 | 304) {
                answer.body = self.read_body(&answer);
            }
            return answer;
        }
    }

    #[track_caller]
    fn read_body(&mut self, answer: &Answer) -> Vec<u8> {
        if answer.get("transfer-encoding").is_some_and(|te| te.contains("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.read_line();
                let size = usize::from_str_radix(line.trim(), 16)
                    .unwrap_or_else(|_| panic!("bad chunk size {line:?}"));
                let chunk = self.read_exactly(size + 2);
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return body;
                }
            }
        }
        match answer.get("content-length") {
            Some(length) => self.read_exactly(length.parse().expect("content-length")),
            None => self.read_to_end(),
        }
    }

    /// Reads one line, with its end.
    #[track_caller]
    pub fn read_line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|b| *b == b'\n') {
                let line = self.unread.drain(..=end).collect();
                return String::from_utf8(line).expect("UTF-8");
            }
            if !self.fill() {
                let begun = String::from_utf8_lossy(&self.unread);
                self.fail(match &*begun {
                    "" => "the connection was closed without an answer".into(),
                    begun => format!("the connection was closed in a line: {begun:?}"),
                });
            }
        }
    }

    #[track_caller]
    fn read_until_blank_line(&mut self) -> String {
        let mut head = String::new();
        loop {
            let line = self.read_line();
            if line == "\r\n" {
                return head;
            }
            head += &line;
        }
    }

    #[track_caller]
    fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            let have = self.unread.len();
            if !self.fill() {
                self.fail(format!("half an answer: {have} of {length} bytes"));
            }
        }
        self.unread.drain(..length).collect()
    }

    /// Everything until the server closes, or resets, the connection.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    /// Waits until the server closes the connection, which it must do without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(
            rest.is_empty(),
            "expected the end, got {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Whether there was anything more to read.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let start = Instant::now();
        let mut result = read(&mut self.stream, &mut buffer);
        // TLS says so too when its read was interrupted.
        while result.as_ref().is_err_and(is_timeout)
            && start.elapsed() < self.patience / 2
        {
            result = read(&mut self.stream, &mut buffer);
        }
        match result {
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                n > 0
            }
            Err(e) if is_timeout(&e) => {
                let seconds = self.patience.as_secs_f32();
                self.fail(format!(
                    "no answer within {seconds} s, and the connection is still open: \
                     the server hangs"
                ))
            }
            Err(e) => {
                eprintln!("the connection broke: {e}");
                false
            }
        }
    }

    /// Fails the test with what was asked, where that is known, and the hint.
    #[track_caller]
    fn fail(&self, what: String) -> ! {
        let request = match &*self.curl {
            "" => String::new(),
            curl => format!("  request: {curl}\n"),
        };
        panic!("{what}\n{request}{}", hint_line(&self.hint))
    }

    fn curl_line(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut line = String::from("curl -i");
        match method {
            "GET" => {}
            "HEAD" => line += " -I",
            _ => line += &format!(" -X {method}"),
        }
        for (name, value) in headers {
            line += &format!(" -H {}", quote(&format!("{name}: {value}")));
        }
        if !body.is_empty() {
            line += &format!(" --data-binary {}", quote(&String::from_utf8_lossy(body)));
        }
        line + &format!(
            " {}",
            quote(&format!("{}://{}{path}", self.scheme, self.authority))
        )
    }
}

/// One read. A machine that is put to sleep, or a process that is stopped and goes on, interrupts
/// a read that has a time limit (signal(7)): that says nothing of the server.
pub fn read(
    stream: &mut (impl Read + ?Sized),
    buffer: &mut [u8],
) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
