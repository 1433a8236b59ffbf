//! The files of one folder below `html/`: read without holding anybody up, kept in memory, and
//! compared with the disk by one `stat` for each request, so that an edit shows at once.

mod path;

use std::collections::HashMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::error::CannotStart;
use common::reply::{self, Reply};
use common::settings::{cannot_start, html_folder};
use common::{Error, Request, ko_en};
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};

/// The largest file that is served, in bytes: it is read into memory whole.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How much is kept in memory, in bytes and in files. What would be more makes it forget all
/// that it has; files in use are soon there again.
const MAX_KEPT: (usize, usize) = (64 * 1024 * 1024, 1000);

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
    /// All headers of an answer with this file, so that an answer only copies them.
    headers: HeaderMap,
}

impl Files {
    /// The folder `name` below `html/` of the workspace, or below `HTML_DIR`. An empty name is
    /// that folder itself.
    ///
    /// # Errors
    /// There is no such `html/`: this program was moved away from its pages.
    pub fn open(name: &str) -> Result<Self, CannotStart> {
        let html = html_folder();
        if !html.is_dir() {
            let html = html.display();
            let what = ko_en!(
                "페이지 폴더가 없습니다: {html}",
                "The folder of the pages is not there: {html}"
            );
            return Err(cannot_start(what, "HTML_DIR", "/path/to/html"));
        }
        Ok(Self { root: Arc::new(html.join(name)), kept: Arc::default() })
    }

    /// A page that the lesson names itself; `await fs.readFile(name)` in Node.
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
        let path = path::relative(request.uri().path()).ok_or_else(Error::not_found)?;
        match self.load(&path).await {
            Ok(file) => Ok(file.reply(request.headers())),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Err(Error::not_found()),
            Err(cause) => Err(self.unreadable(&path, &cause)),
        }
    }

    fn unreadable(&self, name: &str, cause: &io::Error) -> Error {
        let reason = match cause.kind() {
            ErrorKind::NotFound => ko_en!("파일이 없습니다", "there is no such file"),
            ErrorKind::PermissionDenied => {
                ko_en!("읽기 권한이 없습니다", "no permission")
            }
            ErrorKind::FileTooLarge => {
                ko_en!("{MAX_FILE}바이트보다 큽니다", "it has more than {MAX_FILE} bytes")
            }
            _ => ko_en!("입출력 오류입니다", "input or output failed"),
        };
        let message = ko_en!(
            "{name} 파일을 읽을 수 없습니다: {reason}.",
            "The file {name} cannot be read: {reason}."
        );
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
            if std::fs::metadata(&file.path).is_ok_and(|m| version(&m) == file.version) {
                return Ok(file);
            }
        }
        // Reading may take long, so a thread that is for waiting does it (`tokio::fs` would do
        // the same for each call; this is once for all of them). Other requests go on.
        let (root, path) = (self.root.clone(), self.root.join(name));
        let read = tokio::task::spawn_blocking(move || File::read(&root, path));
        let file = Arc::new(read.await.map_err(io::Error::other)??);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = kept.values().map(|file| file.body.len()).sum();
        if bytes + file.body.len() > MAX_KEPT.0 || kept.len() >= MAX_KEPT.1 {
            kept.clear();
        }
        kept.insert(name.to_owned(), file.clone());
        Ok(file)
    }
}

impl File {
    /// Reads a file that lies in the folder itself, not behind a link that leads out of it.
    fn read(root: &Path, path: PathBuf) -> io::Result<Self> {
        let real = path.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => error,
            // No such name, a name that is too long, a link that leads to itself.
            _ => ErrorKind::NotFound.into(),
        })?;
        // Opening a pipe or a device could wait for ever.
        if !real.starts_with(root.canonicalize()?) || !real.metadata()?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        for last in [false, false, false, false, true] {
            let now = SystemTime::now();
            let mut open = std::fs::File::open(&real)?;
            let before = version(&open.metadata()?);
            if before.length > MAX_FILE {
                return Err(ErrorKind::FileTooLarge.into());
            }
            let mut body = Vec::new();
            open.by_ref().take(MAX_FILE).read_to_end(&mut body)?;
            // Somebody may be writing while we read: once more then, from the start. Who
            // never stops writing gets what there is.
            let unchanged = version(&open.metadata()?) == before;
            if unchanged || last {
                let age = now.duration_since(before.changed).unwrap_or_default();
                return Ok(Self::new(path, before, unchanged && age > CLOCK_TICK, body));
            }
        }
        unreachable!("the last round returns")
    }

    fn new(path: PathBuf, version: Version, settled: bool, body: Vec<u8>) -> Self {
        let mut headers = reply::headers(path::media_type(&path));
        headers.insert(ETAG, etag(&body));
        headers.insert(CACHE_CONTROL, REVALIDATE);
        Self { path, version, settled, body: body.into(), headers }
    }

    /// 200, or 304 for a client whose copy is still good (RFC 9110 section 13.1.2).
    fn reply(&self, request: &HeaderMap) -> Reply {
        let etag = self.headers[ETAG].as_bytes();
        let fresh = request.get_all(IF_NONE_MATCH).iter().any(|tags| has(tags, etag));
        let body = if fresh { Bytes::new() } else { self.body.clone() };
        let mut reply = Reply::new(body.into());
        if fresh {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
        }
        *reply.headers_mut() = self.headers.clone();
        reply
    }
}

/// Whether a list like `"a", W/"b"` has this tag, or is `*`.
fn has(tags: &HeaderValue, etag: &[u8]) -> bool {
    let mut tags = tags.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}

/// From the content, so that it is the same after a restart and on another machine.
fn etag(body: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}-{:x}\"", hasher.finish(), body.len());
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// What changes with a file.
#[derive(PartialEq, Clone, Copy)]
struct Version {
    /// When it last changed, by the later of two clocks: `cp -p` and `touch -d` set the time of
    /// modification back, and that of the inode's change they cannot.
    changed: SystemTime,
    length: u64,
    /// Device and inode: another file renamed over this one.
    identity: (u64, u64),
}

fn version(metadata: &Metadata) -> Version {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let (inode_changed, identity) = inode(metadata);
    Version { changed: modified.max(inode_changed), length: metadata.len(), identity }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> (SystemTime, (u64, u64)) {
    use std::os::unix::fs::MetadataExt;
    let seconds = metadata.ctime().try_into().unwrap_or_default();
    let nanoseconds = metadata.ctime_nsec().try_into().unwrap_or_default();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    (changed, (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> (SystemTime, (u64, u64)) {
    (SystemTime::UNIX_EPOCH, (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags() {
        for (tags, fresh) in [
            ("\"a-1\"", true),
            ("W/\"a-1\"", true),
            ("\"x\", \"a-1\"", true),
            ("*", true),
            ("a-1", false),
            ("\"b\"", false),
            ("", false),
        ] {
            assert_eq!(has(&HeaderValue::from_static(tags), b"\"a-1\""), fresh, "{tags}");
        }
    }
}
