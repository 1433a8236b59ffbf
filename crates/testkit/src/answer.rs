//! An answer and what a test expects of it.

use std::fmt::Display;

use serde_json::Value;

/// One HTTP answer. The checks return it, so that they can be chained; one that fails shows
/// the request as a `curl` line, the answer, and a hint.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200, 404, …
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, with its chunks put together.
    pub body: Vec<u8>,
    pub(crate) curl: String,
    pub(crate) hint: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn from_head(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.unwrap_or_else(|| panic!("no status line: {head:?}")),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
            curl: String::new(),
            hint: String::new(),
        }
    }

    /// What a learner should look at when one of the checks that follow fails.
    pub fn hint(mut self, hint: &str) -> Self {
        self.hint = hint.to_owned();
        self
    }

    /// The first header with this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// All headers with this name.
    pub fn get_all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| &**value).collect()
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => self.fail(format_args!("the body is no UTF-8: {error}")),
        }
    }

    /// Expects this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        if self.status != status {
            self.fail(format_args!("expected status {status}, got {}", self.status));
        }
        self
    }

    /// Expects this header with exactly this value.
    #[track_caller]
    pub fn header(self, name: &str, value: &str) -> Self {
        if self.get(name) != Some(value) {
            self.fail(format_args!("expected {name}: {value}, got {:?}", self.get(name)));
        }
        self
    }

    /// Expects that there is no such header.
    #[track_caller]
    pub fn no_header(self, name: &str) -> Self {
        if let Some(value) = self.get(name) {
            self.fail(format_args!("expected no {name}, got {value:?}"));
        }
        self
    }

    /// Expects exactly these headers with this name, in any order.
    #[track_caller]
    pub fn headers(self, name: &str, values: &[&str]) -> Self {
        let (mut came, mut wanted) = (self.get_all(name), values.to_vec());
        came.sort_unstable();
        wanted.sort_unstable();
        if came != wanted {
            self.fail(format_args!("expected {name}: {wanted:?}, got {came:?}"));
        }
        self
    }

    /// Expects exactly this body.
    #[track_caller]
    pub fn body(self, body: &str) -> Self {
        if self.body != body.as_bytes() {
            self.fail(format_args!("expected the body {body:?}"));
        }
        self
    }

    /// Expects that the body is this JSON; the order of fields and the spaces do not matter.
    #[track_caller]
    pub fn json(self, json: &str) -> Self {
        if !self.is_json(json) {
            self.fail(format_args!(
                "expected this JSON, its fields in any order: {json}"
            ));
        }
        self
    }

    /// Whether the body is this JSON.
    #[track_caller]
    pub(crate) fn is_json(&self, json: &str) -> bool {
        let json: Value = serde_json::from_str(json).expect("a test's own JSON");
        serde_json::from_slice::<Value>(&self.body).is_ok_and(|body| body == json)
    }

    /// Expects this text somewhere in the body.
    #[track_caller]
    pub fn contains(self, part: &str) -> Self {
        if !self.text().contains(part) {
            self.fail(format_args!("expected {part:?} in the body"));
        }
        self
    }

    /// Expects `Allow` with all of these methods, in any order.
    #[track_caller]
    pub fn allows(self, methods: &[&str]) -> Self {
        let allow = self.get("allow").unwrap_or_default();
        let allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
        if let Some(method) = methods.iter().find(|method| !allowed.contains(method)) {
            self.fail(format_args!("expected {method} in Allow, got {allow:?}"));
        }
        self
    }

    /// Fails the test with everything that helps to see why.
    #[track_caller]
    pub fn fail(&self, what: impl Display) -> ! {
        let headers: Vec<_> =
            self.headers.iter().map(|(n, v)| format!("    {n}: {v}")).collect();
        panic!(
            "{what}\n  request: {}\n  answer: {}\n{}\n\n    {:.400}\n{}",
            self.curl,
            self.status,
            headers.join("\n"),
            String::from_utf8_lossy(&self.body),
            hint_line(&self.hint),
        )
    }
}

/// The last line of a failure, where there is a hint.
pub(crate) fn hint_line(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("  hint: {hint}\n") }
}
