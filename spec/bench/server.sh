# shellcheck shell=sh
# Read by run.sh: the server that is asked, its certificate, and the token that is sent.
#
# It sets http, https_1 and https_2, the base URLs for plain HTTP/1.1, TLS with HTTP/1.1 and TLS with
# HTTP/2; witness, the base URL of a server that notes down what it is sent; ca_file; token_file.

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

# 1,800 bytes in the shape of an access token of Entra ID, which nobody has issued.
make_token() {
  token_file=$work/token
  echo "eyJ$(random_letters 97).eyJ$(random_letters 1353).$(random_letters 342)" >"$token_file"
}

# So far below 32768 that no port of an outgoing connection is met.
random_port() {
  echo $(($(od -An -N2 -tu2 /dev/urandom) % 20000 + 10000))
}

# The headers are about those of Microsoft Graph.
write_configuration() {
  cat <<END
daemon off;
master_process off;
pid $work/server/pid;
error_log $work/server/error.log warn;
events { worker_connections 64; }
http {
  log_format request '\$request_method \$request_uri length=\$request_length'
                     ' content-length=\$http_content_length content-type=\$http_content_type'
                     ' accept=\$http_accept user-agent=\$http_user_agent expect=\$http_expect';
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
  server { listen 127.0.0.1:$port_http; return 204; }
  server { listen 127.0.0.1:$port_https_1 ssl; return 204; }
  server { listen 127.0.0.1:$port_https_2 ssl http2; return 204; }
  server { listen 127.0.0.1:$port_witness; access_log $work/server/requests request; return 204; }
}
END
}

# True when it serves: the file with its process id is written after the ports are open.
server_serves() {
  while kill -0 "$server" 2>/dev/null; do
    if [ -s "$work/server/pid" ]; then
      return 0
    fi
    sleep 0.02
  done
  wait "$server" || true
  server=
  return 1
}

start_server() {
  mkdir "$work/server"
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    port_http=$(random_port)
    port_https_1=$(random_port)
    port_https_2=$(random_port)
    port_witness=$(random_port)
    write_configuration >"$work/server/nginx.conf"
    leashed nginx -e "$work/server/error.log" -p "$work/server/" -c "$work/server/nginx.conf" \
      >"$work/server/log" 2>&1 &
    server=$!
    if server_serves; then
      http=http://127.0.0.1:$port_http
      https_1=https://127.0.0.1:$port_https_1
      https_2=https://127.0.0.1:$port_https_2
      witness=http://127.0.0.1:$port_witness
      return 0
    fi
  done
  say "nginx did not start in $attempt attempts:"
  cat "$work/server/log" "$work/server/error.log" >&2
  return 1
}
