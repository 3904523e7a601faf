#!/bin/sh
# `make bench-fleet`: the figures of a fleet, measured in one run.
#
#   spec/bench/fleet.sh [--quick]      or QUICK=yes: fewer tenants and rounds, for a look
#
# The yardstick is a C program with plain libcurl that makes the same requests in the same rounds, one
# after the other. Needs what run.sh needs, and nginx's Lua module; Node and curl take part where they
# are installed. The server runs on the same machine. Nothing is judged. The table goes to
# build/bench-fleet.md.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=spec/bench/common.sh
. spec/bench/common.sh

luajit_module=$PWD/build/luajit/autopilot/core.so
tenants=10000
waiting_tenants=2000
rounds=5
if [ "$quick" = yes ]; then
  tenants=2000
  rounds=3
fi

# $port_http_2 answers at once, $port_late after 200 ms, $port_authority gives a token after 200 ms.
server_configuration() {
  port_http_2=$(random_port)
  port_late=$(random_port)
  port_authority=$(random_port)
  nginx_head server 8192
  graph_lines
  cat <<END
  server { listen 127.0.0.1:$port_http_2 ssl http2; return 204; }
  server {
    listen 127.0.0.1:$port_late ssl http2;
    location / { content_by_lua_block { ngx.sleep(0.2) ngx.exit(204) } }
  }
  server {
    listen 127.0.0.1:$port_authority ssl http2;
    location / {
      content_by_lua_block {
        ngx.sleep(0.2)
        ngx.header["Content-Type"] = "application/json"
        ngx.print('{"token_type":"Bearer","expires_in":3599,"access_token":"$(cat "$token_file")"}')
      }
    }
  }
}
END
}

start_server() {
  find_lua_module || true # it may be built in
  start_nginx server server_configuration
  at_once=https://127.0.0.1:$port_http_2
  late=https://127.0.0.1:$port_late
  authority=https://127.0.0.1:$port_authority
}

# A configuration of curl's with a request for each tenant, each with a token of its own.
write_curl_configuration() {
  "$LUA" - "$token_file" "$tenants" "$at_once$path" "$ca_file" >"$work/curl.conf" <<'END'
local token = assert(io.open(arg[1])):read "*l":sub(1, -9)
for number = 1, tonumber(arg[2]) do
  io.write(number > 1 and "next\n" or "", "http2\nrequest = POST\ndata = \"\"\n",
    ("url = \"%s\"\ncacert = \"%s\"\noutput = \"/dev/null\"\n"):format(arg[3], arg[4]),
    ("header = \"Authorization: Bearer %s%08d\"\n"):format(token, number))
end
END
}

# Runs ours, another program and the yardstick in turn: what `in_turn` prints, a line for each.
in_turn() {
  attend "$programs/in_turn" "$rounds" 1 "$@" >"$work/output"
}

all_tenants() {
  echo "### $tenants tenants, a token of 1,800 bytes each, HTTP/2"
  echo
  echo "| concurrency | program | wall | to the C program | processor time | to the C program | peak memory |"
  echo "|---|---|---|---|---|---|---|"
  for concurrency in 64 256; do
    say "$tenants tenants, $concurrency at a time"
    set -- -- "$LUA" spec/bench/fleet_run.lua "$at_once" "$token_file" "$tenants" "$concurrency" \
      "$ca_file" 2
    echo "the fleet, $LUA" >"$work/titles"
    if [ -e "$luajit_module" ]; then
      set -- "$@" -- "LUA_CPATH=$PWD/build/luajit/?.so;;" luajit spec/bench/fleet_run.lua "$at_once" \
        "$token_file" "$tenants" "$concurrency" "$ca_file" 2
      echo "the fleet, LuaJIT" >>"$work/titles"
    fi
    if has node; then
      set -- "$@" -- "NODE_EXTRA_CA_CERTS=$ca_file" node spec/bench/neighbours/fleet_node.mjs \
        "$at_once" "$token_file" "$tenants" "$concurrency"
      echo "Node's http2 $(node --version)" >>"$work/titles"
    fi
    if has curl; then
      write_curl_configuration
      set -- "$@" -- curl -q --no-progress-meter --parallel --parallel-max "$concurrency" --config "$work/curl.conf"
      echo "\`curl --parallel\`" >>"$work/titles"
    fi
    echo "C program" >>"$work/titles"
    in_turn "$@" -- "$programs/fleet_plain" "$at_once$path" "$token_file" "$tenants" "$concurrency" \
      "$user_agent" "$ca_file" 2
    awk -v concurrency="$concurrency" '
      NR == FNR { title[NR] = $0; next }
      {
        processor = $4 > 0 ? sprintf("%.0f ms | %.3f", $4, $5) : "|"
        printf "| %d | %s | %.0f ms | %.3f | %s | %.1f MiB |\n", concurrency, title[FNR], $1, $2,
          processor, $3 / 1024
      }' "$work/titles" "$work/output"
  done
  echo
}

# Programs for `instructions_of_each`, which gives them the number of tenants; 64 at a time.
plain_fleet() {
  count_instructions "$programs/fleet_plain" "$at_once$path" "$token_file" "$1" 64 "$user_agent" \
    "$ca_file" 2
}

lua_fleet() {
  count_instructions "$LUA" spec/bench/fleet_run.lua "$at_once" "$token_file" "$1" 64 "$ca_file" 2
}

luajit_fleet() {
  cpath=$LUA_CPATH
  LUA_CPATH="$PWD/build/luajit/?.so;;"
  count_instructions luajit spec/bench/fleet_run.lua "$at_once" "$token_file" "$1" 64 "$ca_file" 2
  LUA_CPATH=$cpath
}

instructions_for_each_tenant() {
  if ! has valgrind; then
    say "valgrind is not installed: no instructions"
    return
  fi
  echo "### Instructions for each tenant, 64 at a time"
  echo
  say "instructions for each tenant"
  few=400
  many=1400
  instructions_of_each plain_fleet
  plain=$each
  echo "C program: $plain."
  instructions_of_each lua_fleet
  echo "The fleet, $LUA: $each ($(awk "BEGIN { printf \"%.2f\", $each / $plain }"))."
  if [ -e "$luajit_module" ]; then
    instructions_of_each luajit_fleet
    echo "The fleet, LuaJIT: $each ($(awk "BEGIN { printf \"%.2f\", $each / $plain }"))."
  fi
  echo
}

late_answers() {
  echo "### $waiting_tenants tenants, 200 ms until each answer, HTTP/2"
  echo
  echo "| concurrency | ideal | the fleet | to the ideal | C program | the fleet to it | bytes for each in flight |"
  echo "|---|---|---|---|---|---|---|"
  base=0
  for concurrency in 100 500 2000; do
    say "$waiting_tenants tenants, 200 ms, $concurrency at a time"
    in_turn -- "$LUA" spec/bench/fleet_run.lua "$late" "$token_file" "$waiting_tenants" \
      "$concurrency" "$ca_file" 2 \
      -- "$programs/fleet_plain" "$late$path" "$token_file" "$waiting_tenants" "$concurrency" \
      "$user_agent" "$ca_file" 2
    ideal=$((waiting_tenants * 200 / concurrency))
    awk -v concurrency="$concurrency" -v ideal="$ideal" -v base="$base" '
      NR == 1 { own = $1; ratio = $2; peak = $3 }
      NR == 2 {
        each = base > 0 ? sprintf("%.0f", (peak - base) * 1024 / (concurrency - 100)) : ""
        printf "| %d | %d ms | %.0f ms | %.2f | %.0f ms | %.3f | %s |\n", concurrency, ideal, own,
          own / ideal, $1, ratio, each
      }' "$work/output"
    if [ "$base" = 0 ]; then
      base=$(awk 'NR == 1 { print $3 }' "$work/output")
    fi
  done
  echo
}

with_tokens() {
  say "with a token request each"
  in_turn -- "$LUA" spec/bench/fleet_run.lua "$late" "$token_file" "$waiting_tenants" 500 \
    "$ca_file" 2 "$authority"
  awk -v ideal=$((2 * waiting_tenants * 200 / 500)) '{
    printf "With a token request for each of them, 200 ms on both hosts, 500 at a time: %.0f ms, "\
      "%.2f of the ideal of two round trips (%d ms).\n\n", $1, $1 / ideal, ideal
  }' "$work/output"
}

others_of_it() {
  say "memory, and cost by number"
  attend "$LUA" spec/bench/fleet_memory.lua >"$work/output"
  echo "A tenant that sleeps needs $(sed -n 1p "$work/output") bytes of resident memory. A list of 100,000 tenants needs"
  echo "$(($(sed -n 2p "$work/output") / 1024)) KiB more than one of 1,000."
  for count in 100 1000 "$tenants"; do
    in_turn -- "$LUA" spec/bench/fleet_run.lua "$at_once" "$token_file" "$count" 64 "$ca_file" 2
    awk -v count="$count" '{ printf "%d %.1f\n", count, $4 * 1e3 / count }' "$work/output"
  done >"$work/costs"
  echo "Processor time for each tenant, in µs, the program's start included: $(awk '
    { printf "%s%s at %d", (NR > 1 ? ", " : ""), $2, $1 }' "$work/costs")."
}

begin_benchmark
build_program in_turn
build_program fleet_plain
start_server
{
  echo "Measured with \`make bench-fleet\` on $(uname -sm), $(getconf _NPROCESSORS_ONLN) cores, load"
  echo "$(load_now) before, $(lua_name); medians of $rounds rounds."
  echo
  instructions_for_each_tenant
} >"$work/tables.md"
publish bench-fleet
