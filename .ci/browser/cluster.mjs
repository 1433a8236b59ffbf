// Watches the live page while workers come and go, the one that serves it among them.

import { assert, check } from "./lib.mjs";

const cards = (page) => page.locator("#workers article");
const pids = (page) => page.locator("#workers h3").allTextContents();

await check("cluster", { env: { WORKERS: "4" } }, async ({ page, url }) => {
  await page.goto(url);
  await page.getByRole("heading", { name: "Hello Node!", exact: true }).waitFor();
  assert.equal(await page.locator("p").textContent(), "Hello Cluster!");

  await page.goto(`${url}cluster`);
  await cards(page).nth(3).waitFor();
  assert.match(await page.locator("#master").textContent(), /^\d+$/);
  await page.getByText(/다음 연결은 \d+번 워커에게/).waitFor();

  // The first request above has started one worker's clock: somebody new comes in its place.
  await page.getByText(/\d+번 워커 시작/).first().waitFor();
  assert.equal(await cards(page).count(), 4);
});

await check("cluster", { env: { WORKERS: "3", CRASH_AFTER_MS: "off" } }, async ({ page, url, server, expect }) => {
  await page.goto(`${url}cluster`);
  await cards(page).nth(2).waitFor();
  await page.getByRole("button", { name: "요청 보내기" }).click();
  await page.getByText(/GET \/ → 200, \d+번 워커/).waitFor();
  // The browser's own request for a favicon counts too.
  await page.waitForFunction(() =>
    [...document.querySelectorAll("#workers dd:nth-of-type(2)")].some((dd) => dd.textContent !== "0"));

  // Ends whoever serves this page; the page goes on, and the place is filled again.
  for (let n = 0; n < 3; n += 1) {
    const serving = page.locator("article", { hasText: "이 화면에 답함" });
    const pid = parseInt(await serving.locator("h3").textContent(), 10);
    await page.getByRole("button", { name: `${pid}번 워커 종료`, exact: true }).click();
    await page.getByText(`${pid}번 워커 종료`).first().waitFor();
    await page.waitForFunction((pid) =>
      ![...document.querySelectorAll("h3")].some((h3) => h3.textContent === `${pid}번`)
      && document.querySelectorAll("article.ready").length === 3, pid);
    assert.ok(server.lines.includes(`${pid}번 워커가 종료되었습니다.`));
  }
  assert.equal(new Set(await pids(page)).size, 3);
  assert.equal(await page.locator("#message").textContent(), "");
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });

  // Nobody there: it says so, and does not break.
  expect(/ERR_CONNECTION_REFUSED.*\/cluster\/status/);
  await server.stop();
  await page.getByText("답이 없습니다. 다시 물어봅니다.").waitFor();
});
