// The race of 200 pictures: one connection over HTTP/2, six at most over HTTP/1.1, as the
// server counted them; and a page that says so when HTTP/2 does not win.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, check } from "./lib.mjs";

const CERTS_DIR = mkdtempSync(join(tmpdir(), "lesson-certs-"));
process.on("exit", () => rmSync(CERTS_DIR, { recursive: true, force: true }));
const options = { env: { CERTS_DIR }, context: { ignoreHTTPSErrors: true } };

await check("http2", options, async ({ page, url, server, expect }) => {
  const done = (protocol) => page.waitForSelector(`body[data-done=${protocol}]`);
  const says = () => page.textContent("#message");
  const row = async (protocol) => {
    const cells = await page.locator(`#${protocol} td`).allTextContents();
    return { time: cells[0], connections: Number(cells[1]), streams: Number(cells[2]) };
  };

  await page.goto(url);
  assert.equal(await page.textContent("h1"), "Hello Node!");

  await page.goto(`${url}tiles?delay=20`);
  await done("h2");
  assert.equal(await page.textContent("h1"), "그림 200장을 HTTP/2로 받기");
  let result = await row("h2");
  assert.match(result.time, /^\d+ ms$/);
  assert.deepEqual([result.connections, result.streams], [1, 200]);
  assert.equal((await row("h1")).time, "-");
  assert.match(await says(), /HTTP\/1\.1에서 열어 비교/);
  assert.equal(await page.locator("#tiles img").count(), 200);
  assert.equal(await page.locator("#waterfall rect").count(), 600);
  assert.equal(await page.textContent("nav a[aria-current]"), "20 ms");
  const protocols = await page.evaluate(() => [...new Set(performance.getEntriesByType("resource")
    .filter((entry) => entry.name.includes("/tile/")).map((entry) => entry.nextHopProtocol))]);
  assert.deepEqual(protocols, ["h2"]);
  const before = result.time;

  // The same page beside it, by the keyboard; it brings the first result along.
  await page.locator("#h1 a").focus();
  await page.keyboard.press("Enter");
  await done("h1");
  assert.notEqual(new URL(page.url()).port, new URL(url).port);
  assert.equal(await page.textContent("h1"), "그림 200장을 HTTP/1.1로 받기");
  result = await row("h1");
  assert.ok(result.connections >= 2 && result.connections <= 6, `${result.connections}`);
  assert.equal(result.streams, 200);
  assert.equal((await row("h2")).time, before);
  assert.match(await says(), /(배 빨랐습니다|차이가 거의 없습니다)/);

  // And back: each load of the page is counted by itself.
  await page.locator("#h2 a").click();
  await done("h2");
  result = await row("h2");
  assert.deepEqual([result.connections, result.streams], [1, 200]);

  // What it says when HTTP/2 does not win, and of results that nobody measured.
  await page.goto(`${url}tiles?delay=0&h1=1-6-200`);
  await done("h2");
  assert.match(await says(), /이번에는 HTTP\/2가 이기지 못했습니다.*지연을 100 ms로/);
  await page.goto(`${url}tiles?delay=0&h1=<b>1</b>`);
  await done("h2");
  assert.equal((await row("h1")).time, "-");

  // A picture that does not come: the page says so.
  await page.locator("nav a", { hasText: "100 ms" }).click();
  await done("h2");
  expect(/ERR_/);
  await page.route("**/tile/7.svg*", (route) => route.abort());
  await page.reload();
  await done("h2");
  assert.match(await says(), /1장을 받지 못했습니다/);
  assert.equal(await server.stop(), 0);
});
