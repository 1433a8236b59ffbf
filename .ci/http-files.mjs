// The requests for editors, examples/<lesson>.http, played against each lesson by httpyac:
// node .ci/http-files.mjs [LESSON…]
//
// What they expect (?? status == 200) must come; and with any other status expected, every
// request must fail: an expectation that cannot fail says nothing.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT, TARGET, startLesson, temporaryFolder } from "./lessons.mjs";

const VERSION = "6.16.7"; // runs on Debian 12's own node 18
const HTTPYAC = join(TARGET, "httpyac");
const USUAL_PORT = /localhost:(80\d\d|8443)\b/g;

const files = readdirSync(join(ROOT, "examples")).filter((file) => file.endsWith(".http"));
const lessons = files.map((file) => file.slice(0, -".http".length));
const chosen = process.argv.length > 2 ? process.argv.slice(2) : lessons;
const folder = temporaryFolder();
const CERTS_DIR = join(folder, "certs");
mkdirSync(CERTS_DIR);
let wrong = 0;

const complain = (text) => {
  wrong += 1;
  console.error(`WRONG: ${text}`);
};

install();
for (const lesson of chosen) {
  const text = readFileSync(join(ROOT, "examples", `${lesson}.http`), "utf8");
  const otherwise = text.replace(/^\?\? status == .*$/gm, "?? status == 299");
  for (const [name, requests, good] of [["as written", text, true], ["with status 299", otherwise, false]]) {
    const server = await startLesson(lesson, { CERTS_DIR, LC_ALL: "C", CRASH_AFTER_MS: "off" });
    const port = new URL(server.url).port;
    const played = play(lesson, requests.replace(USUAL_PORT, `localhost:${port}`));
    await server.stop("SIGKILL");
    for (const request of played) {
      const results = request.testResults ?? [];
      const failed = results.filter((result) => result.status !== "SUCCESS");
      if (results.length === 0) complain(`${lesson}: ${request.title} expects nothing`);
      if (good && failed.length > 0) {
        complain(`${lesson}: ${request.title}: ${failed.map((f) => f.message).join(", ")}`);
      }
      if (!good && failed.length === 0) complain(`${lesson}: ${request.title} passes ${name}`);
    }
    const there = (text.match(/^### /gm) ?? []).length;
    if (played.length !== there) complain(`${lesson}: ${played.length} of ${there} requests were sent`);
    const failed = played.filter((r) => r.testResults?.some((result) => result.status !== "SUCCESS"));
    console.log(`${lesson}: ${failed.length} of ${played.length} requests fail ${name}`);
  }
}
process.exitCode = wrong === 0 ? 0 : 1;

/** Sends all requests of a file and returns each with the results of what it expects. */
function play(lesson, text) {
  const file = join(folder, `${lesson}.http`);
  writeFileSync(file, text);
  const program = join(HTTPYAC, "node_modules/.bin/httpyac");
  const output = spawnSync(program, ["send", file, "--all", "--json", "--timeout", "20000"], {
    cwd: folder,
    encoding: "utf8",
    timeout: 120_000,
  });
  try {
    return JSON.parse(output.stdout).requests;
  } catch {
    complain(`${lesson}: httpyac says ${output.stdout}${output.stderr}`);
    return [];
  }
}

function install() {
  const manifest = join(HTTPYAC, "node_modules/httpyac/package.json");
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === VERSION) return;
  const npm = ["install", "--silent", "--no-audit", "--no-fund", "--prefix", HTTPYAC, `httpyac@${VERSION}`];
  const { status } = spawnSync("npm", npm, { stdio: "inherit" });
  if (status !== 0) throw new Error("npm could not install httpyac");
}
