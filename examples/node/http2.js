"use strict";
const fs = require("node:fs");
const http2 = require("node:http2");
const path = require("node:path");

const certs = process.env.CERTS_DIR ?? path.join(__dirname, "../../certs");
const file = (name, fallback) => fs.readFileSync(process.env[name] || path.join(certs, fallback));
const port = Number(process.env.PORT ?? 8443); // 443 for whoever may

const options = { cert: file("CERT", "cert.pem"), key: file("KEY", "key.pem"), ca: [file("CA", "ca.pem")], allowHTTP1: true };

const server = http2.createSecureServer(options, (req, res) => {
  res.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
  res.write("<h1>Hello Node!</h1>");
  res.end("<p>Hello Server!</p>");
});

server.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});

server.listen(port, process.env.HOST ?? "localhost", () => {
  const { port } = server.address();
  console.log(`${port}번 포트에서 서버 대기 중입니다 https://localhost:${port}/`);
});
