// Watches the live page while workers come and go, the one that serves it among them.

import { connect } from "node:net";

import { assert, check, readable, switchesLanguage } from "./lib.mjs";

const cards = (page) => page.locator("#workers article");
const numbers = async (page) => (await page.locator("#workers h3").allInnerTexts()).map((text) => parseInt(text, 10));
/** Watches from now on where each card and each line in it is. */
const watchPlaces = (page) => page.evaluate(() => {
  const seen = (window.seen = new Set());
  const look = () => {
    seen.add(JSON.stringify([...document.querySelectorAll("#workers article, #workers article > *")].map((card) => {
      const { x, y, width, height } = card.getBoundingClientRect();
      return [x, y + scrollY, width, height];
    })));
    requestAnimationFrame(look);
  };
  look();
});
/** No line of a card is wider than its card. */
const linesFit = async (page) => assert.deepEqual(await page.locator("article > *").evaluateAll((all) =>
  all.filter((line) => line.scrollWidth > line.clientWidth).map((line) => line.innerText)), []);
const placesSeen = (page) => page.evaluate(() => [...window.seen]);

await check("cluster", { env: { WORKERS: "4", CRASH_AFTER_MS: "3000" } }, async ({ page, url, server }) => {
  await page.goto(url);
  await page.getByRole("heading", { name: "Hello Node!", exact: true }).waitFor();
  assert.equal(await page.locator("p").textContent(), "Hello Cluster!");

  await page.goto(`${url}cluster`);
  await cards(page).nth(3).waitFor();
  await watchPlaces(page);
  assert.match(await page.locator("#master").textContent(), /^\d+$/);
  await page.getByText(/다음 연결은 \d+번 워커에게/).waitFor();
  await page.getByText(/첫 요청을 받고 3초 뒤에 일부러 코드 1로 종료합니다\(CRASH_AFTER_MS=3000\)/).waitFor();

  // The first request above has started one worker's clock: somebody new comes in its place.
  await server.printed(/번 워커가 종료되었습니다\.$/);
  await page.waitForFunction(() => document.querySelectorAll("article.ready").length === 4);

  // Three requests over one connection reach one worker. It ends, and the page says why, with
  // the words of the terminal.
  await page.getByRole("button", { name: "요청 세 번 보내기" }).click();
  const answers = page.getByText(/GET \/ 세 번 →/);
  const [, pid] = /→ (\d+)번, \1번, \1번 워커: 모두 한 워커가 답했습니다/.exec(await answers.textContent());
  await page.getByText(
    new RegExp(`${pid}번 워커 종료 \\(code 1 signal null\\): 첫 요청을 받고 3초가 지났습니다`)).waitFor();
  await server.printed(`${pid}번 워커가 종료되었습니다.`);
  await page.waitForFunction(() => document.querySelectorAll("article.ready").length === 4);
  assert.equal((await placesSeen(page)).length, 1, "no card has moved or changed its size");
});

await check("cluster", { env: { WORKERS: "3", CRASH_AFTER_MS: "off" } }, async ({ page, url, server, expect }) => {
  await page.goto(`${url}cluster`);
  await cards(page).nth(2).waitFor();
  await page.getByText("CRASH_AFTER_MS=off로 켰으므로 요청 때문에 종료하는 워커는 없습니다.").waitFor();
  await page.getByRole("button", { name: "요청 세 번 보내기" }).click();
  await page.getByText(/GET \/ 세 번 → (\d+)번, \1번, \1번 워커/).waitFor();
  // The browser's own request for a favicon counts too.
  await page.waitForFunction(() =>
    [...document.querySelectorAll("#workers dd:nth-of-type(2)")].some((dd) => Number(dd.textContent) >= 3));
  await watchPlaces(page);

  // Ends whoever serves this page; the page goes on, and the place is filled again.
  for (let n = 0; n < 3; n += 1) {
    const serving = page.locator("article", { hasText: "이 화면에 답함" });
    const pid = parseInt(await serving.locator("h3").innerText(), 10);
    await page.getByRole("button", { name: `${pid}번 워커 종료`, exact: true }).press("Enter");
    await page.getByText(
      `${pid}번 워커 종료 (code 1 signal null): 이 화면에서 종료를 요청했습니다`).first().waitFor();
    await page.waitForFunction((pid) =>
      ![...document.querySelectorAll("h3")].some((h3) => parseInt(h3.innerText, 10) === pid)
      && document.querySelectorAll("article.ready").length === 3, pid);
    await server.printed(`${pid}번 워커가 종료되었습니다.`);
  }
  assert.equal(new Set(await numbers(page)).size, 3);
  assert.equal((await placesSeen(page)).length, 1, "no card has moved or changed its size");
  assert.equal(await page.locator("#message").innerText(), "");

  await readable(page);
  await switchesLanguage(page, "마스터", "Master");
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });

  // Nobody there: it says so, and does not break.
  expect(/ERR_CONNECTION_\w+ \(\/cluster\/status/);
  await server.stop();
  await page.getByText("답이 없습니다. 다시 물어봅니다.").waitFor();
});

// A worker that takes nothing: shown as such, ended by the master, with the reason.
await check("cluster", { env: { WORKERS: "3", CRASH_AFTER_MS: "off" } }, async ({ page, url }) => {
  await page.goto(`${url}cluster`);
  await cards(page).nth(2).waitFor();
  await watchPlaces(page);
  const idle = page.locator("article.ready", { hasNotText: "이 화면에 답함" }).first();
  const pid = parseInt(await idle.locator("h3").innerText(), 10);
  process.kill(pid, "SIGSTOP");
  const { port } = new URL(url);
  const clients = Array.from({ length: 6 }, () => connect(Number(port), "127.0.0.1"));
  clients.forEach((client) => client.on("error", () => {}));
  const stuck = page.locator("article.stuck");
  await stuck.getByText("멈춤", { exact: true }).waitFor();
  await stuck.getByText("연결을 가져가지 않음").waitFor();
  assert.equal(parseInt(await stuck.locator("h3").innerText(), 10), pid);
  assert.ok(await stuck.getByRole("button").isEnabled());
  await readable(page);
  await linesFit(page);
  await page.getByText(`${pid}번 워커 종료 (code null signal SIGKILL): 연결을 5초 동안 가져가지 않아`).waitFor();
  await page.waitForFunction(() => document.querySelectorAll("article.ready").length === 3);
  assert.equal((await placesSeen(page)).length, 1, "no card has moved or changed its size");
  clients.forEach((client) => client.destroy());
  // Killed by somebody else.
  const other = (await numbers(page))[0];
  process.kill(other, "SIGKILL");
  await page.getByText(`${other}번 워커 종료 (code null signal SIGKILL): 시그널을 받았습니다`).waitFor();
});

const english = { context: { locale: "en-US" }, env: { WORKERS: "2", CRASH_AFTER_MS: "3000", LC_ALL: "C.UTF-8" } };
await check("cluster", english, async ({ page, url }) => {
  await page.goto(`${url}cluster`);
  await page.getByText(/The next connection goes to worker \d+/).waitFor();
  await linesFit(page);
  await page.getByRole("button", { name: "Send three requests" }).click();
  await page.getByText(/GET \/ three times → workers (\d+), \1, \1: one worker answered all/).waitFor();
  await page.getByText(/worker \d+ ended \(code 1 signal null\): 3 s after its first request/).waitFor();
  await page.locator("article.ready").nth(1).waitFor(); // the new one is there
  const [pid] = await numbers(page);
  await page.getByRole("button", { name: `${pid} End worker`, exact: true }).click();
  await page.getByText(`Asked worker ${pid} to end`).waitFor();
});
