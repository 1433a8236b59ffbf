"use strict";
// What `production` is compared with by `bench`: the same page and the same GET /me from Node, by
// cluster and http2, with sessions from the same Redis. It has no limits and no time limits.

const cluster = require("node:cluster");
const fs = require("node:fs");
const http2 = require("node:http2");
const net = require("node:net");
const path = require("node:path");

const { PORT = "8443", HOST = "localhost", WORKERS = "2", CERT, KEY, REDIS_PORT = "6379" } = process.env;
const read = (name) => fs.readFileSync(path.join(__dirname, name), "utf8");
const PAGE = read("pages/login.html");
const WHO = read("src/who.lua");
const HTML = { "content-type": "text/html; charset=utf-8", "cache-control": "private, no-cache" };
const JSON_TYPE = { "content-type": "application/json; charset=utf-8", "cache-control": "private, no-cache" };

if (cluster.isPrimary) {
  for (let n = 0; n < Number(WORKERS); n += 1) cluster.fork();
} else {
  const ask = redis();
  const options = { cert: fs.readFileSync(CERT), key: fs.readFileSync(KEY), allowHTTP1: true };
  const server = http2.createSecureServer(options, async (request, response) => {
    const began = performance.now();
    const id = /(?:^|; )__Host-session=([0-9a-f]{32})/.exec(request.headers.cookie ?? "")?.[1];
    const who = id ? await ask("EVAL", WHO, "1", `session:${id}`) : null;
    if (request.url === "/me" && who) {
      response.writeHead(200, JSON_TYPE).end(JSON.stringify({ name: who[0], shown: who[1] }));
    } else if (request.url === "/") {
      response.writeHead(200, HTML).end(PAGE);
    } else {
      response.writeHead(request.url === "/me" ? 401 : 404).end();
    }
    const us = Math.round((performance.now() - began) * 1000);
    process.stdout.write(`${request.method} ${request.url} ${response.statusCode} us=${us}\n`);
  });
  server.on("sessionError", () => {}); // a client that went away
  server.listen(Number(PORT), HOST);
}

/// As much of Redis' protocol as EVAL with a list of strings takes. Answers come in order.
function redis() {
  const socket = net.connect(Number(REDIS_PORT), "127.0.0.1");
  const waiting = [];
  let text = "";
  socket.setNoDelay(true).setEncoding("utf8").on("data", (part) => {
    text += part;
    for (let found; (found = /^(?:\$-1|\*-1|\*2\r\n\$\d+\r\n(.*)\r\n\$\d+\r\n(.*))\r\n/.exec(text)); ) {
      text = text.slice(found[0].length);
      waiting.shift()(found[1] === undefined ? null : [found[1], found[2]]);
    }
  });
  return (...words) => new Promise((resolve) => {
    waiting.push(resolve);
    const all = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${all.length}\r\n${all.join("")}`);
  });
}
