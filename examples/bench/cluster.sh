#!/usr/bin/env bash
# The cluster under load, beside its Node twin and nginx: bash examples/bench/cluster.sh
#
# Needs wrk and node; nginx where it is to be measured too. For each: requests per second, and
# the processor time that master and workers together spent on one request (user and system,
# from /proc). wrk shares the cores with them: on two cores compare the second number.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-5}
cargo build --quiet --release -p cluster
ticks=$(getconf CLK_TCK)
folder=$(mktemp -d)
server=
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

# Clock ticks that a process and its children have had, user and system.
spent() {
  local pid sum=0
  for pid in "$1" $(pgrep -P "$1"); do
    sum=$((sum + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
  done
  echo "$sum"
}

# NAME URL: whatever runs as $server.
measure() {
  local name=$1 url=$2 connection before after requests
  for connection in keep-alive close; do
    wrk -t1 -c32 -d1 -H "Connection: $connection" "$url" >/dev/null
    before=$(spent "$server")
    wrk -t1 -c32 -d"$seconds" -H "Connection: $connection" "$url" >"$folder/wrk"
    after=$(spent "$server")
    requests=$(awk '/requests in/ { print $1 }' "$folder/wrk")
    awk -v name="$name" -v c="$connection" -v r="$requests" -v s="$seconds" \
      -v t=$((after - before)) -v hz="$ticks" \
      'BEGIN { printf "%-22s %-10s %8.0f requests/s %7.1f µs of processor per request\n", name, c, r / s, t / hz * 1e6 / r }'
    grep -E 'Non-2xx|Socket errors' "$folder/wrk" || true
  done
}

# NAME WORKERS SCHED COMMAND…
cluster() {
  local name=$1 workers=$2 sched=$3 url
  shift 3
  HOST=127.0.0.1 PORT=0 WORKERS=$workers CLUSTER_SCHED=$sched CRASH_AFTER_MS=off \
    "$@" >"$folder/out" 2>/dev/null &
  server=$!
  until url=$(grep -o 'http://[^ ]*' "$folder/out"); do sleep 0.1; done
  measure "$name $workers $sched" "$url"
  kill "$server"
  wait "$server" 2>/dev/null || true
}

for workers in 1 2; do
  for sched in rr shared; do
    cluster cluster "$workers" "$sched" target/release/cluster
    cluster node "$workers" "$sched" node examples/node/cluster.js
  done
done

if command -v nginx >/dev/null; then
  cat >"$folder/nginx.conf" <<CONF
daemon off; worker_processes 2; pid $folder/pid; error_log $folder/error;
events { worker_connections 512; }
http {
  access_log off; keepalive_requests 1000000;
  server {
    listen 127.0.0.1:18086;
    location / { default_type "text/html; charset=utf-8"; return 200 "<h1>Hello Node!</h1><p>Hello Cluster!</p>"; }
  }
}
CONF
  nginx -c "$folder/nginx.conf" 2>/dev/null &
  server=$!
  until curl -so /dev/null http://127.0.0.1:18086/; do sleep 0.1; done
  measure "nginx 2" http://127.0.0.1:18086/
fi
