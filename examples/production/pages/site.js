"use strict";
// What the forms of both pages do, and the list of users. Without this file the forms work all
// the same. `both` is in language.js.

/** One request; what is no success becomes an Error with the text of the answer. */
async function call(method, path, fields) {
  const body = fields && new URLSearchParams(fields);
  // A redirect is the answer to a form that went well; where it leads is loaded by `act`.
  const response = await fetch(path, { method, body, redirect: "manual" });
  if (!response.ok && response.type !== "opaqueredirect") throw new Error(await response.text());
  return response;
}

/** Does something, and shows beside it why it could not be done. */
async function act(place, action) {
  place.replaceChildren();
  try {
    await action();
  } catch (error) {
    const unreachable = both("서버에 연결할 수 없습니다.", "The server cannot be reached.");
    // What the server refuses it says itself, in its own language.
    place.replaceChildren(error instanceof TypeError ? unreachable : error.message);
  }
}

/** Sends a form and does `done`; nobody can send it a second time meanwhile. */
function onSubmit(form, place, send, done) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    await act(place, async () => {
      await send(new FormData(form));
      await done();
    });
    for (const button of buttons) button.disabled = false;
  });
}

/** Draws the users anew. textContent, never innerHTML: a name is text, whatever is in it. */
async function showUsers() {
  const users = await (await call("GET", "/users")).json();
  const rows = Object.entries(users).map(([id, name]) => row(id, name));
  document.querySelector("#users").replaceChildren(...rows);
}

function row(id, name) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  text.id = `user-${id}`;
  text.textContent = name;
  const rename = button(both("이름 바꾸기", "Rename"), () => edit(item, id, name));
  const remove = button(both("삭제", "Remove"), () =>
    act(document.querySelector("#message"), async () => {
      await call("DELETE", `/users/${id}`);
      await showUsers();
      document.querySelector("#name").focus();
    }));
  rename.id = `rename-${id}`;
  remove.id = `remove-${id}`;
  // For who hears the page, a button's name is "Annie Rename".
  for (const button of [rename, remove]) button.setAttribute("aria-labelledby", `${text.id} ${button.id}`);
  item.append(text, rename, remove);
  return item;
}

/** Puts a form in the row's place: Enter saves, Escape leaves all as it was. */
function edit(item, id, name) {
  const form = document.createElement("form");
  const label = document.createElement("label");
  const input = document.createElement("input");
  label.htmlFor = input.id = `new-${id}`;
  label.append(both("새 이름", "New name"));
  Object.assign(input, { name: "name", value: name, maxLength: 100, required: true });
  const cancel = () => {
    const old = row(id, name);
    item.replaceWith(old);
    old.querySelector("button").focus();
  };
  form.append(label, input, button(both("저장", "Save")), button(both("취소", "Cancel"), cancel));
  form.addEventListener("keydown", (event) => event.key === "Escape" && cancel());
  onSubmit(form, document.querySelector("#message"), (fields) => call("PUT", `/users/${id}`, fields), async () => {
    await showUsers();
    document.querySelector(`#rename-${id}`)?.focus();
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

async function showMe() {
  const { name, shown } = await (await call("GET", "/me")).json();
  document.querySelector("#me").textContent = shown === name ? name : `${shown} (${name})`;
  document.querySelector("#shown").value = shown;
}

document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.forms) {
    const place = form.querySelector("[role=alert]");
    const done = async () => {
      if (form.id !== "add") return location.assign("/");
      form.reset();
      await showUsers();
      form.elements.name.focus();
    };
    const path = form.getAttribute("action");
    onSubmit(form, place, (fields) => call("POST", path, fields), done);
  }
  if (document.querySelector("#me")) {
    act(document.querySelector("#message"), () => Promise.all([showMe(), showUsers()]));
  }
});
