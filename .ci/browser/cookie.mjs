// The browser sends the cookie back by itself, with the favicon that nobody asked for too.

import { assert, check } from "./lib.mjs";

await check("cookie", async ({ page, context, url, server }) => {
  const printed = async (line) => {
    for (let n = 0; n < 200 && !server.lines.includes(line); n++) await page.waitForTimeout(50);
    assert.ok(server.lines.includes(line), `${line} in\n${server.lines.join("\n")}`);
  };
  await page.goto(url);
  assert.equal(await page.locator("body").textContent(), "Hello Cookie");
  await printed("/ undefined");
  await page.reload();
  await printed("/ mycookie=test");
  // A cookie without HttpOnly is every script's.
  assert.equal(await page.evaluate(() => document.cookie), "mycookie=test");
  const [cookie] = await context.cookies();
  assert.equal(cookie.expires, -1, "it ends with the browser");
  // Headless Chromium asks for no favicon by itself.
  await page.evaluate(() => fetch("/favicon.ico"));
  await printed("/favicon.ico mycookie=test");
});
