# shellcheck shell=sh
# Read by run.sh: what calls cost a worker of nginx, and those whom it serves meanwhile.
#
# Three workers, which differ only in how they wait: with the helper thread, by polling, and not at all
# (the library without its preset blocks the worker, as any blocking client does). They are measured in
# turn, so that whatever else the machine does meets all of them.

upstream_latency=0.5

# An upstream that takes its time. Its key is an elliptic one, because it shares our processors: what it
# does is not to be measured.
upstream_configuration() {
  port_kept=$(random_port)
  port_closed=$(random_port)
  port_http_2=$(random_port)
  nginx_head upstream 2048
  cat <<END
  ssl_certificate $work/tls/elliptic.pem;
  ssl_certificate_key $work/tls/elliptic_key.pem;
  init_by_lua_block {
    function answer()
      ngx.sleep($upstream_latency)
      ngx.header["request-id"] = ngx.var.request_id
      ngx.status = 204
    end
  }
  server { listen 127.0.0.1:$port_kept ssl; location / { content_by_lua_block { answer() } } }
  server { listen 127.0.0.1:$port_http_2 ssl http2; location / { content_by_lua_block { answer() } } }
  server {
    listen 127.0.0.1:$port_closed ssl;
    keepalive_timeout 0;
    ssl_session_cache off;
    ssl_session_tickets off;
    location / { content_by_lua_block { answer() } }
  }
}
END
}

worker_configuration() {
  port=$(random_port)
  echo "$port" >"$work/$1/port"
  nginx_head "$1" 2048 BENCH_DRIVER BENCH_LATENCY BENCH_TOKEN BENCH_CA
  cat <<END
  lua_package_path "$PWD/lua/?.lua;$PWD/lua/?/init.lua;;";
  lua_package_cpath "$PWD/build/luajit/?.so;;";
  init_by_lua_file $PWD/spec/bench/openresty_worker.lua;
  server {
    listen 127.0.0.1:$port;
    location = /nothing { return 204; }
    location = /calls { content_by_lua_block { bench.calls() } }
    location = /burst { content_by_lua_block { bench.burst() } }
  }
}
END
}

make_elliptic_certificate() {
  (
    cd "$work/tls"
    openssl ecparam -name prime256v1 -genkey -noout -out elliptic_key.pem
    openssl req -x509 -new -sha256 -days 2 -key elliptic_key.pem -config openssl.cnf \
      -subj "/CN=127.0.0.1" -addext "subjectAltName = IP:127.0.0.1" -out elliptic.pem
  ) >"$work/tls/log" 2>&1 || {
    cat "$work/tls/log" >&2
    return 1
  }
}

start_workers() {
  export BENCH_LATENCY=$upstream_latency BENCH_TOKEN="$token_file" BENCH_CA="$work/tls/elliptic.pem"
  make_elliptic_certificate
  start_nginx upstream upstream_configuration
  for name in thread polling blocking; do
    export BENCH_DRIVER=$name
    start_nginx $name worker_configuration
  done
}

port_of() {
  cat "$work/$1/port"
}

# ask DRIVER PATH_AND_QUERY
ask() {
  attend curl --silent --show-error --fail --max-time 300 "http://127.0.0.1:$(port_of "$1")$2"
}

# The median of the numbers in that column of the lines: `median FILE COLUMN`.
median() {
  awk -v column="$2" '{ print $column }' "$1" | sort -n |
    awk '{ value[NR] = $1 }
      END { if (NR % 2) print value[(NR + 1) / 2]; else print (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

smallest() {
  awk -v column="$2" 'NR == 1 || $column < least { least = $column } END { print least }' "$1"
}

largest() {
  awk -v column="$2" 'NR == 1 || $column > most { most = $column } END { print most }' "$1"
}

# Latency of others, while nothing happens and while ten calls are in flight, each with a new TLS
# connection. The answers go to files, a line for each round.
probe_others() {
  for round in $(seq "$1"); do
    for name in thread polling blocking; do
      attend "$programs/prober" "$(port_of $name)" /nothing 3 >>"$work/alone_$name"
      ask $name "/calls?concurrency=10&seconds=3&port=$port_closed" >>"$work/beside_$name" &
      caller=$!
      attend "$programs/prober" "$(port_of $name)" /nothing 3 >>"$work/probed_$name"
      wait "$caller"
    done
    say "others of the worker: round $round"
  done
}

# What is added to a call, and what it costs: `cost_of_calls ROUNDS`.
cost_of_calls() {
  for round in $(seq "$1"); do
    for name in thread polling blocking; do
      ask $name "/calls?concurrency=1&seconds=3&port=$port_kept" >>"$work/one_$name"
      if [ $name != blocking ]; then
        ask $name "/calls?concurrency=20&seconds=3&port=$port_kept" >>"$work/twenty_$name"
      fi
    done
    say "cost of calls in nginx: round $round"
  done
}

# 200 at once over TLS, in a request of nginx for each round: `bursts DRIVER KIND PORT ROUNDS`.
bursts() {
  attend "$programs/prober" "$(port_of "$1")" /nothing 4 >"$work/stall_$1_$2" &
  prober=$!
  for round in $(seq "$4"); do
    ask "$1" "/burst?count=200&port=$3" >>"$work/burst_$1_$2"
  done
  wait "$prober"
}

others_table() {
  echo "Latency of other requests to the same worker (ms), the least of the rounds: a stall of the worker's own"
  echo "would be in each. At work are ten calls, each with a new TLS connection:"
  echo
  echo "| waiting | p50 idle | p50 at work | p99 idle | p99 at work | max idle | max at work |"
  echo "|---|---|---|---|---|---|---|"
  for name in thread polling blocking; do
    echo "| $name | $(smallest "$work/alone_$name" 1) | $(smallest "$work/probed_$name" 1)" \
      "| $(smallest "$work/alone_$name" 2) | $(smallest "$work/probed_$name" 2)" \
      "| $(smallest "$work/alone_$name" 3) | $(smallest "$work/probed_$name" 3) |"
  done
}

cost_table() {
  echo "What a call of $upstream_latency s costs on a kept connection (ms): time added to it (median, and"
  echo "the most of all rounds), and the worker's processor time, helper thread included (least of the rounds):"
  echo
  echo "| waiting | added | most | processor, 1 in flight | processor, 20 in flight |"
  echo "|---|---|---|---|---|"
  for name in thread polling blocking; do
    many=-
    if [ -f "$work/twenty_$name" ]; then
      many=$(smallest "$work/twenty_$name" 3)
    fi
    echo "| $name | $(median "$work/one_$name" 4) | $(largest "$work/one_$name" 5)" \
      "| $(smallest "$work/one_$name" 3) | $many |"
  done
}

burst_table() {
  echo "200 calls at once over TLS: wall time of the first round, which connects, and of the others (median);"
  echo "the longest step of the event loop (its processor time), in the first round and in the others (median);"
  echo "the longest that another request waited (ms); resident memory (MiB) after the first round and after the"
  echo "last, over what it was before:"
  echo
  echo "| waiting | HTTP | first | others | step, first | step, others | longest wait | memory, first | memory, last | rounds | failed |"
  echo "|---|---|---|---|---|---|---|---|---|---|---|"
  for name in thread polling; do
    for kind in 1.1 2; do
      awk -v name=$name -v kind=$kind -v stall="$(cut -d' ' -f3 "$work/stall_${name}_$kind")" '
        NR == 1 { before = $3 }
        NR == 2 { first = $1; after_first = $3; first_step = $4 }
        NR > 2 { walls[n] = $1; steps[n++] = $4 }
        { failed += $2; last = $3 }
        function middle(values, i, j, t) {
          for (i = 0; i < n; i++)
            for (j = i + 1; j < n; j++)
              if (values[j] < values[i]) { t = values[i]; values[i] = values[j]; values[j] = t }
          return values[int(n / 2)]
        }
        END {
          printf "| %s | %s | %s | %s | %s | %s | %s | %.1f | %.1f | %d | %d |\n", name, kind, first,
            middle(walls), first_step, middle(steps), stall, (after_first - before) / 1024, (last - before) / 1024, NR - 1, failed
        }' "$work/burst_${name}_$kind"
    done
  done
}

inside_nginx() {
  echo
  echo "### Inside a worker of nginx"
  echo
  if ! find_lua_module || [ ! -f build/luajit/autopilot/core.so ] || ! has curl; then
    echo "Not measured: no curl here, no Lua module of nginx, or the library was not built for LuaJIT."
    say "inside nginx: left out (packages curl, libnginx-mod-http-lua and libluajit2-5.1-dev, then \`make\`)"
    return 0
  fi
  rounds=5
  burst_rounds=20
  if [ "$quick" = yes ]; then
    rounds=1
    burst_rounds=5
  fi
  build_program prober
  start_workers
  # HTTP/2 first: once a worker has met a server without it, it expects to need a connection for each.
  for name in polling thread; do
    bursts $name 2 "$port_http_2" $burst_rounds
  done
  for name in polling thread; do
    bursts $name 1.1 "$port_kept" $burst_rounds
  done
  say "200 calls at once in nginx"
  probe_others $rounds
  cost_of_calls $rounds
  others_table
  echo
  cost_table
  echo
  burst_table
}
