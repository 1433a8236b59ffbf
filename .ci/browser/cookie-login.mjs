// Logs in and out as a person does, with a name that is hard on cookies.

import { assert, check } from "./lib.mjs";

const NAME = '안니 😀 "a;b=c%"';

await check("cookie-login", async ({ page, context, url }) => {
  const text = () => page.locator("body").textContent();
  const scriptsSee = () => page.evaluate(() => document.cookie);

  await page.goto(url);
  await page.getByRole("heading", { name: "로그인" }).waitFor();
  assert.equal(await scriptsSee(), "");
  // The field has the focus; an empty name the browser holds back by itself.
  await page.keyboard.press("Enter");
  assert.equal(page.url(), url);
  await page.keyboard.type(NAME);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  await page.keyboard.press("Enter");
  await page.getByText(`${NAME}님 안녕하세요`, { exact: true }).waitFor();
  assert.equal(page.url(), url, "the redirect took the name out of the address");
  assert.equal(await scriptsSee(), "");

  await page.reload();
  assert.equal(await text(), `${NAME}님 안녕하세요`);
  await page.goto(`${url}any/path`);
  assert.equal(await text(), `${NAME}님 안녕하세요`);
  assert.equal(await scriptsSee(), "");
  const [cookie, ...others] = await context.cookies();
  assert.deepEqual(others, []);
  assert.equal(cookie.name, "name");
  assert.equal(decodeURIComponent(cookie.value), NAME, "anybody at this computer can read it");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Lax" && cookie.path === "/");
  const lifetime = cookie.expires - Date.now() / 1000;
  assert.ok(lifetime > 200 && lifetime < 310, `${lifetime} s`);

  await page.goto(`${url}logout`);
  assert.equal(page.url(), url);
  await page.getByLabel("이름").waitFor();
  assert.deepEqual(await context.cookies(), []);
  await page.goBack();
  assert.ok(!(await text()).includes("안녕하세요"), "no copy of the greeting was kept");
  assert.equal(await scriptsSee(), "");
});
