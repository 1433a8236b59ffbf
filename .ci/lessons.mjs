// For the checks in this folder: starts lessons and their Node twins, ends them whatever
// happens, and runs a lesson's tests.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
export const PATIENCE = 20_000; // ms that one step may take: a hang is a failure

/** What is done when this process ends, however it ends. */
export const atExit = [];
process.on("exit", () => atExit.forEach((step) => step()));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** A new folder, removed at the end. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), "lessons-"));
  atExit.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * What chooses a lesson's tests. Without `-p`: cargo takes the features that all packages together
 * ask for, as `cargo test` does, and so has nothing to build when that has run.
 */
const testsOf = (lesson) =>
  lesson === "production" ? ["-p", lesson, "--test", lesson] : ["--test", lesson];

/** Starts a lesson's debug binary, built with its tests where it is out of date. */
export function startLesson(lesson, env) {
  const words = ["test", "--quiet", "--no-run", ...testsOf(lesson)];
  const build = spawnSync("cargo", words, { cwd: ROOT, stdio: "inherit" });
  if (build.status !== 0) throw new Error(`${lesson} does not build`);
  return start([join(TARGET, "debug", lesson)], env);
}

/** Starts a lesson's Node twin. */
export const startTwin = (lesson, env) =>
  start([process.execPath, join(ROOT, "examples/node", `${lesson}.js`)], env);

/** Starts a server on a free port and takes its URL from its first line. */
async function start([program, ...args], env) {
  const child = spawn(program, args, {
    env: { ...process.env, PORT: "0", H1_PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  atExit.push(() => child.kill("SIGKILL"));
  const ended = new Promise((resolve) => {
    child.on("error", resolve);
    child.on("exit", (code, signal) => resolve(code ?? signal));
  });
  const server = {
    url: "",
    lines: [],
    stop(signal = "SIGTERM") {
      child.kill(signal);
      return ended;
    },
    /** Waits for a line: what it tells of may be seen elsewhere before the line has come. */
    async printed(line) {
      const deadline = Date.now() + PATIENCE;
      while (!server.lines.some((is) => (line.test ? line.test(is) : is === line))) {
        if (Date.now() > deadline) throw new Error(`no line ${line} in\n${server.lines.join("\n")}`);
        await setTimeout(20);
      }
    },
  };
  createInterface(child.stderr).on("line", (line) => server.lines.push(line));
  await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error([`${program}: ${why}`, ...server.lines].join("\n")));
    setTimeout(PATIENCE, null, { ref: false }).then(() => fail("no first line"));
    ended.then((why) => fail(`ended with ${why}`));
    createInterface(child.stdout).on("line", (line) => {
      server.lines.push(line);
      // In the cluster lesson the lines of master and workers may come before it.
      const url = /서버 대기 중입니다 (\S+)$/.exec(line)?.[1];
      if (url && !server.url) {
        server.url = url;
        resolve();
      }
    });
  });
  return server;
}

/** Runs those of a lesson's tests that the arguments choose: which there were, which passed. */
export async function runTests(lesson, args, env) {
  const child = spawn(
    "cargo",
    ["test", ...testsOf(lesson), "--", ...args],
    { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (output += data));
  await once(child, "close");
  if (!/^test result: /m.test(output)) throw new Error(`${lesson}: no tests ran\n${output}`);
  const tests = [...output.matchAll(/^test (\S+) \.\.\. (ok|FAILED)$/gm)]
    .map(([, name, result]) => ({ name, passed: result === "ok" }));
  return { tests, output };
}
