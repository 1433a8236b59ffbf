"use strict";

const INTERVAL = 500; // ms between two questions
const STATES = {
  starting: ["시작하는 중", "starting"],
  ready: ["요청을 받는 중", "takes requests"],
  stuck: ["멈춤", "stuck"],
  leaving: ["마무리하는 중", "finishing"],
  gone: ["종료됨", "ended"],
};

const element = (id) => document.querySelector(`#${id}`);
const cards = []; // one for each slot; a worker comes and goes, its place stays
const asked = new Set(); // process ids of workers that this page has asked to end
let known = null; // from pid to worker: who was there at the last answer

/** Asks for ever. When the worker that would answer has died, the next question finds another. */
async function watch() {
  for (;;) {
    try {
      await inTurn(async () => {
        const options = { cache: "no-store", signal: AbortSignal.timeout(3000) };
        const response = await fetch("/cluster/status", options);
        if (!response.ok) throw new Error(await response.text());
        show(await response.json(), response.headers.get("X-Worker"));
      });
      put(element("message"), "", "");
    } catch {
      put(element("message"), "답이 없습니다. 다시 물어봅니다.", "No answer. Asking again.");
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
}

let last = Promise.resolve();
/** One request after the other: so the browser needs, and keeps, one connection. */
function inTurn(request) {
  last = last.catch(() => {}).then(request);
  return last;
}

function show(status, answeredBy) {
  element("master").textContent = status.master;
  element("stop").textContent = `kill -STOP ${status.workers.at(-1)?.pid ?? ""}`;
  if (status.shared) {
    put(element("turn"), "워커들이 소켓 하나를 함께 기다립니다.", "All workers wait at one socket.");
  } else if (status.next) {
    put(element("turn"), `다음 연결은 ${status.next}번 워커에게 갑니다.`,
      `The next connection goes to worker ${status.next}.`);
  } else {
    put(element("turn"), "연결을 받을 워커가 없습니다.", "No worker can take a connection.");
  }
  explainTheEnd(status.crash_after_ms);
  tellWhatChanged(status);
  while (cards.length < status.slots) addCard();
  // Of two in one slot the younger counts: the other is leaving.
  const present = new Map(status.workers.map((worker) => [worker.slot, worker]));
  for (const [index, card] of cards.entries()) {
    const worker = present.get(index + 1);
    if (worker) draw(card, worker, status, answeredBy);
    else setState(card, "gone");
  }
}

function explainTheEnd(ms) {
  if (ms === null) {
    put(element("crash"), "CRASH_AFTER_MS=off로 켰으므로 요청 때문에 종료하는 워커는 없습니다.",
      "CRASH_AFTER_MS=off: no worker ends because of a request.");
  } else {
    put(element("crash"),
      `이 수업의 워커는 첫 요청을 받고 ${ms / 1000}초 뒤에 일부러 코드 1로 종료합니다(CRASH_AFTER_MS=${ms}). 하던 `
        + "응답은 마치고 종료하며, 마스터가 새 워커를 시작합니다. 이 화면과 /visits, /favicon.ico는 워커를 종료시키지 않습니다.",
      `A worker of this lesson ends on purpose, with code 1, ${ms / 1000} s after its first request `
        + `(CRASH_AFTER_MS=${ms}). It finishes the answers that it has begun, and the master starts a new worker. `
        + "This page, /visits and /favicon.ico end no worker.");
  }
}

function tellWhatChanged(status) {
  const now = new Map(status.workers.map((worker) => [worker.pid, worker]));
  for (const [pid, worker] of known ?? []) {
    if (now.has(pid)) continue;
    const exit = status.exits.find((exit) => exit.pid === pid);
    const [ko, en] = reason(worker, exit, status.crash_after_ms);
    const how = exit ? ` (code ${exit.code} signal ${exit.signal})` : "";
    tell(`${worker.slot}번 자리: ${pid}번 워커 종료${how}${ko}`, `Slot ${worker.slot}: worker ${pid} ended${how}${en}`);
  }
  for (const [pid, { slot }] of known ? now : []) {
    if (!known.has(pid)) tell(`${slot}번 자리: ${pid}번 워커 시작`, `Slot ${slot}: worker ${pid} started`);
  }
  known = now;
}

/** Why a worker has ended, as far as its exit and what was seen of it tell. */
function reason(worker, exit, crashAfter) {
  if (asked.has(worker.pid)) return [": 이 화면에서 종료를 요청했습니다", ": this page had asked for it"];
  if (exit?.signal === "SIGKILL" && worker.state === "stuck") {
    return [": 연결을 5초 동안 가져가지 않아 마스터가 종료시켰습니다",
      ": the master ended it, as it had left a connection untaken for 5 s"];
  }
  if (exit?.signal) return [": 시그널을 받았습니다", ": by a signal"];
  if (exit?.code === 1 && crashAfter !== null) {
    const seconds = crashAfter / 1000;
    return [`: 첫 요청을 받고 ${seconds}초가 지났습니다`, `: ${seconds} s after its first request`];
  }
  if (exit?.code === 0) {
    return [": SIGTERM을 받았거나 SIGHUP으로 교체되었습니다", ": by SIGTERM, or replaced at SIGHUP"];
  }
  return ["", ""];
}

function draw(card, worker, status, answeredBy) {
  setState(card, worker.state);
  card.pid = worker.pid;
  put(card.heading, `${worker.pid}번`, `${worker.pid}`);
  if (worker.state === "stuck") put(card.note, "연결을 가져가지 않음", "takes nothing");
  else put(card.note, ...(worker.pid === status.next ? ["▶ 다음 차례", "▶ next in turn"] : ["", ""]));
  const answered = String(worker.pid) === answeredBy;
  put(card.answered, ...(answered ? ["이 화면에 답함", "answered this page"] : ["", ""]));
  const age = (worker.age_ms / 1000).toFixed(1);
  put(card.age, `${age}초`, `${age} s`);
  card.requests.textContent = worker.requests;
  card.waiting.textContent = worker.waiting;
  card.restarts.textContent = worker.restarts;
}

function setState(card, state) {
  card.article.className = state;
  put(card.state, ...STATES[state]);
  card.button.disabled = !["ready", "stuck"].includes(state);
  if (state !== "gone") return;
  put(card.note, "", "");
  put(card.answered, "", "");
}

function addCard() {
  const card = {
    article: create("article"),
    heading: create("h3"),
    state: create("p", "state"),
    note: create("p"),
    answered: create("p"),
    button: create("button"),
  };
  const list = create("dl");
  for (const [name, ko, en] of [["age", "나이", "Age"], ["requests", "요청", "Requests"],
    ["waiting", "기다리는 연결", "Waiting"], ["restarts", "다시 시작", "Restarts"]]) {
    card[name] = create("dd");
    const term = create("dt");
    put(term, ko, en);
    list.append(term, card[name]);
  }
  card.heading.id = `worker-${cards.length}`;
  card.button.id = `end-${cards.length}`;
  card.button.type = "button";
  put(card.button, "워커 종료", "End worker");
  // For who hears the page: "101번 워커 종료".
  card.button.setAttribute("aria-labelledby", `${card.heading.id} ${card.button.id}`);
  card.button.addEventListener("click", () => crash(card.pid));
  card.article.append(card.heading, card.state, card.note, card.answered, list, card.button);
  cards.push(card);
  element("workers").append(card.article);
}

async function crash(pid) {
  try {
    const response = await fetch(`/cluster/crash/${pid}`, { method: "POST" });
    if (!response.ok) {
      const why = `${response.status} ${await response.text()}`;
      return tell(why, why);
    }
    asked.add(pid);
    tell(`${pid}번 워커에 종료를 요청했습니다`, `Asked worker ${pid} to end`);
  } catch {
    unreachable();
  }
}

/** Three requests, one after the other, and which workers answered them. */
async function askThreeTimes() {
  try {
    await inTurn(async () => {
      const pids = [];
      for (let n = 0; n < 3; n += 1) {
        const response = await fetch("/", { cache: "no-store" });
        await response.text(); // only then is the connection free for the next one
        pids.push(response.headers.get("X-Worker"));
      }
      const one = new Set(pids).size === 1;
      tell(`GET / 세 번 → ${pids.join("번, ")}번 워커: ${one ? "모두 한 워커가 답했습니다" : "연결이 바뀌었습니다"}`,
        `GET / three times → workers ${pids.join(", ")}: ${one ? "one worker answered all" : "the connection has changed"}`);
    });
  } catch {
    unreachable();
  }
}

function unreachable() {
  put(element("message"), "응답을 받지 못했습니다. 다시 눌러 주세요.", "The request was not answered. Press again.");
}

function tell(ko, en) {
  const item = create("li");
  item.append(`${new Date().toTimeString().slice(0, 8)} `, both(ko, en));
  element("events").prepend(item);
  while (element("events").childElementCount > 12) element("events").lastChild.remove();
}

/** Sets a text that may change; one that has not stays as it is. */
function put(place, ko, en) {
  const text = ko === "" ? "" : `${ko}${en}`;
  if (place.textContent !== text) place.replaceChildren(...(text ? [both(ko, en)] : []));
}

function create(name, className = "") {
  const created = document.createElement(name);
  created.className = className;
  return created;
}

element("ask").addEventListener("click", askThreeTimes);
element("curl").textContent = `curl -si ${location.origin}/ | grep x-worker`;
watch();
