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
    kept: Arc<RwLock<HashMap<String, Arc<File>>>>,
}

/// A file as it was when it was last read.
struct File {
    /// Where it was asked for. A link there may lead to another file one day.
    path: PathBuf,
    version: Version,
    /// Changed long enough before it was read, so that any later change shows in `version`.
    settled: bool,
    body: Bytes,
    etag: HeaderValue,
    /// All headers of an answer with this file, so that an answer only copies them.
    headers: HeaderMap,
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
        match self.load(name).await {
            Ok(file) => Ok(file.reply(request.headers())),
            Err(cause) => Err(self.unreadable(name, &cause)),
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
            Err(cause) if is_no_file(&cause) => Err(Error::not_found()),
            Err(cause) => Err(self.unreadable(&path, &cause)),
        }
    }

    fn unreadable(&self, name: &str, cause: &io::Error) -> Error {
        let message = format!("{name} 파일을 읽을 수 없습니다: {}", reason(cause));
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, message)
            .with_detail(format_args!("{}: {cause}", self.root.join(name).display()))
    }

    async fn load(&self, name: &str) -> io::Result<Arc<File>> {
        let kept =
            self.kept.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(file) = kept.filter(|file| file.settled) {
            // On this thread, though it is a system call: for a file in use it takes about a
            // microsecond, a trip to the pool of blocking threads ten times that. On a network
            // drive it could take long; a server for that would watch the folder instead.
            if std::fs::metadata(&file.path)
                .is_ok_and(|m| Version::of(&m) == file.version)
            {
                return Ok(file);
            }
        }
        // What `tokio::fs` does for each call, once for all of them: a thread that may wait.
        let (root, path) = (self.root.clone(), self.root.join(name));
        let read = tokio::task::spawn_blocking(move || File::read(&root, path));
        let file = Arc::new(read.await.map_err(io::Error::other)??);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT || kept.contains_key(name) {
            kept.insert(name.to_owned(), file.clone());
        }
        Ok(file)
    }
}

impl File {
    /// Reads a file that lies in the folder itself, not behind a link that leads out of it.
    fn read(root: &Path, path: PathBuf) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let real = path.canonicalize()?;
        // Opening a pipe or a device could wait for ever.
        if !real.starts_with(&root) || !real.metadata()?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let now = SystemTime::now();
            let mut open = std::fs::File::open(&real)?;
            let version = Version::of(&open.metadata()?);
            let mut body = Vec::new();
            open.read_to_end(&mut body)?;
            // Somebody may be writing while we read: once more then, from the start. Who
            // never stops writing gets what there is.
            let unchanged = Version::of(&open.metadata()?) == version;
            if unchanged || tries == 5 {
                let age = now.duration_since(version.changed()).unwrap_or_default();
                let settled = unchanged && age > CLOCK_TICK;
                return Ok(Self::new(path, version, settled, body));
            }
        }
    }

    fn new(path: PathBuf, version: Version, settled: bool, body: Vec<u8>) -> Self {
        let etag = etag(&body);
        let mut headers = reply::headers(media_type(&path));
        headers.insert(ETAG, etag.clone());
        headers.insert(CACHE_CONTROL, REVALIDATE);
        Self { path, version, settled, body: body.into(), etag, headers }
    }

    /// 200, or 304 for a client whose copy is still good (RFC 9110 section 13.1.2).
    fn reply(&self, request: &HeaderMap) -> Reply {
        let fresh = request.get_all(IF_NONE_MATCH).iter().any(|tags| self.is_in(tags));
        let mut reply =
            Reply::new(if fresh { Bytes::new() } else { self.body.clone() }.into());
        if fresh {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
        }
        *reply.headers_mut() = self.headers.clone();
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
fn relative(path: &str) -> Option<String> {
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

/// Whether a name leads to nothing that is a file, as against one that cannot be read.
fn is_no_file(cause: &io::Error) -> bool {
    use ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(cause.kind(), NotFound | NotADirectory | InvalidFilename)
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

    #[test]
    fn lists_of_tags() {
        let version =
            Version { modified: SystemTime::now(), length: 0, identity: (0, 0, 0, 0) };
        let mut file = File::new("a.html".into(), version, true, Vec::new());
        file.etag = HeaderValue::from_static("\"a-1\"");
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
