//! Lesson 2: a page from a file, read without holding anybody up.

use common::error::CannotStart;
use common::{Error, Reply, Request, reply, serve};
use fs_html::Files;

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let files = Files::open("")?; // the folder html/ of the workspace
    serve(8081, move |request| handle(request, files.clone())).await
}

async fn handle(request: Request, files: Files) -> Result<Reply, Error> {
    match request.method().as_str() {
        // const data = await fs.readFile("./server-html.html"); res.end(data);
        "GET" => files.page(&request, "server-html.html").await, // its error is a 500
        _ => reply::not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}
