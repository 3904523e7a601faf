# shellcheck shell=sh
# Read by run.sh: the figures of the library itself. Each function prints its part of the tables.

build_programs() {
  plain_objects=
  for source in src/*.c src/*/*.c; do
    name=${source#src/} name=${name%.c}
    case $name in
      lua_* | core) ;;
      *) plain_objects="$plain_objects build/c/$name.o" ;;
    esac
  done
  build_program in_turn
  build_program plain_libcurl
  # shellcheck disable=SC2086
  build_program transfer_alone $plain_objects
}

# Plain HTTP/1.1, TLS with HTTP/1.1 and TLS with HTTP/2; the witness notes down what it is sent.
server_configuration() {
  port_http=$(random_port)
  port_https_1=$(random_port)
  port_https_2=$(random_port)
  port_witness=$(random_port)
  nginx_head server 64
  graph_lines
  cat <<END
  log_format request '\$request_method \$request_uri length=\$request_length'
                     ' content-length=\$http_content_length content-type=\$http_content_type'
                     ' accept=\$http_accept user-agent=\$http_user_agent expect=\$http_expect';
  server { listen 127.0.0.1:$port_http; return 204; }
  server { listen 127.0.0.1:$port_https_1 ssl; return 204; }
  server { listen 127.0.0.1:$port_https_2 ssl http2; return 204; }
  server { listen 127.0.0.1:$port_witness; access_log $work/server/requests request; return 204; }
}
END
}

start_server() {
  start_nginx server server_configuration
  http=http://127.0.0.1:$port_http
  https_1=https://127.0.0.1:$port_https_1
  https_2=https://127.0.0.1:$port_https_2
  witness=http://127.0.0.1:$port_witness
}

# Runs one of the four programs that make the calls, with `attend` or what counts instructions:
# `make_calls RUNNER PROGRAM URL COUNT`.
make_calls() {
  trust=
  case $3 in
    https:*) trust=$ca_file ;;
  esac
  case $2 in
    plain_libcurl | transfer_alone)
      "$1" "$programs/$2" "$3$path" "$token_file" "$4" "$user_agent" ${trust:+"$trust"}
      ;;
    *)
      "$1" "$LUA" "spec/bench/$2.lua" "$3" "$token_file" "$4" ${trust:+"$trust"}
      ;;
  esac
}

# What is compared must be the same request: that is what the server says.
check_same_request() {
  for program in plain_libcurl transfer_alone core_transfer client_sync; do
    make_calls attend $program "$witness" 2 >"$work/output" || {
      say "$program failed: not every answer was a 204"
      return 1
    }
  done
  if [ "$(sort -u "$work/server/requests" | wc -l)" != 1 ]; then
    say "the programs do not send the same request:"
    cat "$work/server/requests" >&2
    return 1
  fi
}

machine_facts() {
  processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
  curl_version=
  if has curl; then
    curl_version=$(curl --version | sed -n '1s/^\(curl [^ ]*\).*/, \1/p')
  fi
  "$LUA" - "$(uname -sm)" "${processor:-$(uname -m)}" "$(getconf _NPROCESSORS_ONLN)" \
    "$(nginx -v 2>&1 | sed 's/.*: *//')$curl_version" "$quick" \
    "$(load_now)" <<'END'
local info = require("autopilot.core").info()
print(("Measured with `make bench` on %s, %s, %s cores, load %s before:"):format(
  arg[1], arg[2], arg[3], arg[6]))
print(("%s, libcurl %s, %s, %s."):format(_VERSION, info.libcurl, info.ssl, arg[4]))
if arg[5] == "yes" then
  print "A quick run: fewer calls and rounds than usual."
end
END
}

instructions_for_each_call() {
  echo
  echo "### Instructions for each call"
  echo
  if ! has valgrind; then
    echo "Not measured: valgrind is missing."
    return
  fi
  few=200
  many=1200
  if [ "$quick" = yes ]; then
    few=100
    many=400
  fi
  for base_url in "$http" "$https_1" "$https_2"; do
    for program in plain_libcurl transfer_alone core_transfer client_sync; do
      say "instructions of $program, $base_url"
      instructions_of_each make_calls count_instructions $program "$base_url"
      echo "$program $each"
    done
  done >"$work/instructions"
  echo "A call on a reused connection with a token of 1,800 bytes, $(lua_name); counted by callgrind,"
  echo "the difference between $many and $few calls."
  echo
  awk '
    function grouped(number, text, rest) {
      text = sprintf("%d", number)
      for (rest = ""; length(text) > 3; text = substr(text, 1, length(text) - 3)) {
        rest = "," substr(text, length(text) - 2) rest
      }
      return text rest
    }
    function cell(program, column) {
      if (program == "plain_libcurl") {
        return grouped(count[program, column])
      }
      return sprintf("%s (%.3f)", grouped(count[program, column]),
        count[program, column] / count["plain_libcurl", column])
    }
    function row(program, title, goal) {
      printf "| %s | %s | %s | %s | %s |\n", title, cell(program, 1), cell(program, 2),
        cell(program, 3), goal
    }
    { count[$1, ++columns[$1]] = $2 }
    END {
      print "| | plain HTTP/1.1 | TLS, HTTP/1.1 | TLS, HTTP/2 | goal |"
      print "|---|---|---|---|---|"
      row("plain_libcurl", "C program with plain libcurl", "")
      row("transfer_alone", "the C level alone, without Lua", "≤ 1.02")
      row("core_transfer", "`autopilot.core` from Lua", "")
      row("client_sync", "`client:sync()`", "≤ 1.25")
    }' "$work/instructions"
}

# A private copy of what the machine trusts, and the test's authority: sets store_file and store_path
# to the copies of the bundle and the folder that $1 and $2 name; "none" stays.
copy_store() {
  store_file=$1
  store_path=$2
  mkdir -p "$work/store/certs"
  if [ "$1" != none ]; then
    store_file=$work/store/bundle.pem
    cat "$1" "$ca_file" >"$store_file"
  fi
  if [ "$2" != none ]; then
    store_path=$work/store/certs
    number=0
    for certificate in "$2"/*.[0-9]; do
      number=$((number + 1))
      cp "$certificate" "$store_path/$number.pem"
    done
    cp "$ca_file" "$store_path/test.pem"
    openssl rehash "$store_path"
  fi
}

one_call_in_a_process() {
  echo
  echo "### A whole script with one call"
  echo
  if ! has curl; then
    echo "Not measured: curl is missing."
    return
  fi
  # What both read without being told anything, each from its own mouth.
  curl -q -s -v -o /dev/null "$https_1/" >"$work/output" 2>&1 || true
  curl_file=$(sed -n 's/^.*CAfile: *//p' "$work/output")
  curl_path=$(sed -n 's/^.*CApath: *//p' "$work/output")
  if [ -z "$curl_file$curl_path" ]; then
    echo "Not measured: this curl does not tell where it reads certificates from."
    return
  fi
  our_store=$("$LUA" -e 'local info = require("autopilot.core").info()
    io.write(info.ca_path and "path" or info.ca_file and "file" or "none")')
  copy_store "${curl_file:-none}" "${curl_path:-none}"
  case $our_store in
    path) our_trust=SSL_CERT_DIR=$store_path ;;
    file) our_trust=SSL_CERT_FILE=$store_file ;;
    *)
      echo "Not measured: libcurl does not tell where it reads certificates from."
      return
      ;;
  esac
  curl_trust=
  if [ "$store_file" != none ]; then
    curl_trust="--cacert $store_file"
  fi
  if [ "$store_path" != none ]; then
    curl_trust="$curl_trust --capath $store_path"
  fi
  rounds=60
  if [ "$quick" = yes ]; then
    rounds=15
  fi
  say "a whole script with one call, and curl, in turn"
  # shellcheck disable=SC2086
  attend "$programs/in_turn" $rounds 5 \
    -- "$our_trust" "$LUA" spec/bench/one_call.lua "$https_2" "$token_file" \
    -- curl -q --silent --show-error --fail $curl_trust --request POST --data "" \
    --header "Content-Type:" --header "Accept: application/json" --user-agent "$user_agent" \
    --header "client-request-id: 6fd0d8c0-5d5c-4a08-9b3c-7f5b2c3d4e5f" \
    --header "Authorization: Bearer $(cat "$token_file")" "$https_2$path" >"$work/output"
  echo "TLS, process start included, with a copy of the machine's own certificate store"
  if [ "$store_file" != none ]; then
    echo "($(grep -c BEGIN "$store_file") authorities). $rounds pairs, one after the other; medians."
  else
    echo "$rounds pairs, one after the other; medians."
  fi
  echo
  awk '
    NR == 1 { ratio = $2 }
    { wall[NR] = $1; peak[NR] = $3 }
    END {
      print "| | wall time | to `curl` | goal | peak memory | to `curl` | goal |"
      print "|---|---|---|---|---|---|---|"
      printf "| script with `client:sync()` | %.1f ms | %.2f | ≤ 0.45 | %.1f MiB | %.2f | ≤ 1.1 |\n",
        wall[1], ratio, peak[1] / 1024, peak[1] / peak[2]
      printf "| `curl` command | %.1f ms | | | %.1f MiB | | |\n", wall[2], peak[2] / 1024
    }' "$work/output"
}

many_calls_in_a_process() {
  echo
  echo "### Many calls in one process"
  echo
  if ! [ -r /proc/self/status ]; then
    echo "Not measured: this system has no /proc."
    return
  fi
  counts="1000 10000 100000"
  if [ "$quick" = yes ]; then
    counts="1000 5000 20000"
  fi
  say "many calls in one process"
  # shellcheck disable=SC2086
  attend "$LUA" spec/bench/many_calls.lua "$https_2" "$token_file" "$ca_file" $counts \
    >"$work/output"
  awk '
    BEGIN {
      print "| `client:sync()`, TLS, HTTP/2 | resident memory | open descriptors |"
      print "|---|---|---|"
    }
    { printf "| after %d calls | %.2f MiB | %d |\n", $1, $2 / 1024, $3 }' "$work/output"
}
