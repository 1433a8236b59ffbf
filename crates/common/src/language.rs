//! The language of what we say to a person: Korean or English, by the locale of the process.

use std::sync::OnceLock;

/// Whether texts are Korean: by the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is set;
/// where none is, by what the system says (macOS and Windows have a setting of their own).
pub fn is_korean() -> bool {
    static KOREAN: OnceLock<bool> = OnceLock::new();
    *KOREAN.get_or_init(|| {
        let variables = ["LC_ALL", "LC_MESSAGES", "LANG"].map(crate::settings::variable);
        let locale = variables.into_iter().flatten().next();
        locale.or_else(sys_locale::get_locale).is_some_and(|name| is_korean_name(&name))
    })
}

/// `ko`, `ko_KR.UTF-8` and `ko-KR`, but not `kok_IN`, which is Konkani.
fn is_korean_name(locale: &str) -> bool {
    locale.split(['_', '-', '.', '@']).next() == Some("ko")
}

/// The Korean text or the English one, as a `String`. Both are formats as in [`format!`].
///
/// ```
/// let port = 8082;
/// let text = common::ko_en!("{port}번 포트입니다.", "This is port {port}.");
/// assert!(text.contains("8082"));
/// ```
#[macro_export]
macro_rules! ko_en {
    ($korean:literal, $english:literal $(, $argument:expr)* $(,)?) => {
        if $crate::language::is_korean() {
            format!($korean $(, $argument)*)
        } else {
            format!($english $(, $argument)*)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_locales() {
        for korean in ["ko", "ko_KR", "ko_KR.UTF-8", "ko-KR", "ko.UTF-8", "ko@x"] {
            assert!(is_korean_name(korean), "{korean}");
        }
        for other in ["", "C", "C.UTF-8", "POSIX", "en_US.UTF-8", "kok_IN", "KO"] {
            assert!(!is_korean_name(other), "{other}");
        }
    }
}
