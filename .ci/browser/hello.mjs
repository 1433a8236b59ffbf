// The smallest page, and the favicon that a browser asks for by itself.

import { assert, check } from "./lib.mjs";

await check("hello", async ({ page, url }) => {
  await page.goto(url);
  await page.getByRole("heading", { name: "Hello Node!", exact: true }).waitFor();
  assert.deepEqual(await page.locator("p").allTextContents(), ["Hello Server!", "Hello Annie"]);
  assert.equal(await page.evaluate(() => document.characterSet), "UTF-8");
});
