"use strict";
// The network of `two-hosts`: a namespace for each machine, all of them on one bridge, and the
// processes in them. Whatever is made here has the prefix, and `remove` takes all of it away.

const { execFile, execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { promisify } = require("node:util");

const PREFIX = "two-hosts-";
const FOLDER = "/run/two-hosts"; // of root alone, so nobody can put a link there first
const PASSWORD = "a-password";
// Machines and the last byte of their address. The client has nine more after its first.
const MACHINES = { lb: 2, h1: 11, h2: 12, r1: 21, r2: 22, s1: 31, s2: 32, s3: 33, client: 100 };
const address = (machine) => `10.77.0.${MACHINES[machine]}`;
const clients = Array.from({ length: 10 }, (_, n) => `10.77.0.${MACHINES.client + n}`);
const file = (name) => path.join(FOLDER, name);
const run = promisify(execFile);

const ip = (text) => run("ip", text.split(" "));
const exec = (machine, ...command) => run("ip", ["netns", "exec", PREFIX + machine, ...command]);

/// Waits until `ask` gives something true; an error means: not yet.
async function until(what, seconds, ask) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
    const answer = await Promise.resolve(ask()).catch(() => null);
    if (answer) return answer;
  }
  throw new Error(`${what}: not within ${seconds} s`);
}

/// Namespaces, cables, addresses. The bridge has a namespace of its own: a firewall of this
/// machine has no say in it.
async function build() {
  await ip(`netns add ${PREFIX}bridge`);
  await ip(`-n ${PREFIX}bridge link add br0 type bridge`);
  await ip(`-n ${PREFIX}bridge link set br0 up`);
  for (const machine of Object.keys(MACHINES)) {
    const here = PREFIX + machine;
    await ip(`netns add ${here}`);
    await ip(`-n ${PREFIX}bridge link add ${machine} type veth peer name eth0 netns ${here}`);
    await ip(`-n ${PREFIX}bridge link set ${machine} master br0 up`);
    const all = machine === "client" ? clients : [address(machine)];
    for (const one of all) await ip(`-n ${here} addr add ${one}/24 dev eth0`);
    await ip(`-n ${here} link set lo up`);
    await ip(`-n ${here} link set eth0 up`);
  }
}

/// Cuts the cable of a machine (`down`), or mends it (`up`).
const cable = (machine, state) => ip(`-n ${PREFIX}bridge link set ${machine} ${state}`);

/// Starts a process on a machine. Its pid is that of the command: `ip netns exec` becomes it.
function start(machine, command, args, env = {}) {
  const log = fs.openSync(file(`${machine}.log`), "a");
  const all = ["netns", "exec", PREFIX + machine, command, ...args];
  // In a process group of its own: Ctrl+C is for us, and we stop it.
  const options = { detached: true, stdio: ["ignore", log, log], env: { ...process.env, ...env } };
  const child = spawn("ip", all, options);
  fs.closeSync(log);
  child.on("error", () => {});
  child.ended = new Promise((resolve) => child.on("exit", resolve));
  return child;
}

/// kill -9 of everything on a machine.
function killAll(machine) {
  const pids = execFileSync("ip", ["netns", "pids", PREFIX + machine], { encoding: "utf8" });
  for (const pid of pids.split("\n").filter(Boolean)) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

/// The pids of a process's children.
const children = (pid) =>
  fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);

/// Whatever is there, of this run or of one that was killed: processes, namespaces, files.
function remove() {
  const list = execFileSync("ip", ["netns", "list"], { encoding: "utf8" });
  const names = list.split("\n").map((line) => line.split(" ")[0]);
  for (const name of names.filter((name) => name.startsWith(PREFIX))) {
    killAll(name.slice(PREFIX.length));
    execFileSync("ip", ["netns", "del", name]);
  }
  fs.rmSync(FOLDER, { recursive: true, force: true });
}

/// Certificate (for site.test), its authority, and the key of the session tickets.
async function certificates() {
  const subject = ["-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test"];
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await run("openssl", [...kind, "-days", "2", ...subject, "-addext", "basicConstraints=critical,CA:FALSE",
    "-keyout", file("key.pem"), "-out", file("cert.pem")]);
  await run("openssl", ["rand", "-out", file("ticket.key"), "80"]);
}

const cli = async (machine, port, ...command) => {
  const password = port === 26379 ? [] : ["--no-auth-warning", "-a", PASSWORD];
  const where = ["-h", address(machine), "-p", `${port}`];
  return (await exec(machine, "redis-cli", ...where, ...password, ...command)).stdout;
};

function redis(machine) {
  return start(machine, "redis-server", [file(`${machine}.conf`)]);
}

/// A Redis master (r1), its replica (r2) and three Sentinels.
async function redisAll() {
  for (const machine of ["r1", "r2"]) {
    fs.mkdirSync(file(machine));
    fs.writeFileSync(file(`${machine}.conf`), `bind ${address(machine)}
dir ${file(machine)}
appendonly yes
save ""
requirepass ${PASSWORD}
masterauth ${PASSWORD}
repl-diskless-sync-delay 0
repl-timeout 5
${machine === "r2" ? `replicaof ${address("r1")} 6379` : ""}
`);
    redis(machine);
  }
  await until("replica", 10, async () => /connected_slaves:1/.test(await cli("r1", 6379, "INFO", "replication")));
  for (const machine of ["s1", "s2", "s3"]) {
    fs.mkdirSync(file(machine));
    fs.writeFileSync(file(`${machine}.conf`), `bind ${address(machine)}
port 26379
protected-mode no
dir ${file(machine)}
sentinel monitor main ${address("r1")} 6379 2
sentinel auth-pass main ${PASSWORD}
sentinel down-after-milliseconds main 1000
sentinel failover-timeout main 5000
`);
    start(machine, "redis-server", [file(`${machine}.conf`), "--sentinel"]);
  }
  for (const machine of ["s1", "s2", "s3"]) await until("Sentinels", 15, () => sentinelsKnow(machine));
}

async function sentinelsKnow(machine) {
  const fields = (await cli(machine, 26379, "SENTINEL", "MASTER", "main")).split("\n");
  const field = (name) => fields[fields.indexOf(name) + 1];
  return field("flags") === "master" && field("num-slaves") === "1" && field("num-other-sentinels") === "2";
}

/// Which machine is the Redis master now, as a Sentinel sees it.
async function redisMaster() {
  const answer = await cli("s1", 26379, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main");
  return answer.startsWith(address("r1") + "\n") ? "r1" : "r2";
}

/// Whether that master has its replica, and the Sentinels think well of both.
async function redisIsWhole() {
  const replication = await cli(await redisMaster(), 6379, "INFO", "replication");
  if (!/role:master[^]*connected_slaves:1[^]*state=online/.test(replication)) return false;
  const replicas = await cli("s1", 26379, "SENTINEL", "REPLICAS", "main");
  return /flags\nslave\n/.test(replicas) && sentinelsKnow("s1");
}

/// Starts `production` on a host.
function host(machine, binary) {
  const sentinels = ["s1", "s2", "s3"].map((s) => `${address(s)}:26379`).join();
  return start(machine, binary, [], {
    HOST: address(machine), PORT: "443", HTTP_PORT: "80", ADMIN_HOST: address(machine), ADMIN_PORT: "9090",
    WORKERS: "2", REDIS_URL: `redis-sentinel://:${PASSWORD}@${sentinels}/main`, CERT: file("cert.pem"),
    KEY: file("key.pem"), TICKET_KEY_FILE: file("ticket.key"), PROXY_FROM: address("lb"), DRAIN_DELAY_SECS: "1",
    CONNECTIONS_PER_CLIENT: "10000", REQUESTS_PER_SEC_PER_CLIENT: "100000", LOGINS_PER_MIN: "0",
    LOG: "text", LOG_LEVEL: "warn",
  });
}

/// HAProxy. Two lists of the same hosts: `ready` follows /readyz; where none of them is ready
/// (Redis is away), clients still go to those that live, and are told 503 instead of nothing.
/// A 503 of /readyz means "nobody new" (L7OKC); only a host that does not answer counts as down,
/// and its sessions are ended: ended on 503, they would break what the host is still answering.
function balancer() {
  const list = (name, page) => `backend ${name}
  option httpchk GET ${page}
  http-check expect status 200 error-status L7OKC
  server h1 ${address("h1")}:443 send-proxy-v2 check port 9090
  server h2 ${address("h2")}:443 send-proxy-v2 check port 9090
`;
  fs.writeFileSync(file("haproxy.cfg"), `global
  maxconn 4000
  nbthread 1
  stats socket ${file("haproxy.sock")} mode 600
defaults
  mode tcp
  balance roundrobin
  retries 3
  option redispatch 1
  timeout connect 500ms
  timeout check 1s
  timeout client 60s
  timeout server 60s
  default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
frontend https
  bind ${address("lb")}:443
  use_backend ready if { nbsrv(ready) ge 1 }
  default_backend alive
${list("ready", "/readyz")}${list("alive", "/livez")}`);
  return start("lb", "haproxy", ["-db", "-f", file("haproxy.cfg")]);
}

/// What HAProxy says of a host in `ready`: UP, DRAIN, DOWN.
async function state(machine) {
  const text = await new Promise((resolve, reject) => {
    let all = "";
    const socket = require("node:net").connect(file("haproxy.sock"), () => socket.write("show stat\n"));
    socket.on("data", (part) => (all += part)).on("end", () => resolve(all)).on("error", reject);
  });
  return text.split("\n").map((line) => line.split(",")).find((it) => it[0] === "ready" && it[1] === machine)[17];
}

module.exports = {
  FOLDER, address, balancer, build, cable, certificates, children, clients, file, host, killAll, redis, redisAll,
  redisIsWhole, redisMaster, remove, start, state, until, PREFIX,
};
