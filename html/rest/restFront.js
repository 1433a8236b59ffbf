"use strict";

const list = document.querySelector("#users");
const empty = document.querySelector("#empty");
const message = document.querySelector("#message");

/** One request to the API; an answer that is no success becomes an Error with its text. */
async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  if (!response.ok) {
    const error = new Error(`${response.status} ${await response.text()}`);
    throw Object.assign(error, { status: response.status });
  }
  return response;
}

/** Runs what a button or form asks for; says how it went, in words. */
async function act(done, action) {
  try {
    await action();
    say(done);
  } catch (error) {
    say(error instanceof TypeError ? "서버에 연결할 수 없습니다." : error.message, true);
    // Deleted by somebody else meanwhile: show what there is.
    if (error.status === 404) load().catch(() => {});
  }
}

function say(text, isError = false) {
  message.textContent = text;
  message.classList.toggle("error", isError);
}

/** Draws the list anew. textContent, never innerHTML: a name is text, whatever is in it. */
function show(users) {
  list.replaceChildren(...Object.entries(users).map(([id, name]) => row(id, name)));
  empty.hidden = list.childElementCount > 0;
}

async function load() {
  show(await (await call("GET", "/users")).json());
}

function row(id, name) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  text.textContent = name;
  const edit = button("수정", `${name} 수정`, () => startEditing(item, id, name));
  const remove = button("삭제", `${name} 삭제`, () =>
    act("삭제했습니다.", async () => {
      show(await (await call("DELETE", `/user/${id}`)).json());
      document.querySelector("#name").focus();
    }));
  item.append(text, edit, remove);
  return item;
}

/** Puts a form in the row's place: Enter saves, Escape leaves all as it was. */
function startEditing(item, id, name) {
  const form = document.createElement("form");
  const input = document.createElement("input");
  input.value = name;
  input.maxLength = 100;
  input.required = true;
  input.setAttribute("aria-label", "새 이름");
  const cancel = () => {
    const old = row(id, name);
    item.replaceWith(old);
    old.querySelector("button").focus();
  };
  form.append(input, button("저장", "저장", null), button("취소", "취소", cancel));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("수정했습니다.", async () => {
      show(await (await call("PUT", `/user/${id}`, { name: input.value })).json());
      document.querySelector("#name").focus();
    });
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
  });
  item.replaceChildren(form);
  input.select();
}

function button(text, label, onClick) {
  const button = document.createElement("button");
  button.textContent = text;
  button.setAttribute("aria-label", label);
  if (onClick) {
    button.type = "button";
    button.addEventListener("click", onClick);
  }
  return button;
}

document.querySelector("#add").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  act("등록했습니다.", async () => {
    await call("POST", "/user", { name: form.elements.name.value });
    form.reset();
    await load();
  });
});

act("", load);
