// An OAuth server that is not ours, oidc-provider: it judges how applications prove who they are, and refresh tokens.
//
// node oidc_provider.mjs SETTINGS listens on a free port of loopback, and writes what there is to know into the file
// `ready` of SETTINGS, a JSON file. It ends when its standard input does.

import { createRequire } from "node:module";
import { createPublicKey } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const load = createRequire(settings.packages + "/");
const { default: Provider } = await import(pathToFileURL(load.resolve("oidc-provider")));

const scope = `${settings.scope} offline_access openid`;
const common = {
  grant_types: ["client_credentials", "refresh_token", "authorization_code"],
  redirect_uris: ["https://app.test/"],
  response_types: ["code"],
  scope,
};
const key = createPublicKey(readFileSync(settings.public_key)).export({ format: "jwk" });

const server = createServer((request, response) => answer(request, response));
let answer;

async function refreshToken(provider, clientId) {
  const grant = new provider.Grant({ clientId, accountId: "ann" });
  grant.addOIDCScope(scope);
  const client = await provider.Client.find(clientId);
  const made = { client, accountId: "ann", grantId: await grant.save(), scope, gty: "authorization_code" };
  return new provider.RefreshToken(made).save();
}

server.listen(0, "127.0.0.1", async () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(url, {
    routes: { token: "/contoso/oauth2/v2.0/token" },
    scopes: ["openid", "offline_access", settings.scope],
    clientAuthMethods: ["client_secret_post", "private_key_jwt", "none"],
    enabledJWA: { clientAuthSigningAlgValues: ["PS256"] },
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    rotateRefreshToken: true,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    clients: [
      { client_id: "secret", client_secret: settings.secret, token_endpoint_auth_method: "client_secret_post", ...common },
      { client_id: "certified", jwks: { keys: [key] }, token_endpoint_auth_method: "private_key_jwt", ...common },
    ],
  });
  answer = provider.callback();
  const refresh = { secret: await refreshToken(provider, "secret"), certified: await refreshToken(provider, "certified") };
  writeFileSync(`${settings.ready}.new`, JSON.stringify({ url, refresh }));
  renameSync(`${settings.ready}.new`, settings.ready);
});

process.stdin.on("end", () => process.exit(0)).resume();
