"use strict";
// The people of `two-hosts`: they log in once, then read and write. The clock starts a request
// each 5 ms, whether earlier ones were answered or not (an open loop): a server that stops for a
// second has 200 of them to account for, not one. Runs as a child of two-hosts, in the client's
// namespace, and talks with it by IPC.

const fs = require("node:fs");
const http2 = require("node:http2");
const https = require("node:https");
const tls = require("node:tls");
const { setTimeout: sleep } = require("node:timers/promises");

const { host, addresses, certificate, people: COUNT, posts, rate } = JSON.parse(process.argv[2]);
const PATIENCE = 10_000; // ms
const RENEW = 5_000; // ms until somebody connects anew
const ca = fs.readFileSync(certificate);
const run = Date.now().toString(36);
const handshakes = { full: 0, resumed: 0 };
const stats = {}; // of each phase
const reasons = {};
const users = new Map(); // id to what we know of that user
const gone = []; // users of whom we know early that they were lost
let phase = "setup";
let open = 0;
let peak = 0;

/// Somebody at one address; half of them speak HTTP/2.
const people = Array.from({ length: COUNT }, (_, n) => ({
  name: `p${n}-${run}`, address: addresses[n % addresses.length], h2: n % 2 === 0, cookie: "",
}));

function dial(person) {
  const socket = tls.connect({
    host, port: 443, servername: "site.test", ca, localAddress: person.address, session: person.ticket,
    ALPNProtocols: [person.h2 ? "h2" : "http/1.1"],
  });
  socket.setNoDelay(true);
  socket.on("session", (ticket) => (person.ticket = ticket));
  socket.once("secureConnect", () => (handshakes[socket.isSessionReused() ? "resumed" : "full"] += 1));
  return socket;
}

/// The connections of somebody are given up, after what is being asked on them, now and then.
function renew(person) {
  const { agent, session } = person;
  person.renewAt = Date.now() + RENEW * (0.5 + Math.random());
  if (person.h2) {
    session?.close();
    person.session = null;
    return;
  }
  person.agent = new https.Agent({ keepAlive: true, maxSockets: 20 });
  person.agent.createConnection = () => dial(person);
  if (!agent) return;
  agent.keepSocketAlive = () => false;
  for (const socket of Object.values(agent.freeSockets).flat()) socket.destroy();
}

const form = (fields) => new URLSearchParams(fields).toString();

function one(person, method, path, body) {
  if (!(person.renewAt > Date.now())) renew(person);
  return (person.h2 ? one2 : one1)(person, method, path, body);
}

const TYPE = { "content-type": "application/x-www-form-urlencoded" };

function one1(person, method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { cookie: person.cookie, ...(body && { ...TYPE, "content-length": Buffer.byteLength(body) }) };
    const request = https.request({ host, agent: person.agent, method, path, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => (text += part));
      answer.on("end", () => resolve({ status: answer.statusCode, text, cookie: answer.headers["set-cookie"]?.[0] }));
      answer.on("error", fail);
    });
    const timer = setTimeout(() => request.destroy(new Error("timeout")), PATIENCE);
    function fail(error) {
      reject(Object.assign(error, { reused: request.reusedSocket }));
    }
    request.on("error", fail).on("close", () => (clearTimeout(timer), fail(new Error("closed"))));
    request.end(body);
  });
}

function one2(person, method, path, body) {
  let session = person.session;
  if (!session || session.closed || session.destroyed) {
    session = person.session = http2.connect("https://site.test", { createConnection: () => dial(person) });
    session.on("error", () => {}); // its streams say it, too
  }
  const reused = session.used;
  return new Promise((resolve, reject) => {
    const head = { ":method": method, ":path": path, cookie: person.cookie, ...(body && TYPE) };
    const stream = session.request(head, { endStream: !body });
    let answer;
    let text = "";
    let why = "closed";
    const timer = setTimeout(() => ((why = "timeout"), stream.close(8)), PATIENCE);
    stream.on("response", (fields) => ((answer = fields), (session.used = true)));
    stream.setEncoding("utf8").on("data", (part) => (text += part));
    stream.on("error", (error) => (why = error.code));
    stream.on("close", () => {
      clearTimeout(timer);
      const whole = answer && stream.rstCode === 0 && stream.readableEnded;
      if (whole) return resolve({ status: answer[":status"], text, cookie: answer["set-cookie"]?.[0] });
      // 7: the server says that it did nothing with it (RFC 9113 section 8.7).
      reject(Object.assign(new Error(why), { reused, refused: stream.rstCode === 7 }));
    });
    if (body) stream.end(body);
  });
}

/// One request, and what becomes of it in the table. `good` says whether an answer is right.
async function ask(person, method, path, body, good) {
  const it = (stats[phase] ??= { requests: 0, failed: 0, repeated: 0, away: 0, longest: 0, peak: 0 });
  const began = Date.now();
  it.requests += 1;
  open += 1;
  peak = Math.max(peak, open);
  it.peak = Math.max(it.peak, open);
  let answer;
  try {
    answer = await one(person, method, path, body).catch((error) => {
      // As browsers do (RFC 9110 section 9.2.2): once, on a new connection; never a POST of which
      // nobody knows whether it was done.
      const may = error.refused || (error.reused && method !== "POST");
      if (!may || error.message === "timeout") throw error;
      it.repeated += 1;
      renew(person);
      return one(person, method, path, body);
    });
    if (answer.status === 503) {
      it.away += 1;
      it.first ??= Date.now();
      it.last = Date.now();
    } else if (!good(answer)) throw new Error(`status ${answer.status}`);
  } catch (error) {
    it.failed += 1;
    const key = `${phase}: ${method} ${path.replace(/\d+/, "{id}")}, ${person.h2 ? "h2" : "h1"}: ${error.code ?? error.message}`;
    reasons[key] = (reasons[key] ?? 0) + 1;
    if (error.message === "closed" && person.h2) renew(person);
  }
  it.longest = Math.max(it.longest, Date.now() - began);
  open -= 1;
  return answer;
}

const pick = (list) => list[Math.floor(Math.random() * list.length)];
let names = 0;

async function add(person) {
  const name = `user-${(names += 1)}`;
  const at = phase;
  const answer = await ask(person, "POST", "/users", form({ name }), ({ status }) => status === 201);
  if (answer?.status !== 201) return;
  const id = answer.text.trim();
  // A promoted replica that lacked a user gives its id to another one.
  if (users.has(id)) gone.push(users.get(id));
  users.set(id, { id, name, phase: at, at: Date.now() });
}

async function rename(person) {
  // One change of a user at a time, and none after one of which we do not know whether it was done.
  const free = [...users.values()].filter((user) => !user.busy && !user.maybe);
  const user = pick(free);
  if (!user) return add(person);
  const name = `user-${(names += 1)}`;
  const at = phase;
  user.busy = true;
  const good = ({ status }) => status === 200 || status === 404;
  const answer = await ask(person, "PUT", `/users/${user.id}`, form({ name }), good);
  user.busy = false;
  if (answer?.status === 200) Object.assign(user, { name, phase: at, at: Date.now() });
  else user.maybe = name;
}

function next() {
  const person = pick(people);
  const chance = Math.random();
  const isFine = ({ status }) => status === 200;
  if (chance < posts / rate) return add(person);
  if (chance < posts / rate + 0.2) return rename(person);
  if (chance < 0.6) return ask(person, "GET", "/users", null, isFine);
  const isMe = ({ status, text }) => status === 200 && JSON.parse(text).name === person.name;
  return ask(person, "GET", "/me", null, isMe);
}

async function enter(person, n) {
  const credentials = form({ name: person.name, password: "correct horse" });
  // The first ones come back: they log in once more.
  for (const path of n < 4 ? ["/signup", "/login"] : ["/signup"]) {
    const { status, cookie, text } = await one(person, "POST", path, credentials);
    if (status !== 303) throw new Error(`${path}: ${status} ${text}`);
    person.cookie = cookie.split(";")[0];
  }
}

/// What Redis has at the end, beside what was confirmed.
async function readBack() {
  phase = "end";
  for (let left = 20; ; left -= 1, await sleep(500)) {
    const answer = await ask(people[0], "GET", "/users", null, ({ status }) => status === 200);
    if (answer?.status !== 200 && left) continue;
    const now = JSON.parse(answer.text);
    const wrong = ({ id, name, maybe }) => now[id] !== name && (!maybe || now[id] !== maybe);
    return [...gone, ...[...users.values()].filter(wrong)];
  }
}

async function main() {
  for (let n = 0; n < people.length; n += 2) {
    await Promise.all([n, n + 1].filter((n) => people[n]).map((n) => enter(people[n], n)));
    process.send({ entered: n + 2 });
  }
  for (let n = 0; n < 30; n += 1) await add(people[n % people.length]);
  process.send({ ready: true });
  let due = Date.now();
  let stopped = false;
  const clock = setInterval(() => {
    for (const now = Date.now(); due <= now; due += 1000 / rate) next();
  }, 5);
  const second = setInterval(() => {
    const { requests = 0, failed = 0, repeated = 0, away = 0 } = stats[phase] ?? {};
    process.send({ second: { phase, requests, failed, repeated, away, open, peak } });
    peak = open;
  }, 1000);
  process.on("message", async (message) => {
    if (message.phase) phase = message.phase;
    if (!message.stop || stopped) return;
    stopped = true;
    clearInterval(clock);
    while (open) await sleep(50);
    const lost = await readBack();
    clearInterval(second);
    process.send({ done: { stats, reasons, lost, handshakes, confirmed: users.size } }, () => process.exit(0));
  });
}

process.on("disconnect", () => process.exit(1)); // two-hosts has ended
main().catch((error) => {
  console.error(`load: ${error.message}`);
  process.exit(1);
});
