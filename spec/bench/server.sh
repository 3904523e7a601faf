# shellcheck shell=sh
# Read by common.sh: servers to ask, their certificate (ca_file), and the token that is sent (token_file).

ca_file=
token_file=

make_certificates() {
  mkdir "$work/tls"
  ca_file=$work/tls/ca.pem
  cat >"$work/tls/openssl.cnf" <<'END'
[req]
distinguished_name = nobody
prompt = no
[nobody]
CN = autopilot-sync benchmark
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
END
  (
    cd "$work/tls"
    openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 2 -config openssl.cnf \
      -extensions authority -subj "/CN=autopilot-sync benchmark authority" \
      -keyout ca_key.pem -out ca.pem
    openssl req -new -newkey rsa:2048 -nodes -sha256 -config openssl.cnf -subj "/CN=127.0.0.1" \
      -keyout key.pem -out request.pem
    openssl x509 -req -sha256 -days 2 -in request.pem -CA ca.pem -CAkey ca_key.pem \
      -set_serial 2 -extfile openssl.cnf -extensions server -out certificate.pem
  ) >"$work/tls/log" 2>&1 || {
    cat "$work/tls/log" >&2
    return 1
  }
  rm "$work/tls/ca_key.pem"
}

# Letters as in a JSON Web Token.
random_letters() {
  openssl rand -base64 "$1" | tr -d '\n=' | tr '+/' '-_' | cut -c "1-$1"
}

# The claims of an access token of Entra ID for an application, about 1,000 bytes.
token_claims() {
  tid=11111111-2222-4333-8444-555555555555 id=00000000-0000-4000-8000-000000000001
  issuer=https://sts.windows.net/$tid/
  printf '{"aud":"https://graph.microsoft.com","iss":"%s","iat":1790000000,"exp":4102444800,' "$issuer"
  printf '"aio":"%s","app_displayname":"Autopilot sync","appid":"%s",' "$(random_letters 290)" "$id"
  printf '"appidacr":"2","idp":"%s","idtyp":"app","oid":"%s","rh":"%s",' "$issuer" "$id" \
    "$(random_letters 50)"
  printf '"roles":["DeviceManagementServiceConfig.ReadWrite.All"],"sub":"%s",' "$id"
  printf '"tenant_region_scope":"EU","tid":"%s","uti":"%s","ver":"1.0",' "$tid" "$(random_letters 22)"
  printf '"wids":["0997a1d0-0d1d-4acb-b408-d5ca73121e90"],"xms_tcdt":1590000000}'
}

# About 1,800 bytes in the shape of an access token of Entra ID, which nobody has issued. Its claims are
# JSON, because each tenant's token is read before it is sent.
make_token() {
  token_file=$work/token
  claims=$(token_claims | openssl base64 -A | tr -d '=' | tr '+/' '-_')
  echo "eyJ$(random_letters 97).$claims.$(random_letters 342)" >"$token_file"
}

# So far below 32768 that no port of an outgoing connection is met.
random_port() {
  echo $(($(od -An -N2 -tu2 /dev/urandom) % 20000 + 10000))
}

lua_module_folder=

# Finds nginx's Lua module, which nginx then loads.
find_lua_module() {
  folder=$(nginx -V 2>&1 | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
  for folder in $folder /usr/lib/nginx/modules /usr/lib64/nginx/modules /usr/share/nginx/modules \
    /usr/local/nginx/modules; do
    if [ -f "$folder/ngx_http_lua_module.so" ]; then
      lua_module_folder=$folder
      return 0
    fi
  done
  return 1
}

# What the configuration of every nginx here begins with, up to the inside of `http`; its closing brace
# is left to the rest: `nginx_head NAME CONNECTIONS [NAME_IN_THE_ENVIRONMENT...]`.
nginx_head() {
  if [ -n "$lua_module_folder" ]; then
    echo "load_module $lua_module_folder/ndk_http_module.so;"
    echo "load_module $lua_module_folder/ngx_http_lua_module.so;"
  fi
  cat <<END
daemon off;
master_process off;
pid $work/$1/pid;
error_log $work/$1/error.log warn;
events { worker_connections $2; }
END
  folder=$work/$1
  shift 2
  if [ $# -gt 0 ]; then
    printf 'env %s;\n' "$@"
  fi
  cat <<END
http {
  access_log off;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  large_client_header_buffers 4 32k;
END
}

# What makes a server look like Microsoft Graph: TLS, and about its headers.
graph_lines() {
  cat <<END
  ssl_certificate $work/tls/certificate.pem;
  ssl_certificate_key $work/tls/key.pem;
  add_header Cache-Control "no-store, no-cache" always;
  add_header Vary "Accept-Encoding" always;
  add_header Strict-Transport-Security "max-age=31536000" always;
  add_header request-id \$request_id always;
  add_header client-request-id \$http_client_request_id always;
  add_header x-ms-ags-diagnostic '{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5","ScaleUnit":"002","RoleInstance":"AM1PEPF0001A2B3"}}' always;
END
}

# True when it serves: the file with its process id is written after the ports are open.
nginx_serves() {
  while kill -0 "$started" 2>/dev/null; do
    if [ -s "$work/$1/pid" ]; then
      return 0
    fi
    sleep 0.02
  done
  wait "$started" || true
  return 1
}

# Runs an nginx until this script ends, in a folder of that name: `start_nginx NAME CONFIGURATION`. The
# function CONFIGURATION, which is given the name, chooses ports and prints what stands in nginx.conf;
# where a port was taken it is asked again.
start_nginx() {
  mkdir "$work/$1"
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    "$2" "$1" >"$work/$1/nginx.conf"
    leashed nginx -e "$work/$1/error.log" -p "$work/$1/" -c "$work/$1/nginx.conf" \
      >"$work/$1/log" 2>&1 &
    started=$!
    earlier=$servers
    servers="$servers $started"
    if nginx_serves "$1"; then
      return 0
    fi
    servers=$earlier
  done
  say "nginx ($1) did not start in $attempt attempts:"
  cat "$work/$1/log" "$work/$1/error.log" >&2
  return 1
}
