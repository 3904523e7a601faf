# shellcheck shell=sh
# Read by run.sh: the same call made with other libraries, where they are installed.

# The first Lua that can load lua-http.
lua_for_lua_http() {
  for candidate in "$LUA" lua5.4 lua5.3 lua5.2 lua5.1 luajit; do
    if has "$candidate" && plain_lua "$candidate" -e \
      'require "http.client"; require "openssl.x509.store"'; then
      echo "$candidate"
      return
    fi
  done
}

# A Lua with its own default paths, and silent.
plain_lua() {
  env -u LUA_PATH -u LUA_CPATH "$@" >/dev/null 2>&1
}

# Adds a row's title, and its command to the words of `in_turn`, which are kept one to a line.
add_neighbour() {
  echo "$1" >>"$work/titles"
  shift
  printf '%s\n' -- "$@" >>"$work/words"
}

beside_others() {
  calls=2000
  rounds=7
  if [ "$quick" = yes ]; then
    calls=500
    rounds=3
  fi
  : >"$work/titles"
  : >"$work/words"
  : >"$work/absent"
  add_neighbour "\`client:sync()\`" "$LUA" spec/bench/client_sync.lua "$https_1" "$token_file" \
    $calls "$ca_file"
  lua=$(lua_for_lua_http)
  if [ -n "$lua" ]; then
    add_neighbour "lua-http ($lua)" env -u LUA_PATH -u LUA_CPATH \
      "$lua" spec/bench/neighbours/lua_http.lua "$https_1" "$token_file" $calls "$ca_file"
  else
    echo "lua-http is not installed: left out." >>"$work/absent"
  fi
  if has node && node -e 'process.exit(typeof fetch == "function" ? 0 : 1)'; then
    add_neighbour "fetch of Node $(node --version)" "NODE_EXTRA_CA_CERTS=$ca_file" \
      node spec/bench/neighbours/node_fetch.mjs "$https_1" "$token_file" $calls
  else
    echo "Node with fetch is not installed: left out." >>"$work/absent"
  fi
  if has python3 && python3 -c 'import requests' 2>/dev/null; then
    add_neighbour "Python requests $(python3 -c 'import requests; print(requests.__version__)')" \
      python3 spec/bench/neighbours/python_requests.py "$https_1" "$token_file" $calls "$ca_file"
  else
    echo "Python with requests is not installed: left out." >>"$work/absent"
  fi
  add_neighbour "C program with plain libcurl" "$programs/plain_libcurl" "$https_1$path" \
    "$token_file" $calls "$user_agent" "$ca_file"
  measure_neighbours
}

measure_neighbours() {
  say "beside other libraries"
  set --
  while IFS= read -r word; do
    set -- "$@" "$word"
  done <"$work/words"
  attend "$programs/in_turn" $rounds 1 "$@" >"$work/output"
  echo
  echo "### Beside other libraries"
  echo
  echo "TLS, HTTP/1.1, one connection, $calls calls in a process, $rounds rounds in turn; medians."
  echo
  awk '
    BEGIN {
      print "| | time for each call | to the C program | peak memory |"
      print "|---|---|---|---|"
    }
    NR == FNR { title[NR] = $0; next }
    { printf "| %s | %.0f µs | %.2f | %.1f MiB |\n", title[FNR], $4, $5, $3 / 1024 }
  ' "$work/titles" "$work/output"
  if [ -s "$work/absent" ]; then
    echo
    cat "$work/absent"
  fi
}
