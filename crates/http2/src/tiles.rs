//! `/tiles`: 200 small pictures on one page, and how many connections they came over.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::error::CannotStart;
use common::{Error, Reply, Request, ko_en, query, reply};
use fs_html::Files;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};

/// Pictures on the page.
const TILES: u32 = 200;

/// The longest that a client may ask a picture to take, in ms.
const MAX_DELAY: u64 = 2000;

/// Pages that are counted at once; the oldest is forgotten for a new one.
const MAX_PAGES: usize = 100;

/// Connections that are told apart on one page. A browser uses 1 or 6.
const MAX_CONNECTIONS: usize = 100;

const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml; charset=utf-8");

/// A picture from the cache would come over no connection at all.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The page, its pictures, and the count of what each load of the page used.
pub struct Tiles {
    files: Files,
    http2_port: u16,
    http1_port: u16,
    pages: Mutex<VecDeque<Page>>,
}

/// One load of the page, by the name that it gave itself.
struct Page {
    name: String,
    connections: Vec<u64>,
    streams: u64,
}

impl Tiles {
    /// A page that knows where it is over HTTP/2 and where over HTTP/1.1.
    ///
    /// # Errors
    /// The page's folder is not there.
    pub fn new(http2_port: u16, http1_port: u16) -> Result<Self, CannotStart> {
        let files = Files::open("http2")?;
        Ok(Self { files, http2_port, http1_port, pages: Mutex::default() })
    }

    /// Whether a path is ours.
    pub fn has(&self, request: &Request) -> bool {
        let path = request.uri().path();
        let own = ["/tiles", "/tiles.css", "/tiles.js", "/language.js", "/tiles/count"];
        own.contains(&path) || path.starts_with("/tile/")
    }

    /// The page, what belongs to it, a picture, or the count.
    pub async fn get(&self, request: &Request, connection: u64) -> Result<Reply, Error> {
        match request.uri().path() {
            "/tiles" => self.files.page(request, "tiles.html").await,
            "/tiles/count" => self.count(request),
            path if path.starts_with("/tile/") => self.tile(request, connection).await,
            _ => self.files.asset(request).await,
        }
    }

    /// `/tile/7.svg?delay=20&page=a1b2`
    async fn tile(&self, request: &Request, connection: u64) -> Result<Reply, Error> {
        let path = request.uri().path().strip_prefix("/tile/");
        let number = path.and_then(|path| path.strip_suffix(".svg"));
        let number = number.and_then(number_below_tiles).ok_or_else(Error::not_found)?;
        let delay = delay(request)?;
        if let Some(name) = page_name(request)? {
            self.add(&name, connection);
        }
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let mut reply = reply::reply(StatusCode::OK, SVG, picture(number));
        reply.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        Ok(reply)
    }

    fn add(&self, name: &str, connection: u64) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pages.iter().position(|page| page.name == name).unwrap_or_else(|| {
            if pages.len() == MAX_PAGES {
                pages.pop_front();
            }
            let name = name.to_owned();
            pages.push_back(Page { name, connections: Vec::new(), streams: 0 });
            pages.len() - 1
        });
        let page = &mut pages[at];
        page.streams += 1;
        if page.connections.len() < MAX_CONNECTIONS
            && !page.connections.contains(&connection)
        {
            page.connections.push(connection);
        }
    }

    /// What one load of the page has used so far. Over HTTP/1.1 a stream is a request.
    fn count(&self, request: &Request) -> Result<Reply, Error> {
        let name = page_name(request)?.unwrap_or_default();
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.iter().find(|page| page.name == name);
        let (connections, streams) =
            page.map_or((0, 0), |page| (page.connections.len(), page.streams));
        drop(pages);
        let mut reply = reply::json(format!(
            "{{\"protocol\":\"{:?}\",\"connections\":{connections},\"streams\":{streams},\
             \"http2Port\":{},\"http1Port\":{}}}",
            request.version(),
            self.http2_port,
            self.http1_port
        ));
        reply.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        Ok(reply)
    }
}

fn number_below_tiles(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok().filter(|number| *number < TILES)?;
    (text == number.to_string()).then_some(number) // not +7, not 007
}

fn delay(request: &Request) -> Result<u64, Error> {
    let Some(text) = query::first(request.uri(), "delay")? else { return Ok(0) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let delay = text.parse().ok().filter(|delay| digits && *delay <= MAX_DELAY);
    delay.ok_or_else(|| {
        Error::bad_request(ko_en!(
            "delay는 0부터 {MAX_DELAY}까지의 밀리초입니다. 예: /tile/0.svg?delay=20",
            "delay is a number of ms from 0 to {MAX_DELAY}. Example: /tile/0.svg?delay=20"
        ))
    })
}

fn page_name(request: &Request) -> Result<Option<String>, Error> {
    let Some(name) = query::first(request.uri(), "page")? else { return Ok(None) };
    let good = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good {
        Ok(Some(name))
    } else {
        Err(Error::bad_request(ko_en!(
            "page는 영문자와 숫자 40자까지입니다. 예: page=a1b2",
            "page is up to 40 letters and digits. Example: page=a1b2"
        )))
    }
}

/// A square in its own colour: all together they are a rainbow, row by row.
fn picture(number: u32) -> String {
    let hue = number * 360 / TILES;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\">\
         <rect width=\"40\" height=\"40\" fill=\"hsl({hue},70%,45%)\"/>\
         <text x=\"20\" y=\"26\" font-family=\"sans-serif\" font-size=\"16\" fill=\"#fff\" \
         text-anchor=\"middle\">{number}</text></svg>"
    )
}
