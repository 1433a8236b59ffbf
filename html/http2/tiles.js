"use strict";
// Loads 200 pictures at once, then shows when each of them came and over what.

const TILES = 200;
const params = new URLSearchParams(location.search);
const delay = /^\d{1,4}$/.test(params.get("delay") ?? "") ? Number(params.get("delay")) : 20;
const page = crypto.getRandomValues(new Uint32Array(3)).reduce((id, n) => id + n.toString(36), "p");
const $ = (selector) => document.querySelector(selector);

performance.setResourceTimingBufferSize(1000); // the default is 250
for (const link of document.querySelectorAll("nav a")) {
  if (link.search === `?delay=${delay}`) link.setAttribute("aria-current", "page");
}
run().catch((error) => say(`측정하지 못했습니다: ${error.message}`));

async function run() {
  const failed = (await Promise.all(Array.from({ length: TILES }, (_, n) => load(n)))).filter((ok) => !ok);
  const entries = await timings(TILES - failed.length);
  const count = await (await fetch(`/tiles/count?page=${page}`)).json();
  const start = Math.min(...entries.map((entry) => entry.startTime));
  const end = Math.max(...entries.map((entry) => entry.responseEnd));
  const protocol = entries[0]?.nextHopProtocol || count.protocol;
  const current = protocol.startsWith("h2") || protocol === "HTTP/2.0" ? "h2" : "h1";
  const measured = { ms: Math.round(end - start), connections: count.connections, streams: count.streams };

  $("#protocol").textContent = current === "h2" ? "HTTP/2" : "HTTP/1.1";
  draw(entries, start, end);
  const results = { h1: parse(params.get("h1")), h2: parse(params.get("h2")), [current]: measured };
  show("h1", results, current, count.http1Port);
  show("h2", results, current, count.http2Port);
  document.body.dataset.done = current;
  if (failed.length) say(`${failed.length}장을 받지 못했습니다. 서버가 실행 중인지 확인하고 새로 고치세요.`);
  else say(verdict(results, current));
}

/** One picture; true when it is there. */
function load(n) {
  return new Promise((resolve) => {
    const image = new Image();
    image.alt = "";
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = `/tile/${n}.svg?delay=${delay}&page=${page}`;
    $("#tiles").append(image);
  });
}

/** The browser's own timings of our pictures; the last ones may come a moment later. */
async function timings(expected) {
  for (let tries = 0; ; tries++) {
    const all = performance.getEntriesByType("resource").filter((entry) => entry.name.endsWith(`page=${page}`));
    const ours = all.filter((entry) => entry.name.includes("/tile/"));
    if (ours.length >= expected || tries === 50) return ours;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A row of the table: what was measured here, or there before, or a link to measure it. */
function show(protocol, results, current, port) {
  const row = $(`#${protocol}`);
  const [ms, connections, streams, link] = row.querySelectorAll("td");
  const result = results[protocol];
  row.classList.toggle("current", protocol === current);
  if (result) {
    ms.textContent = `${result.ms} ms`;
    connections.textContent = result.connections;
    streams.textContent = result.streams;
  }
  const there = new URL(location.pathname, location.href);
  there.port = port;
  there.searchParams.set("delay", delay);
  for (const [name, value] of Object.entries(results)) {
    if (value && name !== protocol) there.searchParams.set(name, `${value.ms}-${value.connections}-${value.streams}`);
  }
  const anchor = document.createElement("a");
  anchor.href = there.href;
  anchor.textContent = protocol === current ? "다시" : "이 프로토콜로 열기";
  link.replaceChildren(anchor);
}

/** A result that the page over the other protocol handed on in the link. */
function parse(text) {
  const numbers = /^(\d{1,6})-(\d{1,4})-(\d{1,6})$/.exec(text ?? "");
  return numbers && { ms: Number(numbers[1]), connections: numbers[2], streams: numbers[3] };
}

/** What came out, also where it is not what the lesson promises. */
function verdict({ h1, h2 }, current) {
  if (!h1 || !h2) {
    const other = current === "h2" ? "HTTP/1.1" : "HTTP/2";
    return `${current === "h2" ? h2.ms : h1.ms} ms 걸렸습니다. 이제 표의 링크로 ${other}에서 열어 비교해 보세요.`;
  }
  const ratio = h1.ms / Math.max(h2.ms, 1);
  if (ratio >= 1.1) {
    return `HTTP/2가 ${ratio.toFixed(1)}배 빨랐습니다. 연결 ${h2.connections}개로 모두 한꺼번에 요청했고, `
      + `HTTP/1.1은 연결 ${h1.connections}개로 차례를 기다렸습니다.`;
  }
  const why = delay === 0
    ? "localhost에서 지연이 없으면 연결 여섯 개로도 충분합니다. 지연을 100 ms로 바꿔 보세요."
    : "다시 열어 보고, 지연도 바꿔 보세요.";
  return ratio > 0.9
    ? `차이가 거의 없습니다. ${why}`
    : `이번에는 HTTP/2가 이기지 못했습니다. HTTP/1.1이 ${(1 / ratio).toFixed(1)}배 빨랐습니다. ${why}`;
}

/** A line for each picture: waiting for its turn, waiting for the server, receiving. */
function draw(entries, start, end) {
  const [width, height, axis] = [1000, 600, 30];
  const svg = $("#waterfall");
  svg.setAttribute("viewBox", `0 0 ${width} ${height + axis}`);
  const scale = width / Math.max(end - start, 1);
  const add = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
  };
  const span = end - start;
  const step = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].find((ms) => span / ms <= 6) ?? 20000;
  for (let ms = 0; ms <= span; ms += step) {
    const x = ms * scale;
    add("line", { x1: x, x2: x, y1: 0, y2: height });
    const late = x > width - 90;
    add("text", { x: late ? x - 4 : x + 4, y: height + 22, "text-anchor": late ? "end" : "start" }, `${ms} ms`);
  }
  entries.sort((a, b) => a.requestStart - b.requestStart || a.responseEnd - b.responseEnd);
  const thick = height / Math.max(entries.length, 1);
  entries.forEach((entry, row) => {
    const asked = entry.requestStart || entry.startTime;
    const answered = Math.max(entry.responseStart, asked);
    const parts = [["queued", entry.startTime, asked], ["waiting", asked, answered],
      ["receiving", answered, Math.max(entry.responseEnd, answered + 1 / scale)]];
    for (const [name, from, to] of parts) {
      add("rect", { class: name, x: (from - start) * scale, y: row * thick, height: thick * 0.85,
        width: Math.max((to - from) * scale, 0) });
    }
  });
}

function say(text) {
  $("#message").textContent = text;
}
