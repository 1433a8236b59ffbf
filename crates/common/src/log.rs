//! Lines for the person at the terminal. `println!` panics when nobody reads its output any
//! more (`cargo run -p cookie | head -1`); a server must not end over that, so these do not.

use std::fmt::{self, Display, Write as _};
use std::io;

/// Writes one line to standard output and flushes it. A closed output is no error.
pub fn say(line: impl Display) {
    let _ = write_line(io::stdout().lock(), line);
}

/// Writes one line to standard error. A closed output is no error.
pub fn warn(line: impl Display) {
    let _ = write_line(io::stderr().lock(), line);
}

/// One `write` a line, so that the lines of several processes never mix.
fn write_line(mut out: impl io::Write, line: impl Display) -> io::Result<()> {
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
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
