// Logs in and out as a person does, with a name that is hard on cookies.

import { assert, check, readable } from "./lib.mjs";

const NAME = '안니 😀 "a;b=c%"';

await check("cookie-login", async ({ page, context, url }) => {
  const text = () => page.locator("body").textContent();
  const scriptsSee = () => page.evaluate(() => document.cookie);

  await page.goto(url);
  await page.getByRole("heading", { name: "로그인", level: 1 }).waitFor();
  assert.equal(await scriptsSee(), "");
  await readable(page);
  // Both languages are on the page: without a script it cannot follow the browser's.
  for (const language of [/5강 cookie-login: 쿠키가 이름 자체입니다/, /Lesson 5, cookie-login: the cookie is the name/]) {
    await page.getByText(language).waitFor();
  }
  const beside = await context.newPage();
  await beside.goto(url);
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

  // What the page says of it is so: the cookie is the name, encoded.
  const shown = await beside.locator("dt code").first().textContent();
  await page.request.get(`${url}login?name=${encodeURIComponent("안니")}`);
  const [{ name, value }] = await context.cookies();
  assert.equal(shown, `${name}=${value}`);

  // A page from before the login still has a link to log out.
  await beside.getByRole("link", { name: "로그아웃" }).click();
  await beside.getByLabel("이름").waitFor();
  assert.deepEqual(await context.cookies(), []);
  await page.goto(`${url}login?name=Annie`);
  await page.goto(`${url}logout`);
  assert.equal(page.url(), url);
  await page.getByLabel("이름").waitFor();
  assert.deepEqual(await context.cookies(), []);
  await page.goBack();
  assert.ok(!(await text()).includes("안녕하세요"), "no copy of the greeting was kept");
  assert.equal(await scriptsSee(), "");
});
