// Signs up, keeps the list of users and logs out, as a person does.

import { assert, check, readable, switchesLanguage } from "./lib.mjs";

const options = {
  env: { HTTP_PORT: "0", ADMIN_PORT: "0", REDIS_URL: "" },
  context: { ignoreHTTPSErrors: true },
};
const MARKUP = "<img src=x onerror=alert(1)>";

await check("production", options, async ({ page, context, url, expect }) => {
  await page.goto(url);
  await switchesLanguage(page, "로그인", "Log in");
  await readable(page);

  const login = page.locator('form[action="/login"]');
  await login.locator('[name="name"]').fill("annie");
  await login.locator('[name="password"]').fill("correct horse");
  expect(/401.*\/login/);
  await page.keyboard.press("Enter");
  await login.getByRole("alert").filter({ hasText: /\S/ }).waitFor();
  assert.equal(page.url(), url, "the error stands beside the form");

  const signUp = page.locator('form[action="/signup"]');
  await signUp.locator('[name="name"]').fill("annie");
  await signUp.locator('[name="password"]').fill("correct horse");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "내 계정" }).waitFor();
  await switchesLanguage(page, "내 계정", "My account");
  await readable(page);
  const [cookie] = await context.cookies();
  assert.equal(cookie.name, "__Host-session");
  assert.ok(cookie.secure && cookie.httpOnly && cookie.sameSite === "Lax" && cookie.path === "/");
  assert.equal(await page.evaluate(() => document.cookie), "");

  await page.locator("#shown").fill("안니 😀");
  await page.keyboard.press("Enter");
  await page.locator("#me", { hasText: "안니 😀" }).waitFor();
  for (const name of ["Bob", MARKUP]) {
    await page.locator("#name").fill(name);
    await page.keyboard.press("Enter");
    await page.getByText(name, { exact: true }).first().waitFor();
  }
  assert.deepEqual(Object.values(await (await page.request.get(`${url}users`)).json()), ["Bob", MARKUP]);
  assert.equal(await page.locator("main img").count(), 0, "a name is text, not markup");

  await page.getByRole("button", { name: "모든 기기에서 로그아웃" }).click();
  await page.getByRole("heading", { name: "로그인" }).waitFor();
  assert.equal((await page.request.get(`${url}me`)).status(), 401);
});

// Forms work without a script as well.
const noScript = { ...options, context: { ...options.context, javaScriptEnabled: false } };
await check("production", noScript, async ({ page, url }) => {
  await page.goto(url);
  const signUp = page.locator('form[action="/signup"]');
  await signUp.locator('[name="name"]').fill("annie");
  await signUp.locator('[name="password"]').fill("correct horse");
  await signUp.getByRole("button").click();
  await page.locator('form[action="/logout"]').waitFor();
  await page.locator('form[action="/logout"]').getByRole("button").click();
  await signUp.waitFor();
});
