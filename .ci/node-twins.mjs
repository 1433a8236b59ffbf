// The lessons' parity tests against their Node twins: node .ci/node-twins.mjs [LESSON…]
// Without names: every examples/node/<lesson>.js.

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { ROOT, runTests, startLesson, startTwin, temporaryFolder } from "./lessons.mjs";

const twins = readdirSync(join(ROOT, "examples/node"))
  .filter((file) => file.endsWith(".js"))
  .map((file) => file.slice(0, -".js".length));
const chosen = process.argv.length > 2 ? process.argv.slice(2) : twins;
const CERTS_DIR = temporaryFolder();
const failed = [];

for (const lesson of chosen) {
  // A lesson under TLS makes its certificates when it first starts; its twin has none to make.
  await (await startLesson(lesson, { CERTS_DIR })).stop();
  const twin = await startTwin(lesson, { CERTS_DIR });
  const { tests, output } = await runTests(lesson, ["parity::"], { CERTS_DIR, TEST_URL: twin.url });
  await twin.stop("SIGKILL");
  const passed = tests.filter((test) => test.passed).length;
  console.log(`${lesson}: ${passed} of ${tests.length} parity tests pass against Node`);
  if (tests.length === 0 || passed < tests.length) {
    failed.push(lesson);
    console.error(output);
  }
}
if (twins.length === 0 || failed.length > 0) {
  console.error(`no parity with Node: ${failed.join(", ") || "there are no twins"}`);
  process.exitCode = 1;
}
