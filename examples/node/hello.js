"use strict";
const http = require("node:http");

const port = Number(process.env.PORT ?? 8080);

const server = http.createServer((req, res) => {
  res.setHeader("Content-Type", "text/html; charset=utf-8");
  res.write("<h1>Hello Node!</h1>");
  res.write("<p>Hello Server!</p>");
  res.end("<p>Hello Annie</p>");
});

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

server.listen(port, process.env.HOST ?? "localhost", () => {
  const { port } = server.address();
  console.log(`${port}번 포트에서 서버 대기 중입니다 http://localhost:${port}/`);
});
