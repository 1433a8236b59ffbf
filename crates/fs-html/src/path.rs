//! From the path of a request to a file's name and its media type.

use std::path::{Component, Path};

use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;

/// The path inside the folder that a request's path names, percent-decoded once; nothing for
/// one that could lead anywhere else, or to a hidden file.
pub fn relative(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    // A second name of the same file would be kept twice: `a//b`, `a/./b`, `a/`.
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    if !decoded.split('/').all(plain) || decoded.contains(['\\', ':', '\0']) {
        return None;
    }
    let normal = |part| matches!(part, Component::Normal(_));
    Path::new(&*decoded).components().all(normal).then(|| decoded.into_owned())
}

/// The media type by the file's ending (IANA's names).
pub fn media_type(path: &Path) -> HeaderValue {
    HeaderValue::from_static(match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json") => "application/json; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml; charset=utf-8",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/a.css", Some("a.css")),
            ("/dir/a.js", Some("dir/a.js")),
            ("/%ED%95%9C.txt", Some("한.txt")),
            ("/a%2Fb", Some("a/b")),
            ("/", None),
            ("/..", None),
            ("/../Cargo.toml", None),
            ("/%2e%2e/Cargo.toml", None),
            ("/%2e%2e%2fCargo.toml", None),
            ("/..%5cCargo.toml", None),
            ("/%252e%252e/x", Some("%2e%2e/x")),
            ("//etc/passwd", None),
            ("/%2fetc/passwd", None),
            ("/C:/x", None),
            ("/a//b", None),
            ("/a/", None),
            ("/a/./b", None),
            ("/.git", None),
            ("/a%00b", None),
            ("/%ff", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(relative(path).as_deref(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_folder(path in "[/.%a-z0-9\\\\:]{0,24}", any: String) {
            for path in [path, any] {
                if let Some(inside) = relative(&format!("/{path}")) {
                    let mut parts = Path::new(&inside).components();
                    prop_assert!(parts.all(|part| matches!(part, Component::Normal(_))));
                }
            }
        }
    }
}
