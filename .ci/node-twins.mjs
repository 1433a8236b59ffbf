// The lessons' parity tests against their Node twins: node .ci/node-twins.mjs [LESSON…]
// Without names: every examples/node/<lesson>.js.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { ROOT, startLesson, startTwin, temporaryFolder } from "./server.mjs";

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
  const tests = spawn(
    "cargo",
    ["test", "--quiet", "-p", lesson, "--test", lesson, "parity::"],
    {
      cwd: ROOT,
      env: { ...process.env, CERTS_DIR, TEST_URL: twin.url },
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  const [status] = await once(tests, "close");
  await twin.stop("SIGKILL");
  console.log(`${lesson}: parity with Node ${status === 0 ? "ok" : "FAILED"}`);
  if (status !== 0) failed.push(lesson);
}
if (failed.length > 0) {
  console.error(`the Node twins of these answer something else: ${failed.join(", ")}`);
  process.exitCode = 1;
}
