#!/bin/sh
# `make bench-fleet`: the figures of a fleet, measured in one run.
#
#   spec/bench/fleet.sh      QUICK=yes: fewer tenants and rounds, for a look
#
# The yardstick is a C program with plain libcurl that makes the same requests in the same rounds, one
# after the other. Needs what run.sh needs, and nginx's Lua module; Node and curl take part where they
# are installed. The server runs on the same machine. Nothing is judged. The table goes to
# build/bench-fleet.md.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${LUA:-}" ] || [ -z "${LUA_CPATH:-}" ]; then
  exec .ci/with-lua lua5.4 spec/bench/fleet.sh "$@"
fi
quick=${QUICK:-no}
for name in http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY \
  SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE CURL_HOME OPENSSL_CONF NODE_EXTRA_CA_CERTS \
  NODE_OPTIONS LD_PRELOAD; do
  unset "$name"
done
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() {
  echo "bench: $*" >&2
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# shellcheck source=spec/bench/processes.sh
. spec/bench/processes.sh
# shellcheck source=spec/bench/server.sh
. spec/bench/server.sh

path=/beta/deviceManagement/windowsAutopilotSettings/sync
tenants=10000
waiting_tenants=2000
rounds=5
if [ "$quick" = yes ]; then
  tenants=2000
  rounds=3
fi

lua_modules() {
  for folder in /usr/lib/nginx/modules /usr/share/nginx/modules /usr/local/nginx/modules; do
    if [ -e "$folder/ngx_http_lua_module.so" ]; then
      for module in ndk_http_module ngx_http_lua_module; do
        echo "load_module $folder/$module.so;"
      done
      return
    fi
  done
}

# $port_http_2 answers at once, $port_late after 200 ms, $port_authority gives a token after 200 ms.
write_configuration() {
  cat <<END
$(lua_modules)
daemon off;
master_process off;
pid $work/server/pid;
error_log $work/server/error.log warn;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path $work/server/body;
  proxy_temp_path $work/server/proxy;
  fastcgi_temp_path $work/server/fastcgi;
  uwsgi_temp_path $work/server/uwsgi;
  scgi_temp_path $work/server/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  large_client_header_buffers 4 32k;
  ssl_certificate $work/tls/certificate.pem;
  ssl_certificate_key $work/tls/key.pem;
  add_header Cache-Control "no-store, no-cache" always;
  add_header Vary "Accept-Encoding" always;
  add_header Strict-Transport-Security "max-age=31536000" always;
  add_header request-id \$request_id always;
  add_header client-request-id \$http_client_request_id always;
  add_header x-ms-ags-diagnostic '{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5","ScaleUnit":"002","RoleInstance":"AM1PEPF0001A2B3"}}' always;
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
  mkdir "$work/server"
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    port_http_2=$(random_port)
    port_late=$(random_port)
    port_authority=$(random_port)
    write_configuration >"$work/server/nginx.conf"
    leashed nginx -e "$work/server/error.log" -p "$work/server/" -c "$work/server/nginx.conf" \
      >"$work/server/log" 2>&1 &
    server=$!
    if server_serves; then
      at_once=https://127.0.0.1:$port_http_2
      late=https://127.0.0.1:$port_late
      authority=https://127.0.0.1:$port_authority
      return 0
    fi
  done
  say "nginx did not start in $attempt attempts:"
  cat "$work/server/log" "$work/server/error.log" >&2
  return 1
}

build_programs() {
  user_agent=autopilot-sync/$("$LUA" -e 'io.write((require "autopilot.version"))')
  for name in in_turn fleet_plain; do
    # shellcheck disable=SC2046,SC2086
    ${CC:-cc} -std=c99 ${CFLAGS:--O2 -g} -Isrc $(pkg-config --cflags libcurl) \
      -o "$work/$name" "spec/bench/$name.c" $(pkg-config --libs libcurl) -lm
  done
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
  attend "$work/in_turn" "$rounds" 1 "$@" >"$work/output"
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
    echo "the fleet" >"$work/titles"
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
    in_turn "$@" -- "$work/fleet_plain" "$at_once$path" "$token_file" "$tenants" "$concurrency" \
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
      -- "$work/fleet_plain" "$late$path" "$token_file" "$waiting_tenants" "$concurrency" \
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
  echo "A tenant that sleeps needs $(sed -n 1p "$work/output") bytes. A list of 100,000 tenants needs"
  echo "$(($(sed -n 2p "$work/output") / 1024)) KiB more than one of 1,000."
  for count in 100 1000 "$tenants"; do
    in_turn -- "$LUA" spec/bench/fleet_run.lua "$at_once" "$token_file" "$count" 64 "$ca_file" 2
    awk -v count="$count" '{ printf "%d %.1f\n", count, $4 * 1e3 / count }' "$work/output"
  done >"$work/costs"
  echo "Processor time for each tenant, in µs, the program's start included: $(awk '
    { printf "%s%s at %d", (NR > 1 ? ", " : ""), $2, $1 }' "$work/costs")."
}

begin_processes
build_programs
make_certificates
make_token
start_server
mkdir -p build
{
  echo "Measured with \`make bench-fleet\` on $(uname -sm), $(getconf _NPROCESSORS_ONLN) cores, load"
  echo "$(sed 's/ .*//' /proc/loadavg 2>/dev/null || echo unknown) before, $("$LUA" -e 'io.write(_VERSION)');" \
    "medians of $rounds rounds."
  echo
  all_tenants
  late_answers
  with_tokens
  others_of_it
} >"$work/tables.md"
cp "$work/tables.md" build/bench-fleet.md
cat build/bench-fleet.md
