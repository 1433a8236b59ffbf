// The READMEs' pictures of the pages, in both languages, each below 60 KB. They are made into
// target/screenshots, so that a check changes nothing in the tree; SCREENSHOTS names another
// folder. That one cannot be made, or is too large, is a failure. That pixels differ is none.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { TARGET } from "../lessons.mjs";
import { assert, check } from "./lib.mjs";

const FOLDER = process.env.SCREENSHOTS || join(TARGET, "screenshots");
const MAX_BYTES = 60_000;

mkdirSync(FOLDER, { recursive: true });

/** Writes what the window shows. */
async function save(page, name) {
  assert.ok(await page.evaluate(drawsHangul), "no Korean font: apt-get install fonts-nanum");
  const session = await page.context().newCDPSession(page);
  let picture;
  for (const quality of [80, 65, 50, 35]) {
    const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality });
    picture = Buffer.from(data, "base64");
    if (picture.length < MAX_BYTES) break;
  }
  assert.ok(picture.length < MAX_BYTES, `${name}: ${picture.length} bytes`);
  writeFileSync(join(FOLDER, `${name}.webp`), picture);
}

/** Without a font for it, each letter is the same empty box. */
function drawsHangul() {
  const [a, b] = ["가", "나"].map((letter) => {
    const canvas = document.createElement("canvas");
    canvas.getContext("2d").fillText(letter, 10, 30);
    return canvas.toDataURL();
  });
  return a !== b;
}

const size = (width, height) => ({ viewport: { width, height } });
// The login page has both languages, one below the other.
await check("cookie-login", { context: size(1100, 840) }, async ({ page, url }) => {
  await page.goto(url);
  await save(page, "cookie-login");
});

for (const [language, locale] of [["ko", "ko-KR"], ["en", "en-US"]]) {
  await check("rest", { context: { locale, ...size(800, 540) } }, async ({ page, url }) => {
    for (const name of ["Annie", "안니", "Grace Hopper"]) {
      await page.request.post(`${url}user`, { data: { name } });
    }
    await page.goto(url);
    await page.locator("#users button").nth(2).click();
    await save(page, `rest.${language}`);
  });

  const tiles = { ignoreHTTPSErrors: true, locale, ...size(1100, 800) };
  await check("http2", { context: tiles }, async ({ page, url }) => {
    await page.goto(`${url}tiles?delay=100`);
    await page.waitForSelector("body[data-done]");
    await save(page, `http2.${language}`);
  });

  const env = { WORKERS: "4", CRASH_AFTER_MS: "4000" };
  await check("cluster", { env, context: { locale, ...size(1320, 780) } }, async ({ page, url }) => {
    await page.goto(`${url}cluster`);
    await page.locator("article.ready").nth(3).waitFor();
    await page.locator("article button").nth(1).click();
    await page.locator("#events li").nth(2).waitFor(); // asked, ended, started
    await page.locator("article.ready").nth(3).waitFor();
    await page.locator("#ask").click();
    await page.locator("#events li", { hasText: "GET /" }).waitFor();
    await save(page, `cluster.${language}`);
  });
}
