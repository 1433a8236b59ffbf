#!/usr/bin/env bash
# A lesson beside bare hyper, its Node twin and nginx, under the same load:
#
#   bash examples/bench/bench.sh rest "PUT /user" 100
#
# The words: a lesson; a request (GET / unless given); for rest, how many users are added first.
# Needs wrk; h2load (nghttp2-client) for http2. Node and nginx are measured where they are
# installed. For each: requests per second, and the processor time, user and system, that the
# server spent on one request: the median of the rounds. On two cores compare the second number,
# as the clients need the processor, too. ROUNDS and SECONDS_EACH change how long it takes.
set -euo pipefail
cd "$(dirname "$0")/../.."
lesson=$1 request=${2:-GET /} users=${3:-0}
method=${request% *} path=${request#* }
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-3}
cargo build --release -p "$lesson" -p examples --bin "$lesson" --bin bare
ticks=$(getconf CLK_TCK)
folder=$(mktemp -d)
server=
trap 'stop; rm -rf "$folder"' EXIT
export CERTS_DIR=$folder/certs CRASH_AFTER_MS=off WORKERS=${WORKERS:-2} LC_ALL=C

stop() {
  if [ -n "$server" ]; then
    kill $(pgrep -P "$server") "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
  fi
}

# Clock ticks that a process and its children have had, user and system.
spent() {
  local pid sum=0
  for pid in "$1" $(pgrep -P "$1"); do
    sum=$((sum + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
  done
  echo "$sum"
}

# start COMMAND…: on core 0, or on all of them for cluster; its URL is in $url.
start() {
  local pin=(taskset -c 0)
  [ "$lesson" = cluster ] && pin=()
  HOST=127.0.0.1 PORT=0 H1_PORT=0 "${pin[@]}" "$@" >"$folder/out" 2>"$folder/err" &
  server=$!
  until url=$(grep -o 'https\?://[^ ]*' "$folder/out"); do sleep 0.1; done
  url=${url%/}
}

start_nginx() {
  local scheme=http listen=127.0.0.1:18099 tls= body='return 200 "<h1>Hello Node!</h1>";'
  case $lesson in
    https | http2)
      scheme=https listen="$listen ssl"
      [ "$lesson" = http2 ] && listen="$listen http2"
      tls="ssl_certificate $CERTS_DIR/cert.pem; ssl_certificate_key $CERTS_DIR/key.pem;"
      ;;
    fs-html) body="root $PWD/html; try_files /server-html.html =404;" ;;
  esac
  cat >"$folder/nginx.conf" <<CONF
user root; daemon off; worker_processes $([ "$lesson" = cluster ] && echo 2 || echo 1);
pid $folder/pid; error_log $folder/error;
events { worker_connections 512; }
http {
  access_log off; keepalive_requests 100000000;
  server { listen $listen; $tls location / { default_type "text/html; charset=utf-8"; $body } }
}
CONF
  echo "$scheme://127.0.0.1:18099/" >"$folder/nginx.url"
  start sh -c "cat '$folder/nginx.url'; exec nginx -c '$folder/nginx.conf'"
  until curl -sko /dev/null "$url/"; do sleep 0.1; done
}

# load HEADER…: requests per second, in $folder/load.
load() {
  if [ "$lesson" = http2 ]; then
    taskset -c 1 h2load -c8 -m16 -D"$seconds" --warm-up-time=1 "$url$path" >"$folder/h2load" 2>&1
    awk '/^requests:/ { print $8 }' "$folder/h2load"
  else
    local pin=(taskset -c 1)
    [ "$lesson" = cluster ] && pin=()
    "${pin[@]}" wrk -t1 -c32 -d"$seconds" -s "$folder/wrk.lua" "$@" "$url$path" >"$folder/wrk"
    grep -E 'Non-2xx|Socket errors' "$folder/wrk" >&2 || true
    awk '/requests in/ { print $1 }' "$folder/wrk"
  fi
}

# measure NAME CONNECTION: whatever runs as $server; a line "NAME requests/s µs".
measure() {
  local before after requests
  load -H "Connection: $2" >/dev/null
  before=$(spent "$server")
  requests=$(load -H "Connection: $2")
  after=$(spent "$server")
  # h2load's warm-up is load as well.
  awk -v n="$1 $2" -v r="$requests" -v s="$seconds" -v t=$((after - before)) -v hz="$ticks" \
    -v more="$([ "$lesson" = http2 ] && echo 1 || echo 0)" \
    'BEGIN { r *= (s + more) / s; printf "%s %.0f %.2f\n", n, r / (s + more), t / hz * 1e6 / r }' \
    >>"$folder/results"
}

run() {
  local name=$1 connection
  for connection in $([ "$lesson" = cluster ] && echo keep-alive close || echo keep-alive); do
    measure "$name" "$connection"
  done
  stop
}

prepare() {
  local n cookie= last=$path location=
  for ((n = 0; n < users; n++)); do
    location=$(curl -sk -D - -o /dev/null -d "{\"name\":\"user $n\"}" "$url/user" |
      awk 'tolower($1) == "location:" { print $2 }' | tr -d '\r')
  done
  [ "$method" = PUT ] && path=${location:-$path}
  if [ "$lesson" = session ]; then
    cookie=$(curl -s -D - -o /dev/null "$url/login?name=Annie" |
      awk 'tolower($1) == "set-cookie:" { print $2 }' | tr -d ';\r')
  fi
  cat >"$folder/wrk.lua" <<LUA
wrk.method = "$method"
if "$method" ~= "GET" then wrk.body = '{"name":"Annie"}' end
if "$cookie" ~= "" then wrk.headers["Cookie"] = "$cookie" end
LUA
}

for ((round = 1; round <= rounds; round++)); do
  for sched in $([ "$lesson" = cluster ] && echo rr shared || echo -); do
    export CLUSTER_SCHED=$sched
    name=$lesson
    [ "$sched" = - ] || name=$lesson-$sched
    start "target/release/$lesson"
    prepare
    run "$name"
    path=${request#* }
  done
  start target/release/bare "$lesson"
  prepare
  run "bare-hyper"
  path=${request#* }
  if command -v node >/dev/null && [ "$method" != PUT ]; then
    CLUSTER_SCHED=rr start node "examples/node/$lesson.js"
    prepare
    run node
  fi
  case $lesson in
    hello | fs-html | https | http2 | cluster)
      if command -v nginx >/dev/null; then
        start_nginx
        run nginx
      fi
      ;;
  esac
done

echo "$request, ${users} users, median of $rounds rounds of $seconds s"
sort -k1,2 -k4,4n "$folder/results" | awk '
  { key = $1 " " $2; n[key]++; rate[key, n[key]] = $3; cpu[key, n[key]] = $4; if (!(key in seen)) { seen[key] = 1; keys[++count] = key } }
  function middle(k) { return int((n[k] + 1) / 2) }
  END {
    printf "%-28s %12s %14s %10s\n", "", "requests/s", "µs each", "× bare"
    for (i = 1; i <= count; i++) {
      k = keys[i]; split(k, word, " "); bare = "bare-hyper " word[2]
      m = middle(k)
      printf "%-28s %12.0f %14.2f %10.2f\n", k, rate[k, m], cpu[k, m], cpu[k, m] / cpu[bare, middle(bare)]
    }
  }'
