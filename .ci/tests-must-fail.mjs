// The tests of the tests: node .ci/tests-must-fail.mjs [LESSON…]
//
// A parity test that passes against a server that is no such lesson tests nothing. So, for
// each lesson, a crate with tests/<crate>.rs (or those named):
// - every parity test must fail against a stub that answers everything with 200,
//   once without a body and once with one;
// - against every other lesson at least one must fail;
// - every exercise (#[ignore]) must fail, until the learner has done it.

import { once } from "node:events";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import { join } from "node:path";

import { ROOT, runTests, startLesson, temporaryFolder } from "./lessons.mjs";

// A lesson whose whole parity another one keeps by contract.
const CONTAINED = {
  https: { http2: "http2 answers as https does, over whichever protocol the client offers" },
};

// Crates that are no lessons; any other with tests/<crate>.rs is one.
const NO_LESSONS = ["certs", "common", "testkit"];

const lessons = readdirSync(join(ROOT, "crates"))
  .filter((name) => !NO_LESSONS.includes(name))
  .filter((name) => existsSync(join(ROOT, "crates", name, "tests", `${name}.rs`)));
const chosen = process.argv.length > 2 ? process.argv.slice(2) : lessons;
const CERTS_DIR = temporaryFolder();
let wrong = 0;

const complain = (text) => {
  wrong += 1;
  console.error(`WRONG: ${text}`);
};

const parity = async (lesson, url) =>
  (await runTests(lesson, ["parity::"], { CERTS_DIR, TEST_URL: url })).tests;

/** A server that knows nothing and says yes to everything, under TLS if the lesson is. */
async function startStub(lesson, body) {
  const own = await startLesson(lesson, { CERTS_DIR });
  await own.stop("SIGKILL");
  const scheme = own.url.split(":")[0];
  const answer = (request, response) => {
    request.resume();
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(body);
  };
  const pem = (name) => readFileSync(join(CERTS_DIR, name));
  const server = scheme === "https"
    ? http2.createSecureServer(
        { allowHTTP1: true, cert: pem("cert.pem"), key: pem("key.pem") }, answer)
    : http.createServer(answer);
  server.listen(0, "localhost");
  await once(server, "listening");
  const url = `${scheme}://localhost:${server.address().port}/`;
  return { url, stop: () => server.close() };
}

for (const lesson of chosen) {
  for (const [name, body] of [["an empty stub", ""], ["a stub", "<h1>OK</h1>"]]) {
    const stub = await startStub(lesson, body);
    const tests = await parity(lesson, stub.url);
    stub.stop();
    if (tests.length === 0) complain(`${lesson} has no parity tests`);
    for (const test of tests.filter((test) => test.passed)) {
      complain(`${lesson}: ${test.name} passes against ${name}`);
    }
    console.log(`${lesson}: ${failures(tests)} against ${name}`);
  }
  for (const other of lessons.filter((other) => other !== lesson)) {
    const server = await startLesson(other, { CERTS_DIR });
    const tests = await parity(lesson, server.url);
    await server.stop("SIGKILL");
    const contained = CONTAINED[lesson]?.[other];
    if (!contained && tests.every((test) => test.passed)) {
      complain(`${lesson}: every parity test passes against ${other}`);
    }
    console.log(`${lesson}: ${failures(tests)} against ${other}${contained ? `: ${contained}` : ""}`);
  }
  const { tests: exercises } = await runTests(lesson, ["--ignored"], { CERTS_DIR });
  if (exercises.length === 0) complain(`${lesson} has no exercise`);
  for (const test of exercises.filter((test) => test.passed)) {
    complain(`${lesson}: the exercise ${test.name} passes, with nothing done`);
  }
  console.log(`${lesson}: ${failures(exercises)} of its exercises`);
}
console.log(wrong === 0 ? "the tests can fail" : `${wrong} of the tests' tests failed`);
process.exitCode = wrong === 0 ? 0 : 1;

function failures(tests) {
  return `${tests.filter((test) => !test.passed).length} of ${tests.length} fail`;
}
