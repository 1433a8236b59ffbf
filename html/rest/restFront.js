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
    // What the server refuses it says itself, in the language of its own locale.
    const unreachable = both("서버에 연결할 수 없습니다.", "The server cannot be reached.");
    say(error instanceof TypeError ? unreachable : error.message, true);
    // Deleted by somebody else meanwhile: show what there is.
    if (error.status === 404) load().catch(() => {});
  }
}

function say(text, isError = false) {
  message.replaceChildren(text);
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
  text.id = `user-${id}`;
  text.textContent = name;
  const edit = button(both("수정", "Edit"), () => startEditing(item, id, name));
  const remove = button(both("삭제", "Delete"), () =>
    act(both("삭제했습니다.", "Deleted."), async () => {
      show(await (await call("DELETE", `/user/${id}`)).json());
      document.querySelector("#name").focus();
    }));
  edit.id = `edit-${id}`;
  remove.id = `delete-${id}`;
  // For who hears the page, a button's name is "Annie Edit".
  for (const button of [edit, remove]) button.setAttribute("aria-labelledby", `${text.id} ${button.id}`);
  item.append(text, edit, remove);
  return item;
}

/** Puts a form in the row's place: Enter saves, Escape leaves all as it was. */
function startEditing(item, id, name) {
  const form = document.createElement("form");
  const label = document.createElement("label");
  label.htmlFor = `new-${id}`;
  label.append(both("새 이름", "New name"));
  const input = document.createElement("input");
  input.id = label.htmlFor;
  input.value = name;
  input.maxLength = 100;
  input.required = true;
  const cancel = () => {
    const old = row(id, name);
    item.replaceWith(old);
    old.querySelector("button").focus();
  };
  form.append(label, input, button(both("저장", "Save")), button(both("취소", "Cancel"), cancel));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(both("수정했습니다.", "Changed."), async () => {
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

/** A button; one without `onClick` submits its form. */
function button(text, onClick) {
  const button = document.createElement("button");
  button.append(text);
  if (onClick) {
    button.type = "button";
    button.addEventListener("click", onClick);
  }
  return button;
}

document.querySelector("#add").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  act(both("등록했습니다.", "Added."), async () => {
    await call("POST", "/user", { name: form.elements.name.value });
    form.reset();
    await load();
  });
});

act("", load);
