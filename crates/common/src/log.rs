//! Lines for the person at the terminal.
//!
//! `println!` panics when nobody reads its output any more (`cargo run -p cookie | head -1`); a
//! server must not end over that, so these two do not. They do wait for a terminal that takes
//! nothing (Ctrl+S, a pager that nobody scrolls), as `console.log` does in Node: until it goes
//! on, so does no request that prints something. A process that must not wait sets [`INSTEAD`].

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::sync::OnceLock;

/// What takes the lines for standard output, and those for standard error.
pub static INSTEAD: OnceLock<[fn(&str); 2]> = OnceLock::new();

/// Writes one line to standard output. A closed output is no error.
pub fn say(line: impl Display) {
    write_line(0, io::stdout, line);
}

/// Writes one line to standard error. A closed output is no error.
pub fn warn(line: impl Display) {
    write_line(1, io::stderr, line);
}

/// One `write` a line, so that the lines of several processes never mix.
fn write_line<W: Write>(output: usize, open: fn() -> W, line: impl Display) {
    let mut text = String::with_capacity(128);
    let _ = writeln!(text, "{line}");
    if let Some(instead) = INSTEAD.get() {
        return instead[output](&text);
    }
    let mut out = open();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Shows text from outside with its control characters escaped, so that a request can
/// neither forge a log line nor drive the terminal (CWE-117, CWE-150).
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(position) = rest.find(drives_a_terminal) {
            let (plain, special) = rest.split_at(position);
            let mut special = special.chars();
            f.write_str(plain)?;
            special.next().map_or(Ok(()), |c| write!(f, "{}", c.escape_default()))?;
            rest = special.as_str();
        }
        f.write_str(rest)
    }
}

/// Control characters (Unicode's Cc), line and paragraph separators, and the marks that turn
/// the direction of writing round (UAX #9), which terminals obey too.
fn drives_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}')
        || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_not() {
        let shown = Escaped("안니 \"😀\"\r\n\x1b[2J\u{7f}\u{202e}").to_string();
        assert_eq!(shown, "안니 \"😀\"\\r\\n\\u{1b}[2J\\u{7f}\\u{202e}");
        for mark in ["\u{200e}", "\u{200f}", "\u{61c}", "\u{2066}", "\u{2069}", "\u{85}"]
        {
            let shown = Escaped(mark).to_string();
            assert!(shown.starts_with("\\u{"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_drives_a_terminal_is_left(text: String) {
            prop_assert!(!Escaped(&text).to_string().contains(drives_a_terminal));
        }
    }
}
