//! Every text of ours to a person is there in Korean and in English, side by side: `ko_en!`.
//! The course's own lines, which are Korean for everybody, are listed here.

use std::path::Path;

use crate::{Checked, entries, sources, without_tests};

/// The course's own texts: on the wire and on standard output (LESSONS).
const OF_THE_COURSE: [&str; 7] = [
    "번 포트에서 서버 대기 중입니다",
    "등록 성공",
    "님 안녕하세요",
    "본문(Body):",
    "마스터 프로세스 아이디:",
    "번 워커 실행",
    "번 워커가 종료되었습니다.",
];

/// Looks for Hangul that is neither the course's nor the first text of a `ko_en!`.
pub fn check(root: &Path) -> Checked {
    for folder in entries(&root.join("crates")) {
        if folder.ends_with("checks") || folder.ends_with("testkit") {
            continue;
        }
        for (path, text) in sources(&folder.join("src"))? {
            let code: Vec<&str> = without_tests(&text)
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            if let Some(alone) = korean_alone(&code.join("\n")) {
                return Err(format!("{}: {alone:?} is Korean alone", path.display()));
            }
        }
    }
    Ok(())
}

/// A string with Hangul that stands outside of `ko_en!`, and is none of the course's.
fn korean_alone(code: &str) -> Option<String> {
    let mut outside = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("ko_en!(") {
        outside += &rest[..start];
        rest = end_of_call(&rest[start + "ko_en!".len()..]);
    }
    outside += rest;
    let mut strings = outside.split('"').skip(1).step_by(2);
    let alone = strings.find(|text| {
        text.chars().any(is_hangul) && !OF_THE_COURSE.iter().any(|own| text.contains(own))
    });
    alone.map(Into::into)
}

/// What follows the parenthesis that closes the first one; those in strings do not count.
fn end_of_call(call: &str) -> &str {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (position, c) in call.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            '(' if !in_string => depth += 1,
            ')' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return &call[position + 1..];
                }
            }
            _ => {}
        }
    }
    ""
}

fn is_hangul(c: char) -> bool {
    ('\u{AC00}'..='\u{D7A3}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_needs_its_other_half() {
        for good in [
            "say(\"hello\")",
            "ko_en!(\"안녕 ({x})\", \"hello ({x})\")",
            "ko_en!(\n\"안녕\",\n\"hello\", f(x)\n); warn(\"a\")",
            "say(\"등록 성공\")",
        ] {
            assert_eq!(korean_alone(good), None, "{good}");
        }
        for bad in ["say(\"안녕\")", "ko_en!(\"가\", \"a\"); say(\"나\")"] {
            assert!(korean_alone(bad).is_some(), "{bad}");
        }
    }
}
