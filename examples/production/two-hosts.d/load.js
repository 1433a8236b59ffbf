"use strict";
// The people of `two-hosts`: they log in once, then read and write. The clock starts a request
// each 5 ms, whether earlier ones were answered or not (an open loop): a server that stops for a
// second has 200 of them to account for, not one. A child of two-hosts, in the client's namespace.

const fs = require("node:fs");
const http2 = require("node:http2");
const https = require("node:https");
const tls = require("node:tls");
const { setTimeout: sleep } = require("node:timers/promises");

const { host, addresses, certificate, posts } = JSON.parse(process.argv[2]);
const [RATE, PATIENCE, RENEW] = [200, 10_000, 5_000]; // a second; ms for an answer, for a connection
const FORM = { "content-type": "application/x-www-form-urlencoded" };
const ca = fs.readFileSync(certificate);
const form = (fields) => new URLSearchParams(fields).toString();
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const is = (...all) => ({ status }) => all.includes(status);
const handshakes = { full: 0, resumed: 0 };
const [stats, reasons] = [{}, {}]; // of each phase; why requests failed, and how often
const [users, gone] = [new Map(), []]; // by id; those whose id was given to another one
let [phase, open, names] = ["setup", 0, 0];

/// Half of them speak HTTP/2. `way` is what their requests go over: a session, or an agent.
const people = Array.from({ length: 24 }, (_, n) => (
  { name: `person-${n}`, address: addresses[n % addresses.length], h2: n % 2 === 0, cookie: "" }));

function dial(person) {
  const { address: localAddress, ticket: session, h2 } = person;
  const ALPNProtocols = [h2 ? "h2" : "http/1.1"];
  const to = { host, port: 443, servername: "site.test", ca, localAddress, session, ALPNProtocols };
  const socket = tls.connect(to).setNoDelay(true);
  socket.on("secureConnect", () => (handshakes[socket.isSessionReused() ? "resumed" : "full"] += 1));
  return socket.on("session", (ticket) => (person.ticket = ticket));
}

/// What is being asked on the old way is still answered there.
function leave(person) {
  const { way } = person;
  person.way = null;
  if (!way || person.h2) return way?.close();
  way.keepSocketAlive = () => false;
  for (const socket of Object.values(way.freeSockets).flat()) socket.destroy();
}

function wayOf(person) {
  const { way } = person;
  const isOld = person.until < Date.now() && !way?.connecting;
  if (isOld || way?.closed || way?.destroyed) leave(person);
  if (person.way) return person.way;
  const createConnection = () => dial(person);
  person.until = Date.now() + RENEW * (0.5 + Math.random());
  person.way = person.h2 ? http2.connect("https://site.test", { createConnection })
    : Object.assign(new https.Agent({ keepAlive: true }), { createConnection });
  return person.way.on("error", () => {}); // each request on it says so, too
}

/// Sends one request; the answer is { status, text, cookie }.
function send(person, method, path, body) {
  const headers = { cookie: person.cookie, ...(body && FORM) };
  return (person.h2 ? send2 : send1)(wayOf(person), method, path, headers, body);
}

const send1 = (agent, method, path, headers, body) => new Promise((resolve, reject) => {
  if (body) headers["content-length"] = body.length;
  const request = https.request({ host, agent, method, path, headers }, (answer) => {
    let text = "";
    const { statusCode: status, headers: { "set-cookie": [cookie] = [] } } = answer;
    answer.on("data", (part) => (text += part)).on("error", fail);
    answer.on("end", () => resolve({ status, text, cookie }));
  });
  const timer = setTimeout(() => request.destroy(new Error("timeout")), PATIENCE);
  const fail = (error) => reject(Object.assign(error, { way: agent, reused: request.reusedSocket }));
  request.on("error", fail).on("close", () => (clearTimeout(timer), fail(new Error("closed"))));
  request.end(body);
});

const send2 = (session, method, path, headers, body) => new Promise((resolve, reject) => {
  let [text, why, answer] = ["", "closed"];
  const reused = session.isUsed;
  const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream: !body });
  const timer = setTimeout(() => ((why = "timeout"), stream.close(8)), PATIENCE);
  stream.on("response", (fields) => ((answer = fields), (session.isUsed = true)));
  stream.on("data", (part) => (text += part)).on("error", (error) => (why = error.code ?? why));
  stream.on("close", () => {
    clearTimeout(timer);
    const { ":status": status, "set-cookie": [cookie] = [] } = answer ?? {};
    if (status && stream.readableEnded && !stream.rstCode) return resolve({ status, text, cookie });
    // 7: the server says that it did nothing with it (RFC 9113 section 8.7).
    const refused = stream.rstCode === 7;
    reject(Object.assign(new Error(why), { way: session, reused, refused }));
  });
  if (body) stream.end(body);
});

/// One request, and what becomes of it in the table. `isGood` says whether an answer is right.
async function ask(person, method, path, body, isGood) {
  const none = { requests: 0, failed: 0, repeated: 0, away: 0, longest: 0, peak: 0, late: 0 };
  const [began, at, it] = [Date.now(), phase, (stats[phase] ??= none)];
  it.requests += 1;
  it.peak = Math.max(it.peak, (open += 1));
  const answer = await send(person, method, path, body).catch((error) => {
    if (error.way === person.way) leave(person);
    // As browsers do (RFC 9110 section 9.2.2): once, on a new connection; never a POST of which
    // nobody knows whether it was done.
    const may = error.refused || (error.reused && method !== "POST");
    if (!may || error.message === "timeout") throw error;
    it.repeated += 1;
    return send(person, method, path, body);
  }).catch((error) => error);
  if (answer.status === 503) {
    it.away += 1;
    it.last = Date.now();
    it.first ??= it.last;
  } else if (!answer.status || !isGood(answer)) {
    it.failed += 1;
    it.lastFailed = began;
    const why = answer.status ?? answer.code ?? answer.message;
    const where = `${person.h2 ? "h2" : "h1"}${answer.reused ? "" : ", new connection"}`;
    const reason = `${at}: ${method} ${path.replace(/\d+/, "{id}")}, ${where}: ${why}`;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
  }
  it.longest = Math.max(it.longest, Date.now() - began);
  open -= 1;
  return answer;
}

async function add(person) {
  const [name, at] = [`user-${(names += 1)}`, phase];
  const answer = await ask(person, "POST", "/users", form({ name }), is(201));
  if (answer.status !== 201) return;
  const id = answer.text.trim();
  if (users.has(id)) gone.push(users.get(id));
  users.set(id, { id, name, phase: at, at: Date.now() });
}

async function rename(person) {
  // One change of a user at a time, and none after one of which we do not know whether it was done.
  const user = pick([...users.values()].filter((user) => !user.busy && !user.maybe && !user.frozen));
  if (!user) return add(person);
  const [name, at] = [`user-${(names += 1)}`, phase];
  user.busy = true;
  // 404: a user who is lost is counted at the end.
  const { status } = await ask(person, "PUT", `/users/${user.id}`, form({ name }), is(200, 404));
  user.busy = false;
  Object.assign(user, status === 200 ? { name, phase: at, at: Date.now() } : { maybe: name });
}

function next() {
  const [person, chance] = [pick(people), Math.random()];
  if (chance < posts / RATE) return add(person);
  if (chance < 0.2 + posts / RATE) return rename(person);
  if (chance < 0.6) return ask(person, "GET", "/users", null, is(200));
  const isMe = ({ status, text }) => status === 200 && JSON.parse(text).name === person.name;
  return ask(person, "GET", "/me", null, isMe);
}

async function main() {
  for (const [n, person] of people.entries()) {
    const credentials = form({ name: person.name, password: "correct horse" });
    // The first ones come back: they log in once more.
    for (const path of n < 4 ? ["/signup", "/login"] : ["/signup"]) {
      const { status, cookie, text } = await send(person, "POST", path, credentials);
      if (status !== 303) throw new Error(`${path}: ${status} ${text}`);
      person.cookie = cookie.split(";")[0];
    }
    if (n % 6 === 5) console.error(`${n + 1} people have signed up`);
  }
  for (let n = 0; n < 30; n += 1) await add(pick(people));
  process.send({ ready: true });
  setInterval(() => {
    const { requests = 0, failed = 0, repeated = 0, away = 0 } = stats[phase] ?? {};
    const counts = `${failed} failed, ${repeated} repeated, ${away} times 503, ${open} open`;
    console.error(`${phase}: ${requests} requests, ${counts}`);
  }, 1000);
  let due = Date.now();
  const clock = setInterval(() => {
    // How late the clock itself is says how much of a wait is this machine's.
    const [now, it] = [Date.now(), stats[phase] ?? {}];
    it.late = Math.max(it.late, Math.round(now - due));
    for (; due <= now; due += 1000 / RATE) next();
  }, 5);
  process.on("message", async (message) => {
    phase = message.phase ?? phase;
    // What was confirmed up to now is not changed any more, so that nothing covers its loss.
    if (message.freeze) for (const user of users.values()) user.frozen = true;
    if (!message.end) return;
    clearInterval(clock);
    while (open) await sleep(50);
    const now = JSON.parse((await ask(people[0], "GET", "/users", null, is(200))).text);
    const isGone = ({ id, name, maybe }) => now[id] !== name && (!maybe || now[id] !== maybe);
    const lost = [...gone, ...[...users.values()].filter(isGone)];
    process.send({ done: { stats, reasons, lost, handshakes, users: users.size } });
  });
}

process.on("disconnect", () => process.exit(1)); // two-hosts has ended
main().catch((error) => (console.error("load:", error), process.exit(1)));
