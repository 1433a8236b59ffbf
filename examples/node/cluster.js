"use strict";
const cluster = require("node:cluster");
const http = require("node:http");
const os = require("node:os");

const HTML = { "Content-Type": "text/html; charset=utf-8" };
const JSON_TYPE = { "Content-Type": "application/json; charset=utf-8" };
const { CRASH_AFTER_MS = "1000", RESPAWN = "on" } = process.env;
const workers = Number(process.env.WORKERS ?? os.availableParallelism());

if (cluster.isPrimary) {
  console.log(`마스터 프로세스 아이디: ${process.pid}`);
  cluster.schedulingPolicy =
    process.env.CLUSTER_SCHED === "shared" ? cluster.SCHED_NONE : cluster.SCHED_RR;
  for (let i = 0; i < workers; i += 1) cluster.fork();

  let listening = 0;
  cluster.on("listening", (worker, { port }) => {
    listening += 1;
    if (listening === workers) {
      console.log(`${port}번 포트에서 서버 대기 중입니다 http://localhost:${port}/`);
    }
  });
  cluster.on("exit", (worker, code, signal) => {
    console.log(`${worker.process.pid}번 워커가 종료되었습니다.`);
    console.log("code", code, "signal", signal);
    if (RESPAWN !== "off") cluster.fork(); // at once, however soon it died
  });
} else {
  let visits = 0; // each worker has its own
  let crashing = CRASH_AFTER_MS === "off";

  const server = http.createServer((req, res) => {
    res.setHeader("X-Worker", process.pid);
    if (req.url === "/visits") {
      visits += 1;
      const body = `{"pid":${process.pid},"own":${visits},"all":null}`;
      res.writeHead(200, JSON_TYPE).end(body);
      return;
    }
    res.writeHead(200, HTML);
    res.write("<h1>Hello Node!</h1>");
    res.end("<p>Hello Cluster!</p>");
    if (!crashing && req.url !== "/favicon.ico") {
      crashing = true;
      // Whoever is being served at that moment is cut off.
      setTimeout(() => process.exit(1), Number(CRASH_AFTER_MS));
    }
  });
  server.on("error", (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
  server.listen(Number(process.env.PORT ?? 8086), process.env.HOST ?? "localhost");
  console.log(`${process.pid}번 워커 실행`);
}
