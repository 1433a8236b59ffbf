//! Pages and assets from one folder: read when they are first asked for, kept in memory, and
//! looked at again with one `stat` for each request.

use std::collections::HashMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use crate::reply::{self, Reply};
use crate::{Error, Request};

/// Files that are kept at most; what comes after them is read at every request.
const MAX_KEPT: usize = 1000;

/// A file that was changed this shortly before it was read may be changed again without its
/// time of change showing it: clocks of file systems tick in 10 ms (ext4) to 2 s (FAT).
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// The browser keeps its copy, but asks each time whether it is still good.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The files of one folder and of nothing outside it. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    root: Arc<PathBuf>,
    kept: Arc<RwLock<HashMap<PathBuf, Arc<File>>>>,
}

/// A file as it was when it was last read.
struct File {
    version: Version,
    /// Changed long enough before it was read, so that any later change shows in `version`.
    settled: bool,
    body: Bytes,
    media: HeaderValue,
    etag: HeaderValue,
}

/// What changes with a file.
#[derive(PartialEq, Clone, Copy)]
struct Version {
    modified: SystemTime,
    length: u64,
    identity: (u64, u64, i64, i64),
}

impl Files {
    /// The folder `name` below `html/` of the workspace, or below `HTML_DIR`. An empty name is
    /// that folder itself.
    pub fn new(name: &str) -> Self {
        let html =
            std::env::var_os("HTML_DIR").filter(|dir| !dir.is_empty()).map_or_else(
                || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../html"),
                PathBuf::from,
            );
        Self { root: Arc::new(html.join(name)), kept: Arc::default() }
    }

    /// A page that the lesson names itself.
    ///
    /// # Errors
    /// 500 with the reason where it is missing or unreadable; it is looked for again at the
    /// next request.
    pub async fn page(&self, request: &Request, name: &str) -> Result<Reply, Error> {
        match self.load(Path::new(name)).await {
            Ok(file) => Ok(file.reply(request.headers())),
            Err(cause) => Err(Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{name} 파일을 읽을 수 없습니다: {}", reason(&cause)),
            )
            .with_detail(format_args!("{}: {cause}", self.root.join(name).display()))),
        }
    }

    /// The file that a request's path names, whatever its method is.
    ///
    /// # Errors
    /// 404 for what is no file of the folder; 500 for one that is and cannot be read.
    pub async fn asset(&self, request: &Request) -> Result<Reply, Error> {
        let path = relative(request.uri().path()).ok_or_else(Error::not_found)?;
        match self.load(&path).await {
            Ok(file) => Ok(file.reply(request.headers())),
            Err(cause) if cause.kind() == ErrorKind::PermissionDenied => Err(Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("파일을 읽을 수 없습니다: {}", reason(&cause)),
            )
            .with_detail(format_args!("{}: {cause}", path.display()))),
            Err(_) => Err(Error::not_found()),
        }
    }

    async fn load(&self, path: &Path) -> io::Result<Arc<File>> {
        let kept =
            self.kept.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(file) = kept.filter(|file| file.settled) {
            // On this thread, though it is a system call: for a file in use it takes about a
            // microsecond, a trip to the pool of blocking threads ten times that. On a network
            // drive it could take long; a server for that would watch the folder instead.
            if Version::of(&std::fs::metadata(self.root.join(path))?) == file.version {
                return Ok(file);
            }
        }
        // What `tokio::fs` does for each call, once for all of them: a thread that may wait.
        let (root, relative) = (self.root.clone(), path.to_owned());
        let read = tokio::task::spawn_blocking(move || File::read(&root, &relative));
        let file = Arc::new(read.await.map_err(io::Error::other)??);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT || kept.contains_key(path) {
            kept.insert(path.to_owned(), file.clone());
        }
        Ok(file)
    }
}

impl File {
    /// Reads a file that lies in the folder itself, not behind a link that leads out of it.
    fn read(root: &Path, path: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let real = root.join(path).canonicalize()?;
        // Opening a pipe or a device could wait for ever.
        if !real.starts_with(&root) || !real.metadata()?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        loop {
            let now = SystemTime::now();
            let mut open = std::fs::File::open(&real)?;
            let version = Version::of(&open.metadata()?);
            let mut body = Vec::new();
            open.read_to_end(&mut body)?;
            // Somebody was writing while we read: once more, from the start.
            if Version::of(&open.metadata()?) != version {
                continue;
            }
            let age = now.duration_since(version.changed()).unwrap_or_default();
            return Ok(Self {
                version,
                settled: age > CLOCK_TICK,
                media: media_type(path),
                etag: etag(&body),
                body: body.into(),
            });
        }
    }

    /// 200, or 304 for a client whose copy is still good (RFC 9110 section 13.1.2).
    fn reply(&self, request: &HeaderMap) -> Reply {
        let fresh = request.get_all(IF_NONE_MATCH).iter().any(|tags| self.is_in(tags));
        let mut reply = if fresh {
            reply::reply(StatusCode::NOT_MODIFIED, self.media.clone(), "")
        } else {
            let body = Full::new(self.body.clone());
            reply::reply(StatusCode::OK, self.media.clone(), body)
        };
        let headers = reply.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, REVALIDATE);
        reply
    }

    /// Whether a list like `"a", W/"b"` has our tag, or is `*`.
    fn is_in(&self, tags: &HeaderValue) -> bool {
        let Ok(tags) = tags.to_str() else { return false };
        tags.split(',').map(str::trim).any(|tag| {
            tag == "*"
                || tag.strip_prefix("W/").unwrap_or(tag).as_bytes()
                    == self.etag.as_bytes()
        })
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            length: metadata.len(),
            identity: identity(metadata),
        }
    }

    /// When it last changed, by either clock: `cp -p` and `touch -d` set `modified` back.
    fn changed(&self) -> SystemTime {
        let (_, _, seconds, nanoseconds) = self.identity;
        let since_epoch = Duration::new(
            seconds.try_into().unwrap_or_default(),
            nanoseconds.try_into().unwrap_or_default(),
        );
        self.modified.max(SystemTime::UNIX_EPOCH + since_epoch)
    }
}

/// Device, inode and the time of the inode's change: a file renamed over another one differs
/// here even when length and time are the same.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

/// From the content, so that it is the same after a restart and on another machine.
fn etag(body: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}-{:x}\"", hasher.finish(), body.len());
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The path inside the folder that a request's path names, percent-decoded once; nothing for
/// one that could lead anywhere else, or to a hidden file.
fn relative(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    // A second name of the same file would be kept twice: `a//b`, `a/./b`, `a/`.
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    if !decoded.split('/').all(plain) || decoded.contains(['\\', ':', '\0']) {
        return None;
    }
    let path = PathBuf::from(&*decoded);
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

/// The media type by the file's ending (IANA's names).
fn media_type(path: &Path) -> HeaderValue {
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

/// Why a file cannot be read, without its place on this machine.
fn reason(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::NotFound => "파일이 없습니다.",
        ErrorKind::PermissionDenied => "읽기 권한이 없습니다.",
        _ => "입출력 오류입니다.",
    }
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
            assert_eq!(relative(path).as_deref(), expected.map(Path::new), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_folder(path in "[/.%a-z0-9\\\\:]{0,24}", any: String) {
            for path in [path, any] {
                if let Some(inside) = relative(&format!("/{path}")) {
                    prop_assert!(inside.components().all(|c| matches!(c, Component::Normal(_))));
                }
            }
        }
    }

    #[test]
    fn lists_of_tags() {
        let file = File {
            version: Version {
                modified: SystemTime::now(),
                length: 0,
                identity: (0, 0, 0, 0),
            },
            settled: true,
            body: Bytes::new(),
            media: media_type(Path::new("a.html")),
            etag: HeaderValue::from_static("\"a-1\""),
        };
        for (tags, fresh) in [
            ("\"a-1\"", true),
            ("W/\"a-1\"", true),
            ("\"x\", \"a-1\"", true),
            ("*", true),
            ("a-1", false),
            ("\"b\"", false),
            ("", false),
        ] {
            assert_eq!(
                file.is_in(&HeaderValue::from_str(tags).unwrap()),
                fresh,
                "{tags}"
            );
        }
    }
}
