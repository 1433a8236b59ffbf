"use strict";
const fs = require("node:fs/promises");
const http = require("node:http");
const path = require("node:path");
const { text } = require("node:stream/consumers");

const html = path.join(process.env.HTML_DIR ?? path.join(__dirname, "../../html"), "rest");
const port = Number(process.env.PORT ?? 8082);

const HTML = { "Content-Type": "text/html; charset=utf-8" };
const TEXT = { "Content-Type": "text/plain; charset=utf-8" };
const JSON_TYPE = { "Content-Type": "application/json; charset=utf-8" };
const TYPES = { ".css": "text/css", ".js": "text/javascript" };

const users = {}; // from id to name, in memory
let lastId = 0;

const server = http.createServer(async (req, res) => {
  try {
    await handle(req, res);
  } catch (error) {
    // An async function that throws without this catch ends the whole process.
    const status = error instanceof SyntaxError ? 400 : 500;
    if (status === 500) console.error(error);
    res.writeHead(status, TEXT).end(status === 400 ? "올바른 JSON이 아닙니다." : "서버 오류");
  }
});

async function handle(req, res) {
  const { method, url } = req;
  const id = url.startsWith("/user/") ? url.slice("/user/".length) : null;
  if (method === "GET" && url === "/") {
    res.writeHead(200, HTML).end(await fs.readFile(path.join(html, "restFront.html")));
  } else if (method === "GET" && url === "/about") {
    res.writeHead(200, HTML).end(await fs.readFile(path.join(html, "about.html")));
  } else if (method === "GET" && url === "/users") {
    res.writeHead(200, JSON_TYPE).end(JSON.stringify(users));
  } else if (method === "POST" && url === "/user") {
    const name = await nameInBody(req);
    lastId = Math.max(Date.now(), lastId + 1); // Date.now() alone repeats within one ms
    users[lastId] = name;
    res.writeHead(201, TEXT).end("등록 성공");
  } else if (method === "PUT" && Object.hasOwn(users, id)) {
    users[id] = await nameInBody(req);
    res.writeHead(200, JSON_TYPE).end(JSON.stringify(users));
  } else if (method === "DELETE" && Object.hasOwn(users, id)) {
    delete users[id];
    res.writeHead(200, JSON_TYPE).end(JSON.stringify(users));
  } else if (method === "GET") {
    await asset(url, res);
  } else {
    res.writeHead(404, TEXT).end("NOT FOUND");
  }
}

async function nameInBody(req) {
  const body = await text(req); // collects the "data" events until "end"
  console.log(`${req.method} 본문(Body):`, body);
  return JSON.parse(body).name;
}

async function asset(url, res) {
  try {
    // basename, so that /../../etc/passwd stays inside the folder.
    const name = path.basename(url);
    const data = await fs.readFile(path.join(html, name));
    const type = TYPES[path.extname(name)] ?? "text/html";
    res.writeHead(200, { "Content-Type": `${type}; charset=utf-8` }).end(data);
  } catch {
    res.writeHead(404, TEXT).end("NOT FOUND");
  }
}

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

server.listen(port, process.env.HOST ?? "localhost", () => {
  const { port } = server.address();
  console.log(`${port}번 포트에서 서버 대기 중입니다 http://localhost:${port}/`);
});
