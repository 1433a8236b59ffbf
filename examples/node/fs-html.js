"use strict";
const fs = require("node:fs/promises");
const http = require("node:http");
const path = require("node:path");

const html = process.env.HTML_DIR ?? path.join(__dirname, "../../html");
const port = Number(process.env.PORT ?? 8081);

const server = http.createServer(async (req, res) => {
  try {
    const data = await fs.readFile(path.join(html, "server-html.html"));
    res.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    res.end(data);
  } catch (error) {
    console.error(error);
    res.writeHead(500, { "Content-Type": "text/plain; charset=utf-8" });
    res.end("server-html.html 파일을 읽을 수 없습니다.");
  }
});

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

server.listen(port, process.env.HOST ?? "localhost", () => {
  const { port } = server.address();
  console.log(`${port}번 포트에서 서버 대기 중입니다 http://localhost:${port}/`);
});
