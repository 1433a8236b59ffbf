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
//   server   .lines (printed so far), .printed(line or pattern), which waits for one,
//            .stop(signal = "SIGTERM") → its exit status
//   expect   expect(/400.*\/user/): from here on console errors that match "text (path)" are
//            part of the check, which fails if none comes
// Exported beside it:
//   copyHtml          a temporary copy of html/ to change, for HTML_DIR
//   switchesLanguage  the buttons for the language, by keyboard; no text lacks its other half
//   readable          contrast and size of all text, in light and dark

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";

import { PATIENCE, ROOT, TARGET, startLesson, temporaryFolder } from "../lessons.mjs";

export { PATIENCE, assert };

const { chromium } = createRequire(join(TARGET, "browser", "package.json"))("playwright-core");

/** A copy of html/ that a check may change; removed at the end. */
export function copyHtml() {
  const folder = temporaryFolder();
  cpSync(join(ROOT, "html"), folder, { recursive: true });
  return folder;
}

/**
 * Chooses English and then Korean by the keyboard, on a page whose main heading is `ko` or `en`.
 * The choice is remembered, and in English no Korean is left.
 */
export async function switchesLanguage(page, ko, en) {
  const shows = async (language, heading) => {
    await page.getByRole("heading", { name: heading, level: 1 }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), language);
    const pressed = page.locator('#language button[aria-pressed="true"]');
    assert.deepEqual(await pressed.evaluateAll((all) => all.map(({ lang }) => lang)), [language]);
  };
  const choose = async (name) => {
    const button = page.getByRole("button", { name, exact: true });
    for (let n = 0; n < 30 && !(await focused(button)); n++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.ok(await focused(button), "the focus stays");
  };
  await shows("ko", ko);
  const title = await page.title();
  await choose("English");
  await shows("en", en);
  assert.notEqual(await page.title(), title);
  await page.reload();
  await shows("en", en);
  assert.deepEqual(await page.evaluate(() => {
    const texts = document.body.innerText.split("\n");
    return texts.filter((text) => /[가-힣]/.test(text.replace("한국어", "")));
  }), [], "Korean in the English page");
  await choose("한국어");
  await shows("ko", ko);
  await page.reload();
  await shows("ko", ko);
}

export function focused(locator) {
  return locator.evaluate((element) => element === document.activeElement);
}

/**
 * All text has a contrast of 4.5 to 1 (WCAG 2.2, 1.4.3) in light and in dark, and 16 pixels;
 * 13, the browser's own size of code and buttons, where a lesson serves no style sheet.
 */
export async function readable(page, pixels = 16) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await page.evaluate(unreadableTexts, pixels), [], `hard to read: ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: null });
}

function unreadableTexts(pixels) {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const probe = document.body.appendChild(document.createElement("p"));
  probe.style.color = "Canvas";
  const canvas = numbers(getComputedStyle(probe).color);
  probe.remove();
  const background = (element) => {
    if (!element) return canvas;
    const color = numbers(getComputedStyle(element).backgroundColor);
    return (color[3] ?? 1) > 0.5 ? color : background(element.parentElement);
  };
  const opacity = (element) =>
    element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((n) => n / 255)
      .map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest(":disabled")) continue;
    const style = getComputedStyle(element);
    const [behind, own] = [background(element), numbers(style.color)];
    const color = own.slice(0, 3).map((n, i) => n * opacity(element) + behind[i] * (1 - opacity(element)));
    const [a, b] = [luminance(color), luminance(behind)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    if (contrast < 4.5 || size < pixels) poor.push(`${text}: ${contrast.toFixed(1)} to 1, ${size} px`);
  }
  return poor;
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
        const { url } = message.location();
        // Without the port, which may have any number in it.
        const text = `${message.text()} (${URL.canParse(url) ? new URL(url).pathname : url})`;
        const pattern = [...expected.keys()].find((pattern) => pattern.test(text));
        if (pattern) expected.set(pattern, expected.get(pattern) + 1);
        else problems.push(`console: ${text}`);
      });
    });
    const page = await context.newPage();
    const expect = (pattern) => expected.set(pattern, 0);
    await run({ page, context, url: server.url, server, expect });
    await page.evaluate(() => 0).catch(() => 0); // what the page said so far has arrived
    // An error of the network may come later than what the page makes of it.
    const missing = () => [...expected].filter(([, count]) => count === 0);
    const deadline = Date.now() + PATIENCE;
    while (missing().length > 0 && Date.now() < deadline) await page.waitForTimeout(20);
    assert.deepEqual(problems, [], "the browser complained");
    assert.deepEqual(missing(), [], "announced errors that never came");
  } catch (error) {
    console.error(`${lesson} printed:\n${server.lines.join("\n")}`);
    for (const problem of problems) console.error(`  ${problem}`);
    console.error(`${basename(process.argv[1])}: ${error.stack}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
    await server.stop("SIGKILL");
  }
}
