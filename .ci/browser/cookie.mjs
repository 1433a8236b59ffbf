// The browser sends the cookie back by itself, with the favicon that nobody asked for too.

import { assert, check } from "./lib.mjs";

await check("cookie", async ({ page, context, url, server }) => {
  await page.goto(url);
  assert.equal(await page.locator("body").textContent(), "Hello Cookie");
  await server.printed("/ undefined");
  await page.reload();
  await server.printed("/ mycookie=test");
  // A cookie without HttpOnly is every script's.
  assert.equal(await page.evaluate(() => document.cookie), "mycookie=test");
  const [cookie] = await context.cookies();
  assert.equal(cookie.expires, -1, "it ends with the browser");
  // Headless Chromium asks for no favicon by itself.
  await page.evaluate(() => fetch("/favicon.ico"));
  await server.printed("/favicon.ico mycookie=test");
});
