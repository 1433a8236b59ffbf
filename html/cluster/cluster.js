"use strict";

const INTERVAL = 500; // ms between two questions
const STATES = { starting: "시작하는 중", ready: "요청을 받는 중", leaving: "마무리하는 중", gone: "종료됨" };

const element = (id) => document.querySelector(`#${id}`);
const cards = new Map(); // from slot to its card; a worker comes and goes, its place stays
let known = new Map(); // from pid to slot: who was there at the last answer

/** Asks for ever. When the worker that would answer has died, the next question finds another. */
async function watch() {
  for (;;) {
    try {
      const options = { cache: "no-store", signal: AbortSignal.timeout(3000) };
      const response = await fetch("/cluster/status", options);
      if (!response.ok) throw new Error(await response.text());
      show(await response.json(), response.headers.get("X-Worker"));
      say("");
    } catch {
      say("답이 없습니다. 다시 물어봅니다.");
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
}

function show(status, answeredBy) {
  element("master").textContent = status.master;
  element("turn").textContent = status.shared
    ? "워커들이 소켓 하나를 함께 기다립니다"
    : status.next ? `다음 연결은 ${status.next}번 워커에게` : "연결을 받을 워커가 없습니다";
  tellWhatChanged(status.workers);
  // Of two in one place the younger counts: the other is leaving.
  const present = new Map(status.workers.map((worker) => [worker.slot, worker]));
  for (const worker of present.values()) {
    const notes = [];
    if (worker.pid === status.next) notes.push("▶ 다음 차례");
    if (String(worker.pid) === answeredBy) notes.push("이 화면에 답함");
    draw(worker, notes.join(" · "));
  }
  for (const [slot, card] of cards) if (!present.has(slot)) setState(card, "gone");
}

function tellWhatChanged(workers) {
  const now = new Map(workers.map((worker) => [worker.pid, worker.slot]));
  for (const [pid, slot] of known) if (!now.has(pid)) tell(`${slot}번 자리: ${pid}번 워커 종료`);
  if (known.size > 0 || cards.size > 0) {
    for (const [pid, slot] of now) if (!known.has(pid)) tell(`${slot}번 자리: ${pid}번 워커 시작`);
  }
  known = now;
}

function draw(worker, note) {
  const card = cards.get(worker.slot) ?? addCard(worker.slot);
  setState(card, worker.state, note);
  card.pid = worker.pid;
  card.heading.textContent = `${worker.pid}번`;
  card.age.textContent = `${(worker.age_ms / 1000).toFixed(1)}초`;
  card.requests.textContent = worker.requests;
  card.waiting.textContent = worker.waiting;
  card.restarts.textContent = worker.restarts;
  card.button.setAttribute("aria-label", `${worker.pid}번 워커 종료`);
}

function setState(card, state, note = "") {
  card.article.className = state;
  card.state.textContent = STATES[state];
  card.note.textContent = note;
  card.button.disabled = state !== "ready";
}

function addCard(slot) {
  const card = {
    article: create("article"),
    heading: create("h3"),
    state: create("p", "state"),
    note: create("p", "note"),
    button: create("button"),
  };
  const list = create("dl");
  for (const [name, title] of [["age", "나이"], ["requests", "요청"], ["waiting", "기다리는 연결"], ["restarts", "다시 시작"]]) {
    card[name] = create("dd");
    const term = create("dt");
    term.textContent = title;
    list.append(term, card[name]);
  }
  card.button.type = "button";
  card.button.textContent = "종료시키기";
  card.button.addEventListener("click", () => crash(card.pid));
  card.article.append(card.heading, card.state, card.note, list, card.button);
  cards.set(slot, card);
  element("workers").replaceChildren(
    ...[...cards].sort(([a], [b]) => a - b).map(([, { article }]) => article));
  return card;
}

async function crash(pid) {
  try {
    const response = await fetch(`/cluster/crash/${pid}`, { method: "POST" });
    tell(await response.text());
  } catch {
    say("요청이 닿지 않았습니다. 다시 눌러 주세요.");
  }
}

element("ask").addEventListener("click", async () => {
  try {
    const response = await fetch("/", { cache: "no-store" });
    tell(`GET / → ${response.status}, ${response.headers.get("X-Worker")}번 워커`);
  } catch {
    say("요청이 닿지 않았습니다. 다시 눌러 주세요.");
  }
});

function tell(text) {
  const item = create("li");
  item.textContent = `${new Date().toLocaleTimeString("ko-KR", { hour12: false })} ${text}`;
  element("events").prepend(item);
  while (element("events").childElementCount > 12) element("events").lastChild.remove();
}

function say(text) {
  if (element("message").textContent !== text) element("message").textContent = text;
}

function create(name, className = "") {
  const created = document.createElement(name);
  created.className = className;
  return created;
}

watch();
