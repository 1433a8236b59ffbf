// Manages users through the page as a person does: by keyboard, by mouse, and with mistakes.

import { assert, check, focused, readable, switchesLanguage } from "./lib.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";

await check("rest", async ({ page, url, server, expect }) => {
  const users = () => page.locator("#users li > span").allTextContents();
  const says = (text) => page.locator("#message", { hasText: text }).waitFor();
  const stored = async () => Object.values(await (await page.request.get(`${url}users`)).json());

  await page.goto(url);
  await page.getByText("아직 등록된 사용자가 없습니다.").waitFor();
  assert.equal(await page.title(), "사용자 관리");

  // By keyboard: the field has the focus from the start, and again after each user.
  await page.keyboard.type("Annie");
  await page.keyboard.press("Enter");
  await says("등록했습니다.");
  await page.keyboard.type("안니 😀");
  await page.keyboard.press("Enter");
  await page.getByText("안니 😀", { exact: true }).waitFor();
  assert.deepEqual(await users(), ["Annie", "안니 😀"]);

  // Tab to the first user's edit button; Escape changes nothing, Enter saves.
  const edit = page.getByRole("button", { name: "Annie 수정" });
  for (let n = 0; n < 9 && !(await focused(edit)); n++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.type("thrown away");
  await page.keyboard.press("Escape");
  assert.deepEqual(await users(), ["Annie", "안니 😀"]);
  assert.ok(await focused(edit), "the focus is where it was before");
  await page.keyboard.press("Enter");
  await page.keyboard.type("Bob");
  await page.keyboard.press("Enter");
  await says("수정했습니다.");
  assert.deepEqual(await users(), ["Bob", "안니 😀"]);

  // By mouse.
  await page.getByRole("textbox", { name: "이름", exact: true }).fill(MARKUP);
  await page.getByRole("button", { name: "등록" }).click();
  await page.getByText(MARKUP).waitFor();
  assert.deepEqual(await users(), ["Bob", "안니 😀", MARKUP]);
  assert.equal(await page.locator("#users img").count(), 0, "a name is text, not markup");
  await page.getByRole("button", { name: `${MARKUP} 수정` }).click();
  assert.equal(await page.getByRole("textbox", { name: "새 이름" }).inputValue(), MARKUP);
  await page.getByRole("button", { name: "취소" }).click();
  await page.getByRole("button", { name: "Bob 삭제" }).click();
  await says("삭제했습니다.");
  assert.deepEqual(await users(), ["안니 😀", MARKUP]);
  await page.getByRole("button", { name: "안니 😀 수정" }).click();
  await page.getByRole("textbox", { name: "새 이름" }).fill(`${MARKUP}2`);
  await page.getByRole("button", { name: "저장" }).click();
  await says("수정했습니다.");
  assert.deepEqual(await users(), [`${MARKUP}2`, MARKUP]);

  // After a reload the page shows what the server has.
  await page.reload();
  await page.getByText(`${MARKUP}2`).waitFor();
  assert.deepEqual(await users(), await stored());
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });

  // What the server refuses is said on the page, in its words. Nothing changes.
  await page.locator("#name").evaluate((input) => input.removeAttribute("maxlength"));
  await page.locator("#name").fill("가".repeat(101));
  expect(/400.*\/user/);
  await page.locator("#name").press("Enter");
  await says("100자");
  assert.match(await page.locator("#message").getAttribute("class"), /error/);
  assert.equal((await page.locator("#name").inputValue()).length, 101, "what was typed stays");
  assert.deepEqual(await users(), await stored());
  // An empty name the browser holds back by itself.
  await page.locator("#name").fill("");
  await page.locator("#name").press("Enter");
  assert.equal((await stored()).length, 2);
  // Deleted elsewhere meanwhile: said, and the list is right again.
  const [id] = Object.keys(await (await page.request.get(`${url}users`)).json());
  await page.request.delete(`${url}user/${id}`);
  expect(/404.*\/user\//);
  await page.getByRole("button", { name: `${MARKUP}2 삭제` }).click();
  await says("404");
  await page.getByText(`${MARKUP}2`).waitFor({ state: "detached" });
  assert.deepEqual(await users(), [MARKUP]);

  await page.getByRole("link", { name: "소개" }).click();
  await page.getByRole("heading", { name: "소개" }).waitFor();
  assert.equal(page.url(), `${url}about`);
  await page.goBack();
  await page.getByText(MARKUP).first().waitFor();

  // The server is gone: said on the page, and what was typed is still there.
  assert.equal(await server.stop(), 0);
  expect(/ERR_CONNECTION_REFUSED/);
  await page.locator("#name").fill("too late");
  await page.locator("#name").press("Enter");
  await says("서버에 연결할 수 없습니다.");
  assert.equal(await page.locator("#name").inputValue(), "too late");
});

// By the browser's language, and by the buttons; also what scripts write.
await check("rest", async ({ page, url }) => {
  await page.goto(url);
  await switchesLanguage(page, "사용자 관리", "Users");
  await readable(page);
  await page.getByRole("textbox", { name: "이름", exact: true }).fill("Annie");
  await page.keyboard.press("Enter");
  await page.getByText("등록했습니다.").waitFor();
  await page.getByRole("button", { name: "Annie 수정" }).click();
  await page.getByRole("button", { name: "English" }).click();
  await page.getByText("Added.").waitFor();
  await page.getByText("등록했습니다.").waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Save" }).waitFor();
  await page.getByRole("link", { name: "About" }).click();
  await page.getByRole("button", { name: "한국어" }).click();
  await switchesLanguage(page, "소개", "About");
  await readable(page);
});

for (const [locale, heading] of [["en-US", "Users"], ["ja-JP", "Users"], ["ko", "사용자 관리"]]) {
  await check("rest", { context: { locale }, env: { LC_ALL: "C.UTF-8" } }, async ({ page, url }) => {
    await page.goto(url);
    await page.getByRole("heading", { name: heading, exact: true }).waitFor();
    assert.equal(await page.title(), heading);
    if (locale !== "en-US") return;
    await page.getByText("There are no users yet.").waitFor();
    await page.getByRole("textbox", { name: "Name" }).fill("Annie");
    await page.getByRole("button", { name: "Add" }).click();
    await page.getByText("Added.").waitFor();
    await page.getByRole("button", { name: "Annie Delete" }).click();
    await page.getByText("Deleted.").waitFor();
  });
}

// A browser that keeps nothing for pages still switches; one without scripts shows Korean.
await check("rest", async ({ page, url }) => {
  await page.addInitScript(() => Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("", "SecurityError"); },
  }));
  await page.goto(url);
  await page.getByRole("button", { name: "English" }).click();
  await page.getByRole("heading", { name: "Users" }).waitFor();
});
await check("rest", { context: { javaScriptEnabled: false, locale: "en-US" } }, async ({ page, url }) => {
  await page.goto(`${url}about`);
  await page.getByRole("heading", { name: "소개" }).waitFor();
});
