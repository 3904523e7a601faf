# The portal on OpenResty. From the root of this tree:
#
#   docker build -f examples/docker/openresty.Dockerfile -t autopilot-portal .
#   docker run -p 127.0.0.1:8080:8080 -v "$PWD/tenants.txt:/portal/tenants.txt:ro" \
#     -e AZURE_CLIENT_ID -e AZURE_CLIENT_SECRET autopilot-portal
#
# PORTAL_HOSTS has to have the name by which browsers reach it, if that is not localhost.

FROM openresty/openresty:bookworm-fat AS build
# libcurl with GnuTLS, because OpenResty brings an OpenSSL of its own.
RUN apt-get update && apt-get install -y --no-install-recommends \
    gcc libc6-dev make pkg-config libcurl4-gnutls-dev liblua5.1-0-dev
WORKDIR /src
COPY Makefile README.md CHANGELOG.md LICENSE ./
COPY src src
COPY lua lua
COPY bin bin
COPY doc doc
COPY examples examples
# LuaJIT loads what is built for Lua 5.1, from /usr/local/share/lua/5.1.
RUN make LUA=lua5.1 DESTDIR=/stage install

FROM openresty/openresty:bookworm-fat
RUN apt-get update && apt-get install -y --no-install-recommends libcurl3-gnutls ca-certificates \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /stage/usr/local /usr/local
RUN mkdir /portal && echo 'listen 8080;' >/portal/listen.conf && chown -R nobody:nogroup /portal
USER nobody
EXPOSE 8080
STOPSIGNAL SIGQUIT
CMD ["sh", "-c", "/usr/local/share/autopilot-sync/portal/prepare /portal && exec openresty -e stderr -p /portal/ -c /portal/nginx.conf"]
