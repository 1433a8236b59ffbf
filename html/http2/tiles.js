"use strict";
// Loads 200 pictures at once and draws when each of them came. Does so over both protocols, one
// after the other: the page opens itself again at the server's other port, and takes what it has
// measured there along in the fragment of its address, which no server sees.

const TILES = 200;
const PAUSE = 1500; // ms for a look at the first result before the second measurement
const NAMES = { h1: "HTTP/1.1", h2: "HTTP/2" };
const params = new URLSearchParams(location.search);
const delay = /^\d{1,4}$/.test(params.get("delay") ?? "") ? Number(params.get("delay")) : 20;
const page = crypto.getRandomValues(new Uint32Array(3)).reduce((id, n) => id + n.toString(36), "p");
const $ = (selector) => document.querySelector(selector);

performance.setResourceTimingBufferSize(1000); // the default is 250
for (const link of document.querySelectorAll("nav a")) {
  if (link.search === `?delay=${delay}`) link.setAttribute("aria-current", "page");
}
run().catch((error) => say(`측정하지 못했습니다: ${error.message}`, `Not measured: ${error.message}`));

async function run() {
  const first = location.hash ? fromFragment(location.hash) : null;
  if (first) chooseLanguage(first.language); // a browser keeps it for each port by itself
  const isSecond = location.hash !== "";
  history.replaceState(null, "", location.pathname + location.search); // a reload measures both
  if (first) show({ [first.protocol]: first });
  say("받는 중입니다…", "Loading…");
  const { failed, count, ...result } = await measure();
  const results = { ...(first && { [first.protocol]: first }), [result.protocol]: result };
  show(results, result.protocol);
  const other = result.protocol === "h1" ? "h2" : "h1";
  const there = new URL(location.pathname + location.search, location.href);
  there.port = other === "h1" ? count.http1Port : count.http2Port;
  if (failed > 0) {
    say(`${failed}장을 받지 못했습니다. 서버가 실행 중인지 확인하고 새로 고치세요.`,
      `${failed} did not come. See whether the server is running, and reload.`);
  } else if (results[other]) {
    say(...verdict(results));
  } else if (isSecond || there.port === location.port) {
    say(`이 서버에서는 ${NAMES[other]} 연결을 열 수 없어 비교하지 못합니다. ALPN 변수를 확인하세요.`,
      `This server does not offer ${NAMES[other]}, so there is nothing to compare. See the variable ALPN.`);
  } else {
    say(`${NAMES[result.protocol]}로는 ${result.ms} ms 걸렸습니다. 이제 ${NAMES[other]}로 잽니다…`,
      `${result.ms} ms over ${NAMES[result.protocol]}. Now over ${NAMES[other]}…`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    there.hash = toFragment(result);
    location.replace(there);
    return;
  }
  document.body.dataset.done = "true";
}

/** Loads all pictures. Times are ms, or tenths of ms in `times`: four for each picture. */
async function measure() {
  const loaded = await Promise.all(Array.from({ length: TILES }, (_, n) => load(n)));
  const failed = loaded.filter((ok) => !ok).length;
  const entries = await timings(TILES - failed);
  const count = await (await fetch(`/tiles/count?page=${page}`)).json();
  const start = Math.min(...entries.map((entry) => entry.startTime));
  const end = Math.max(...entries.map((entry) => entry.responseEnd));
  entries.sort((a, b) => a.requestStart - b.requestStart || a.responseEnd - b.responseEnd);
  const times = entries.flatMap((entry) => {
    const asked = entry.requestStart || entry.startTime;
    const answered = Math.max(entry.responseStart, asked);
    return [entry.startTime, asked, answered, Math.max(entry.responseEnd, answered)];
  });
  const protocol = entries[0]?.nextHopProtocol || count.protocol;
  return {
    failed,
    count,
    protocol: /^h2|^HTTP\/2/.test(protocol) ? "h2" : "h1",
    ms: entries.length ? Math.round(end - start) : 0,
    connections: count.connections,
    streams: count.streams,
    times: times.map((time) => Math.round((time - start) * 10)),
  };
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

function toFragment({ protocol, ms, connections, streams, times }) {
  const language = document.documentElement.lang;
  const all = { language, protocol, ms, connections, streams, times: times.join(".") };
  return new URLSearchParams(all).toString();
}

/** What the page measured at the other port; null for anything that it has not written itself. */
function fromFragment(text) {
  const given = Object.fromEntries(new URLSearchParams(text.slice(1)));
  const [ms, connections, streams] = [given.ms, given.connections, given.streams].map(Number);
  const times = (given.times ?? "").split(".").map(Number);
  const good = Object.hasOwn(NAMES, given.protocol) && /^(ko|en)$/.test(given.language) && times.length % 4 === 0 && times.length <= 4 * TILES
    && [ms, connections, streams, ...times].every((n) => Number.isInteger(n) && n >= 0 && n < 1e7);
  return good ? { ...given, ms, connections, streams, times } : null;
}

/** Draws what there is of the two results, on one time axis. */
function show(results, current) {
  const longest = Math.max(...Object.values(results).map(({ ms }) => ms), 1);
  const step = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].find((ms) => longest / ms <= 5) ?? 50000;
  for (const [protocol, result] of Object.entries(results)) {
    const section = $(`#${protocol}`);
    section.classList.toggle("current", protocol === current);
    section.querySelector(".ms dd").textContent = `${result.ms} ms`;
    section.querySelector(".connections dd").textContent = result.connections;
    section.querySelector(".streams dd").textContent = result.streams;
    draw(section.querySelector("svg"), result.times, step, Math.ceil(longest / step) * step);
  }
}

/** A bar for each picture: waiting for its turn, waiting for the server, receiving. */
function draw(svg, times, step, axisEnd) {
  const [width, height] = [600, 400];
  const scale = width / axisEnd;
  svg.replaceChildren();
  const add = (name, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    svg.append(element);
  };
  for (let ms = 0; ms <= axisEnd; ms += step) {
    const [x, anchor] = ms === axisEnd ? [width - 4, "end"] : ms === 0 ? [4, "start"] : [ms * scale, "middle"];
    add("line", { x1: ms * scale, x2: ms * scale, y1: 0, y2: height });
    add("text", { x, y: height + 22, "text-anchor": anchor }, ms === axisEnd ? `${ms} ms` : ms);
  }
  const thick = height / Math.max(times.length / 4, 1);
  for (let row = 0; row < times.length / 4; row++) {
    const [start, asked, answered, received] = times.slice(4 * row, 4 * row + 4).map((time) => time / 10 * scale);
    const parts = [["queued", start, asked], ["waiting", asked, answered],
      ["receiving", answered, Math.max(received, answered + 1)]];
    for (const [name, from, to] of parts) {
      add("rect", { class: name, x: from, y: row * thick, width: Math.max(to - from, 0), height: thick * 0.85 });
    }
  }
}

/** What came out, also where it is not what the lesson promises. */
function verdict({ h1, h2 }) {
  const ratio = h1.ms / Math.max(h2.ms, 1);
  if (ratio >= 1.1) {
    return [
      `HTTP/2가 ${ratio.toFixed(1)}배 빨랐습니다. HTTP/2는 연결 ${h2.connections}개로 모두 한꺼번에 요청했고, `
        + `HTTP/1.1은 연결 ${h1.connections}개로 차례를 기다렸습니다.`,
      `HTTP/2 was ${ratio.toFixed(1)} times as fast. It asked for all at once over ${h2.connections} connection; `
        + `over HTTP/1.1 they waited for their turn on ${h1.connections} connections.`,
    ];
  }
  const [whyKo, whyEn] = delay === 0
    ? ["localhost에서 지연이 없으면 연결 여섯 개로도 충분합니다. 지연을 100 ms로 바꿔 보세요.",
      "On localhost and without delay six connections are enough. Try a delay of 100 ms."]
    : ["새로 고쳐 다시 재고, 지연도 바꿔 보세요.", "Reload to measure again, and try another delay."];
  if (ratio > 0.9) return [`차이가 거의 없습니다. ${whyKo}`, `There is hardly a difference. ${whyEn}`];
  const times = (1 / ratio).toFixed(1);
  return [
    `이번에는 HTTP/2가 더 느렸습니다. HTTP/1.1이 ${times}배 빨랐습니다. ${whyKo}`,
    `This time HTTP/2 was slower: HTTP/1.1 was ${times} times as fast. ${whyEn}`,
  ];
}

function say(ko, en) {
  $("#message").replaceChildren(both(ko, en));
}
