// A page from a file: an edit shows after a reload, a missing file is said and comes back.

import { renameSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { assert, check, copyHtml, readable } from "./lib.mjs";

const HTML_DIR = copyHtml();
const file = join(HTML_DIR, "server-html.html");

await check("fs-html", { env: { HTML_DIR } }, async ({ page, url, expect }) => {
  await page.goto(url);
  await page.getByText("This page is the file").waitFor();
  await readable(page, 13);
  const title = await page.locator("h1").textContent();
  const before = readFileSync(file, "utf8");
  writeFileSync(file, before.replace(/<h1>.*<\/h1>/, "<h1>고친 제목</h1>"));
  await page.reload();
  assert.equal(await page.locator("h1").textContent(), "고친 제목");

  renameSync(file, `${file}.away`);
  expect(/500/);
  assert.equal((await page.reload()).status(), 500);
  assert.match(await page.locator("body").textContent(), /server-html\.html/);
  writeFileSync(file, before);
  assert.equal((await page.reload()).status(), 200);
  assert.equal(await page.locator("h1").textContent(), title);
});
