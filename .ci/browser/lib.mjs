// What the browser checks share. A check is `.ci/browser/LESSON.mjs`:
//
//   import { assert, check } from "./lib.mjs";
//
//   await check("rest", async ({ page, url, server }) => {
//     await page.goto(url);
//     assert.equal(await page.title(), "사용자 관리");
//   });
//
// `bash .ci/browser-checks rest` builds the lesson, fetches playwright-core where it is
// missing, and runs the check; without names it runs all that are there.
//
// check(lesson, [options], run) starts the lesson's debug binary on a free port, takes the
// URL from its first line, runs `run` with a new page in Debian's Chromium, and stops both.
// It fails on what `run` throws, and on every console error, uncaught error, breach of the
// Content-Security-Policy and dialog that `run` did not announce. A file may call it more
// than once. Options, all of them optional:
//   env      environment of the server, beside free ports, a CERTS_DIR of its own and Korean
//   context  of the browser: { ignoreHTTPSErrors: true }, { javaScriptEnabled: false }
//   args     more arguments for Chromium
// `run` is given:
//   page     a Playwright page, https://playwright.dev/docs/api/class-page
//   context  what it lives in: cookies, more pages (these are watched as well)
//   url      "http://localhost:41234/"
//   server   .lines (printed so far), .stop(signal = "SIGTERM") → its exit status
//   expect   expect(/400.*\/user/): from here on console errors that match "text (url)" are
//            part of the check, which fails if none comes
//   copyHtml is exported: a temporary copy of html/ to change, for HTML_DIR

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";

import { PATIENCE, ROOT, TARGET, startLesson, temporaryFolder } from "../lessons.mjs";

export { assert };

const { chromium } = createRequire(join(TARGET, "browser", "package.json"))("playwright-core");

/** A copy of html/ that a check may change; removed at the end. */
export function copyHtml() {
  const folder = temporaryFolder();
  cpSync(join(ROOT, "html"), folder, { recursive: true });
  return folder;
}

/** Runs one check; ends the process with status 1 if it fails. */
export async function check(lesson, options, run = options) {
  const { env = {}, context: contextOptions = {}, args = [] } = run === options ? {} : options;
  const problems = [];
  const expected = new Map(); // pattern → how many came
  // The server's reasons and the browser's pages in one language, whatever the shell's is.
  const defaults = { LC_ALL: "ko_KR.UTF-8", CERTS_DIR: temporaryFolder() };
  const server = await startLesson(lesson, { ...defaults, ...env });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ...args,
    ],
  });
  try {
    const context = await browser.newContext({ locale: "ko-KR", ...contextOptions });
    context.setDefaultTimeout(PATIENCE);
    await context.addInitScript(() =>
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)));
    context.on("page", (page) => {
      page.on("pageerror", (error) => problems.push(`uncaught: ${error}`));
      page.on("dialog", (dialog) => {
        problems.push(`dialog: ${dialog.message()}`);
        dialog.dismiss();
      });
      page.on("console", (message) => {
        if (message.type() !== "error") return;
        const text = `${message.text()} (${message.location().url})`;
        const pattern = [...expected.keys()].find((pattern) => pattern.test(text));
        if (pattern) expected.set(pattern, expected.get(pattern) + 1);
        else problems.push(`console: ${text}`);
      });
    });
    const page = await context.newPage();
    const expect = (pattern) => expected.set(pattern, 0);
    await run({ page, context, url: server.url, server, expect });
    await page.evaluate(() => 0).catch(() => 0); // what the page said so far has arrived
    assert.deepEqual(problems, [], "the browser complained");
    const missing = [...expected].filter(([, count]) => count === 0);
    assert.deepEqual(missing, [], "announced errors that never came");
  } catch (error) {
    console.error(`${basename(process.argv[1])}: ${error.stack}`);
    for (const problem of problems) console.error(`  ${problem}`);
    console.error(`  ${lesson} printed:\n${server.lines.join("\n")}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
    await server.stop("SIGKILL");
  }
}
