// The race of 200 pictures: the page measures both protocols by itself, one connection over
// HTTP/2, six at most over HTTP/1.1, as the server counted them; and says so when HTTP/2 is
// slower.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, check, readable, switchesLanguage } from "./lib.mjs";

const CERTS_DIR = mkdtempSync(join(tmpdir(), "lesson-certs-"));
process.on("exit", () => rmSync(CERTS_DIR, { recursive: true, force: true }));
const options = { env: { CERTS_DIR }, context: { ignoreHTTPSErrors: true } };

/**
 * Between the two measurements the page waits 1.5 s: a check may be slower. So from here on it
 * waits until it is told to go on.
 */
const holdBetween = (page) => page.addInitScript(() => {
  const { setTimeout } = window;
  window.setTimeout = (next, ms) => (ms >= 1500 ? (window.goOn = next) : setTimeout(next, ms));
});
const goOn = (page) => page.evaluate(() => window.goOn());
const done = (page) => page.waitForSelector("body[data-done]");
const says = (page) => page.locator("#message").innerText();
const result = async (page, protocol) => {
  const [time, connections, streams] = await page.locator(`#${protocol} dd`).allTextContents();
  return { time, connections: Number(connections), streams: Number(streams) };
};
const bars = (page, protocol) => page.locator(`#${protocol} svg rect`).count();
/** The page's sentence follows from the two times that it shows, whichever is the shorter one. */
const saysWhatItShows = async (page, { faster, same, slower }) => {
  const [h1, h2] = [await result(page, "h1"), await result(page, "h2")].map(({ time }) => parseInt(time));
  const ratio = h1 / Math.max(h2, 1);
  assert.match(await says(page), ratio >= 1.1 ? faster : ratio > 0.9 ? same : slower);
};
const KOREAN = {
  faster: /HTTP\/2가 \d+\.\d배 빨랐습니다/,
  same: /차이가 거의 없습니다/,
  slower: /이번에는 HTTP\/2가 더 느렸습니다/,
};
const ENGLISH = {
  faster: /^HTTP\/2 was \d+\.\d times as fast/,
  same: /^There is hardly a difference/,
  slower: /^This time HTTP\/2 was slower/,
};
/** What the page would have measured at the other port. */
const fragment = (protocol, ms) =>
  `#language=ko&protocol=${protocol}&ms=${ms}&connections=6&streams=200&times=0.0.${ms * 10}.${ms * 10}`;

await check("http2", options, async ({ page, url, server }) => {
  await page.goto(url);
  assert.equal(await page.textContent("h1"), "Hello Node!");

  // HTTP/2 first, with a look at the result; then the same page at the other port.
  await holdBetween(page);
  await page.goto(`${url}tiles?delay=20`);
  await page.getByText(/HTTP\/2로는 \d+ ms 걸렸습니다. 이제 HTTP\/1.1로 잽니다/).waitFor();
  const over = await result(page, "h2");
  assert.match(over.time, /^\d+ ms$/);
  assert.deepEqual([over.connections, over.streams], [1, 200]);
  const protocols = await page.evaluate(() => [...new Set(performance.getEntriesByType("resource")
    .filter((entry) => entry.name.includes("/tile/")).map((entry) => entry.nextHopProtocol))]);
  assert.deepEqual(protocols, ["h2"]);

  await goOn(page);
  await done(page);
  const there = new URL(page.url());
  assert.notEqual(there.port, new URL(url).port);
  assert.equal(`${there.search}${there.hash}`, "?delay=20");
  const beside = await result(page, "h1");
  assert.match(beside.time, /^\d+ ms$/);
  assert.ok(beside.connections >= 2 && beside.connections <= 6, `${beside.connections}`);
  assert.equal(beside.streams, 200);
  assert.deepEqual(await result(page, "h2"), over, "the first result stands beside it");
  await saysWhatItShows(page, KOREAN);
  assert.equal(await page.locator("#tiles img").count(), 200);
  assert.deepEqual([await bars(page, "h1"), await bars(page, "h2")], [600, 600]);
  assert.equal(await page.textContent("nav a[aria-current]"), "20 ms");
  await page.getByText(/파랑: 요청을 보낸 뒤 응답의 첫 바이트가 올 때까지/).waitFor();

  // One axis for both, with a label at each end, all within the picture and none over another.
  const labels = (protocol) => page.locator(`#${protocol} svg text`);
  const axis = await labels("h1").allTextContents();
  assert.deepEqual(await labels("h2").allTextContents(), axis);
  assert.equal(axis[0], "0");
  assert.match(axis.at(-1), /^\d+ ms$/);
  assert.ok(parseInt(axis.at(-1)) >= Math.max(parseInt(over.time), parseInt(beside.time)));
  const boxes = await page.locator("#h1 svg text, #h1 svg").evaluateAll((all) =>
    all.map((element) => element.getBoundingClientRect()).map(({ left, right }) => ({ left, right })));
  const [svg, ...texts] = boxes;
  for (const [n, { left, right }] of texts.entries()) {
    assert.ok(left >= (n ? texts[n - 1].right : svg.left) && right <= svg.right, `label ${n}`);
  }
  // Side by side.
  const [left, right] = [await page.locator("#h1").boundingBox(), await page.locator("#h2").boundingBox()];
  assert.equal(left.y, right.y);
  assert.ok(left.x + left.width <= right.x);
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).wordBreak), "keep-all");
  await readable(page);

  // Another delay, by the keyboard: both once more, beginning with HTTP/1.1, as we are there.
  await page.getByRole("link", { name: "100 ms" }).focus();
  await page.keyboard.press("Enter");
  await page.getByText(/HTTP\/1.1로는 \d+ ms 걸렸습니다. 이제 HTTP\/2로 잽니다/).waitFor();
  await goOn(page);
  await done(page);
  assert.equal(new URL(page.url()).port, new URL(url).port);
  assert.deepEqual([(await result(page, "h2")).connections, (await result(page, "h1")).streams], [1, 200]);
  await saysWhatItShows(page, KOREAN);
  // One step back is where we came from, not the measurement in between.
  await page.goBack();
  assert.equal(new URL(page.url()).search, "?delay=20");
  await page.getByText(/이제 HTTP\/\S+ 잽니다/).waitFor();
  await goOn(page);
  await done(page);
  assert.equal(await server.stop(), 0);
});

await check("http2", options, async ({ page, url, expect }) => {
  // What it says when HTTP/2 is faster, and when it is slower.
  await page.goto(`${url}tiles?delay=0${fragment("h1", 99_999)}`);
  await done(page);
  assert.match(await says(page), KOREAN.faster);
  await page.goto("about:blank");
  await page.goto(`${url}tiles?delay=0${fragment("h1", 1)}`);
  await done(page);
  assert.match(await says(page), /이번에는 HTTP\/2가 더 느렸습니다.*지연을 100 ms로/);
  // A result that nobody measured is no result, and none of it gets into the page.
  for (const bad of ["#protocol=h1&ms=<b>1</b>", "#protocol=h3&ms=1", "#x", `${fragment("h1", 1)}.-1`]) {
    await page.goto("about:blank");
    await page.goto(`${url}tiles?delay=0${bad}`);
    await done(page);
    assert.equal((await result(page, "h1")).time, "-");
    assert.equal(new URL(page.url()).hash, "");
  }
  // A picture that does not come: the page says so, and measures no further.
  expect(/ERR_/);
  await page.route("**/tile/7.svg*", (route) => route.abort());
  await page.goto(`${url}tiles?delay=100`);
  await done(page);
  assert.match(await says(page), /1장을 받지 못했습니다/);
  assert.equal((await result(page, "h1")).time, "-");
});

// Nothing to compare with: it says so, and does not go back and forth.
await check("http2", { ...options, env: { CERTS_DIR, ALPN: "http/1.1" } }, async ({ page, url }) => {
  await page.goto(`${url}tiles?delay=0`);
  await done(page);
  assert.match(await says(page), /HTTP\/2 연결을 열 수 없어/);
});

await check("http2", options, async ({ page, url }) => {
  await holdBetween(page);
  await page.goto(`${url}tiles?delay=0${fragment("h1", 1)}`);
  await done(page);
  await switchesLanguage(page, "그림 200장 받기", "Loading 200 pictures");
  // The choice goes along to the other port, though a browser keeps it for each by itself.
  await page.getByRole("button", { name: "English" }).click();
  await page.reload();
  await page.getByText(/^\d+ ms over HTTP\/2. Now over HTTP\/1.1/).waitFor();
  await goOn(page);
  await done(page);
  await page.getByRole("heading", { name: "Loading 200 pictures" }).waitFor();
  await saysWhatItShows(page, ENGLISH);
});

const english = { ...options, context: { ...options.context, locale: "en-US" } };
await check("http2", english, async ({ page, url }) => {
  await holdBetween(page);
  await page.goto(`${url}tiles?delay=100`);
  await page.getByText(/^\d+ ms over HTTP\/2. Now over HTTP\/1.1/).waitFor();
  await goOn(page);
  await done(page);
  await saysWhatItShows(page, ENGLISH);
});
