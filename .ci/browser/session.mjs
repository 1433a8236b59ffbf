// Logs in and out as a person does. What the browser holds says nothing, and dies with a logout.

import { PATIENCE, assert, check, readable } from "./lib.mjs";

const NAME = '안니 😀 "a;b=c%"';

await check("session", async ({ page, context, url }) => {
  const text = () => page.locator("body").textContent();
  const scriptsSee = () => page.evaluate(() => document.cookie);
  const login = async (name) => {
    await page.goto(url);
    await page.getByLabel("이름").fill(name);
    await page.getByRole("button", { name: "로그인" }).click();
    await page.getByText(`${name}님 안녕하세요`, { exact: true }).waitFor();
    assert.equal(page.url(), url, "the redirect took the name out of the address");
    assert.equal(await scriptsSee(), "");
    const [cookie, ...others] = await context.cookies();
    assert.deepEqual(others, []);
    return cookie;
  };

  await page.goto(url);
  await readable(page);
  const shown = await page.locator("dt code").last().textContent();
  const cookie = await login(NAME);
  assert.equal(cookie.name, "session");
  assert.match(cookie.value, /^[0-9a-f]{32}$/);
  assert.match(shown, /^session=[0-9a-f]{32}$/, "the login page shows such a cookie");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Lax" && cookie.path === "/");
  await page.reload();
  assert.equal(await text(), `${NAME}님 안녕하세요`);

  // Another login in the same browser is another session.
  const again = page.request.get(`${url}login?name=Bob`);
  assert.equal(await (await again).text(), "Bob님 안녕하세요");
  const [renewed] = await context.cookies();
  assert.notEqual(renewed.value, cookie.value);

  await page.goto(`${url}logout`);
  await page.getByRole("heading", { name: "로그인", level: 1 }).waitFor();
  assert.deepEqual(await context.cookies(), []);
  assert.equal(await scriptsSee(), "");
  // Whoever kept a copy of the cookies has nothing.
  for (const stolen of [cookie, renewed]) {
    await context.addCookies([stolen]);
    await page.goto(url);
    await page.getByRole("heading", { name: "로그인", level: 1 }).waitFor();
  }
  await page.goBack();
  assert.ok(!(await text()).includes("안녕하세요"), "no copy of the greeting was kept");
});

// A session that has ended by itself.
await check("session", { env: { SESSION_TTL_SECS: "1" } }, async ({ page, url }) => {
  await page.goto(`${url}login?name=Annie`);
  const deadline = Date.now() + PATIENCE;
  while (!(await page.getByLabel("이름").count())) {
    assert.ok(Date.now() < deadline, "the session has not ended");
    await page.reload();
  }
});
