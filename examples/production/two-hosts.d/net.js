"use strict";
// The machines of `two-hosts`: a namespace for each, all of them on one bridge, and what runs
// there. Whatever is made here has the prefix, and `remove` takes all of it away.

const { execFile, execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const { connect } = require("node:net");
const { text } = require("node:stream/consumers");
const { setTimeout: sleep } = require("node:timers/promises");
const run = require("node:util").promisify(execFile);

const PREFIX = "two-hosts-";
const FOLDER = "/run/two-hosts"; // of root alone, so nobody can put a link there first
const PASSWORD = "a-password";
const SENTINELS = ["s1", "s2", "s3"];
// Machines and the last byte of their address. The client has nine more after its first.
const MACHINES = { lb: 2, h1: 11, h2: 12, r1: 21, r2: 22, s1: 31, s2: 32, s3: 33, client: 100 };
const address = (machine) => `10.77.0.${MACHINES[machine]}`;
const clients = Array.from({ length: 10 }, (_, n) => `10.77.0.${MACHINES.client + n}`);
const file = (name) => `${FOLDER}/${name}`;
const ip = (words) => run("ip", words.split(" "));

/// Waits until `ask` gives something true; an error means: not yet.
async function until(what, seconds, ask) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
    if (await Promise.resolve().then(ask).catch(() => false)) return;
  }
  throw new Error(`${what}: not within ${seconds} s`);
}

/// The bridge has a namespace of its own: a firewall of this machine has no say in it.
async function build() {
  fs.mkdirSync(FOLDER, { mode: 0o700 });
  fs.writeFileSync(file("pid"), `${process.pid}`);
  await ip(`netns add ${PREFIX}bridge`);
  await ip(`-n ${PREFIX}bridge link add br0 type bridge`);
  await ip(`-n ${PREFIX}bridge link set br0 up`);
  for (const machine of Object.keys(MACHINES)) {
    const here = PREFIX + machine;
    await ip(`netns add ${here}`);
    await ip(`-n ${PREFIX}bridge link add ${machine} type veth peer name eth0 netns ${here}`);
    await ip(`-n ${PREFIX}bridge link set ${machine} master br0 up`);
    for (const one of machine === "client" ? clients : [address(machine)]) {
      await ip(`-n ${here} addr add ${one}/24 dev eth0`);
    }
    for (const link of ["lo", "eth0"]) await ip(`-n ${here} link set ${link} up`);
  }
  // For site.test, and its own authority.
  const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=site.test
    -addext subjectAltName=DNS:site.test -keyout ${file("key.pem")} -out ${file("cert.pem")}`;
  await run("openssl", words.split(/\s+/));
  await run("openssl", ["rand", "-out", file("ticket.key"), "80"]);
}

/// Cuts the cable of a machine (`down`), or mends it (`up`).
const cable = (machine, state) => ip(`-n ${PREFIX}bridge link set ${machine} ${state}`);

/// Starts a process on a machine. Its pid is that of the command: `ip netns exec` becomes it.
function start(machine, command, args, env, stdio) {
  const log = fs.openSync(file(`${machine}.log`), "a");
  // In a process group of its own: Ctrl+C is for us, and `remove` ends it.
  const options = { detached: true, stdio: stdio ?? ["ignore", log, log], env: { ...process.env, ...env } };
  const child = spawn("ip", ["netns", "exec", PREFIX + machine, command, ...args], options);
  fs.closeSync(log);
  child.ended = new Promise((resolve) => child.on("exit", resolve).on("error", resolve));
  return child;
}

const list = (...words) => execFileSync("ip", ["netns", ...words], { encoding: "utf8" }).split(/\s/);

/// kill -9 of everything on a machine.
function killAll(machine) {
  for (const pid of list("pids", PREFIX + machine).filter(Boolean)) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {} // it has ended meanwhile
  }
}

/// The pids of a process's children.
const children = (pid) =>
  fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);

/// Whatever is there, of this run or of one that was killed: processes, namespaces, files.
function remove() {
  for (const name of list("list").filter((word) => word.startsWith(PREFIX))) {
    killAll(name.slice(PREFIX.length));
    execFileSync("ip", ["netns", "del", name]);
  }
  fs.rmSync(FOLDER, { recursive: true, force: true });
}

/// Asks a Redis or a Sentinel.
async function ask(machine, ...command) {
  const how = machine.startsWith("s") ? ["-p", "26379"] : ["--no-auth-warning", "-a", PASSWORD];
  const words = ["netns", "exec", PREFIX + machine, "redis-cli", "-h", address(machine), ...how];
  return (await run("ip", [...words, ...command])).stdout;
}

/// A Redis or a Sentinel; again with the file in which it has noted whose replica it is.
function redis(machine, settings) {
  const conf = file(`${machine}.conf`);
  fs.mkdirSync(file(machine), { recursive: true });
  const all = `bind ${address(machine)}\ndir ${file(machine)}\n${settings}\n`;
  if (settings) fs.writeFileSync(conf, all);
  start(machine, "redis-server", machine[0] === "s" ? [conf, "--sentinel"] : [conf]);
}

/// A master (r1), its replica (r2) and three Sentinels.
async function redisAll() {
  const all = `appendonly yes\nsave ""\nrepl-diskless-sync-delay 0\nrepl-timeout 5
requirepass ${PASSWORD}\nmasterauth ${PASSWORD}`;
  redis("r1", all);
  redis("r2", `${all}\nreplicaof ${address("r1")} 6379`);
  await until("a replica", 10, () => hasReplica("r1"));
  for (const machine of SENTINELS) {
    redis(machine, `port 26379\nprotected-mode no
sentinel monitor main ${address("r1")} 6379 2\nsentinel auth-pass main ${PASSWORD}
sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000`);
  }
  for (const machine of SENTINELS) await until("the Sentinels", 15, () => isWhole(machine));
}

const hasReplica = async (machine) => /slave0.*state=online/.test(await ask(machine, "INFO", "replication"));

/// Whether a Sentinel thinks well of all, and the master has its replica.
async function isWhole(sentinel = "s1") {
  const [master, replicas] = [await ask(sentinel, "SENTINEL", "MASTER", "main"),
    await ask(sentinel, "SENTINEL", "REPLICAS", "main")];
  const parts = [/^flags\nmaster$/m, /^num-slaves\n1$/m, /^num-other-sentinels\n2$/m];
  return parts.every((part) => part.test(master)) && /^flags\nslave$/m.test(replicas) &&
    hasReplica(await redisMaster());
}

/// Which machine is the master of Redis, as a Sentinel sees it.
async function redisMaster() {
  const answer = await ask("s1", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main");
  return answer.startsWith(`${address("r1")}\n`) ? "r1" : "r2";
}

/// Starts `production` on a host. All the load comes from few addresses, so they may do much.
function host(machine, binary) {
  const sentinels = SENTINELS.map((sentinel) => `${address(sentinel)}:26379`).join();
  return start(machine, binary, [], {
    HOST: address(machine), PORT: "443", HTTP_PORT: "80", ADMIN_HOST: address(machine), ADMIN_PORT: "9090",
    WORKERS: "2", REDIS_URL: `redis-sentinel://:${PASSWORD}@${sentinels}/main`, CERT: file("cert.pem"),
    KEY: file("key.pem"), TICKET_KEY_FILE: file("ticket.key"), PROXY_FROM: address("lb"), DRAIN_DELAY_SECS: "1",
    CONNECTIONS_PER_CLIENT: "10000", REQUESTS_PER_SEC_PER_CLIENT: "100000", LOGINS_PER_MIN: "0", LOG_LEVEL: "warn",
  });
}

/// HAProxy. Two lists of the same hosts: `ready` follows /readyz; where none of them is ready
/// (Redis is away), clients still go to those that live, and are told 503 instead of nothing.
/// A 503 of /readyz means "nobody new" (L7OKC); only a host that does not answer counts as down,
/// and its sessions are ended. Ended at a 503, they would break what the host is still answering.
function balancer() {
  const backend = (name, page) => `backend ${name}
  option httpchk GET ${page}
  http-check expect status 200 error-status L7OKC
  server h1 ${address("h1")}:443
  server h2 ${address("h2")}:443
`;
  fs.writeFileSync(file("haproxy.cfg"), `global
  maxconn 4000
  nbthread 1
  stats socket ${file("haproxy.sock")} mode 600
defaults
  mode tcp
  balance roundrobin
  option redispatch 1
  timeout connect 200ms
  timeout check 1s
  timeout client 60s
  timeout server 60s
  default-server send-proxy-v2 check port 9090 inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
frontend https
  bind ${address("lb")}:443
  use_backend ready if { nbsrv(ready) ge 1 }
  default_backend alive
${backend("ready", "/readyz")}${backend("alive", "/livez")}`);
  start("lb", "haproxy", ["-db", "-f", file("haproxy.cfg")]);
}

/// Whether HAProxy sends new connections to a host.
async function isUp(machine) {
  const socket = connect(file("haproxy.sock"));
  socket.write("show stat\n");
  const lines = (await text(socket)).split("\n").map((line) => line.split(","));
  return lines.some((it) => it[0] === "ready" && it[1] === machine && it[17] === "UP");
}

module.exports = {
  PREFIX, address, balancer, build, cable, children, clients, file, host, isUp, isWhole, killAll, redis, redisAll,
  redisMaster, remove, start, until,
};
