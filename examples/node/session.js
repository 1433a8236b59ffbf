"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs/promises");
const http = require("node:http");
const path = require("node:path");

const html = process.env.HTML_DIR ?? path.join(__dirname, "../../html");
const port = Number(process.env.PORT ?? 8085);

const LIFETIME = 5 * 60; // seconds
const sessions = new Map(); // from id to { name, expires }; in Rust a Store
const TEXT = { "Content-Type": "text/plain; charset=utf-8" };

const server = http.createServer(async (req, res) => {
  try {
    await handle(req, res);
  } catch (error) {
    console.error(error);
    res.writeHead(500, TEXT).end("서버 오류");
  }
});

async function handle(req, res) {
  const { pathname, searchParams } = new URL(req.url, "http://localhost");
  const cookies = parseCookies(req.headers.cookie);
  const session = sessions.get(cookies.session);
  if (pathname === "/login") {
    const name = searchParams.get("name");
    if (!name) return res.writeHead(400, TEXT).end("name이 없습니다. 예: /login?name=Annie");
    const expires = new Date(Date.now() + LIFETIME * 1000);
    const id = crypto.randomBytes(16).toString("hex"); // Date.now() could be guessed
    sessions.delete(cookies.session);
    sessions.set(id, { name, expires });
    setTimeout(() => sessions.delete(id), LIFETIME * 1000).unref();
    res.writeHead(302, {
      Location: "/",
      "Set-Cookie": `session=${id}; Expires=${expires.toUTCString()}; ` +
        `Max-Age=${LIFETIME}; HttpOnly; SameSite=Lax; Path=/`,
    }).end();
  } else if (pathname === "/logout") {
    sessions.delete(cookies.session);
    res.writeHead(302, { Location: "/", "Set-Cookie": "session=; Max-Age=0; Path=/" }).end();
  } else if (pathname === "/cookie2.css") {
    const style = await fs.readFile(path.join(html, "cookie2.css"));
    res.writeHead(200, { "Content-Type": "text/css; charset=utf-8" }).end(style);
  } else if (session?.expires > new Date()) {
    res.writeHead(200, TEXT).end(`${session.name}님 안녕하세요`);
  } else {
    const page = await fs.readFile(path.join(html, "cookie2.html"));
    res.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(page);
  }
}

function parseCookies(header = "") {
  const cookies = Object.create(null); // no __proto__ that a client could name
  for (const pair of header.split(";")) {
    const [name, ...rest] = pair.split("=");
    try {
      cookies[name.trim()] ||= decodeURIComponent(rest.join("=").trim());
    } catch {
      // A broken escape, and decodeURIComponent throws: outside a try, that ends the process.
    }
  }
  return cookies;
}

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

server.listen(port, process.env.HOST ?? "localhost", () => {
  const { port } = server.address();
  console.log(`${port}번 포트에서 서버 대기 중입니다 http://localhost:${port}/`);
});
