// Uses the emulated service with the libraries that others use: @azure/identity, MSAL and the Graph client.
//
// node clients.mjs SETTINGS prints one JSON object: scenario -> what came of it, or its error. SETTINGS is
// a JSON file: where the service is and who may sign in. The packages are found in the folder PACKAGES.

import { createRequire } from "node:module";
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const load = createRequire(settings.packages + "/");
const identity = load("@azure/identity");
const msal = load("@azure/msal-node");
const pipeline = load("@azure/core-rest-pipeline");
const graph = load("@microsoft/microsoft-graph-client");
const { TokenCredentialAuthenticationProvider } = load(
  "@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials",
);

const root = settings.url;
const host = new URL(root).host;
const scope = "https://graph.microsoft.com/.default";
const record = "/deviceManagement/windowsAutopilotSettings";
const { client_id: clientId, client_secret: secret } = settings;
const direct = { authorityHost: root, disableInstanceDiscovery: true };

// The entrance for tests.
async function control(method, name, body) {
  const answer = await fetch(`${root}/emulator/${name}`, { method, body: body && JSON.stringify(body) });
  return answer.json();
}

function claimsOf(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
}

function graphClient(credential) {
  return graph.Client.initWithMiddleware({
    authProvider: new TokenCredentialAuthenticationProvider(credential, { scopes: [scope] }),
    baseUrl: root,
    customHosts: new Set(["localhost"]),
    defaultVersion: "beta",
  });
}

function withSecret(tenant, options) {
  return new identity.ClientSecretCredential(tenant, clientId, secret, { ...direct, ...options });
}

// What a token of the credential says, and what the service answers to a sync with it.
async function signIn(credential) {
  const { token } = await credential.getToken(scope);
  const { tid, appid, upn } = claimsOf(token);
  const answer = await fetch(`${root}/beta${record}/sync`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  return { tid, appid, upn, status: answer.status };
}

// Asks for a sync with the Graph client, without its retries unless they are wanted.
async function sync(tenant, retries = 0) {
  const request = graphClient(withSecret(tenant)).api(`${record}/sync`);
  try {
    const response = await request
      .middlewareOptions([new graph.RetryHandlerOptions(0, retries)])
      .responseType(graph.ResponseType.RAW)
      .post();
    return { status: response.status, code: (await response.json().catch(() => ({}))).error?.code };
  } catch (error) {
    return { status: error.statusCode, code: error.code, body: error.body };
  }
}

async function byDeviceCode(prompt) {
  const app = new msal.PublicClientApplication({
    auth: { clientId: "desk", authority: `${root}/home`, knownAuthorities: [host] },
  });
  const result = await app.acquireTokenByDeviceCode({ scopes: [scope], deviceCodeCallback: prompt });
  return { app, result };
}

const approve = ({ userCode }) =>
  control("POST", "approve", { user_code: userCode, user: "ann@contoso.example" });

const scenarios = {
  // The authority is unknown to MSAL, so it asks the public cloud, here the same service, about it.
  async discovery() {
    const paths = [];
    const toService = {
      name: "toService",
      sendRequest(request, next) {
        request.url = request.url.replace("https://login.microsoftonline.com", root);
        paths.push(new URL(request.url).pathname);
        return next(request);
      },
    };
    const credential = withSecret("found", {
      disableInstanceDiscovery: false,
      additionalPolicies: [{ policy: toService, position: "perCall" }],
    });
    return { ...(await signIn(credential)), paths };
  },

  async keys() {
    const configuration = await (await fetch(`${root}/t/v2.0/.well-known/openid-configuration`)).json();
    const { keys } = await (await fetch(configuration.jwks_uri)).json();
    return createPublicKey({ key: keys[0], format: "jwk" }).asymmetricKeyDetails.modulusLength;
  },

  secret: () => signIn(withSecret("by-secret")),

  certificate: () =>
    signIn(
      new identity.ClientCertificateCredential("by-certificate", "certified", settings.certificate, direct),
    ),

  async certificateBySha1() {
    const app = new msal.ConfidentialClientApplication({
      auth: {
        clientId: "certified",
        authority: `${root}/by-sha-1`,
        knownAuthorities: [host],
        clientCertificate: {
          thumbprint: settings.sha1,
          privateKey: readFileSync(settings.private_key, "utf8"),
        },
        clientCapabilities: ["CP1"],
      },
    });
    const result = await app.acquireTokenByClientCredential({ scopes: [scope] });
    return claimsOf(result.accessToken).tid;
  },

  workload: () =>
    signIn(
      new identity.WorkloadIdentityCredential({
        tenantId: "by-platform",
        clientId: "platform",
        tokenFilePath: settings.token_file,
        ...direct,
      }),
    ),

  deviceCode: () =>
    signIn(
      new identity.DeviceCodeCredential({
        tenantId: "home",
        clientId: "desk",
        userPromptCallback: approve,
        ...direct,
      }),
    ),

  personsTenant: () =>
    signIn(new identity.DeviceCodeCredential({ clientId: "desk", userPromptCallback: approve, ...direct })),

  async otherTenant() {
    const { app, result } = await byDeviceCode(approve);
    const there = await app.acquireTokenSilent({
      account: result.account,
      scopes: [scope],
      authority: `${root}/elsewhere`,
      forceRefresh: true,
    });
    return {
      account: result.account.username,
      here: claimsOf(result.accessToken).tid,
      there: claimsOf(there.accessToken).tid,
    };
  },

  declined: () =>
    byDeviceCode(({ userCode }) => control("POST", "decline", { user_code: userCode })).then(
      () => "signed in",
      (error) => error.message,
    ),

  pipelines() {
    process.env.SYSTEM_OIDCREQUESTURI = `${root}/_apis/jobs/oidctoken`;
    return signIn(
      new identity.AzurePipelinesCredential("by-pipeline", "platform", "connection", "key", direct),
    );
  },

  machine: () => signIn(new identity.ManagedIdentityCredential({ clientId: "machine" })),

  unknownMachine: () => signIn(new identity.ManagedIdentityCredential({ objectId: "unknown" })),

  // MSAL asks for another token in Service Fabric only.
  async machineClaimsChallenge() {
    const names = { IDENTITY_ENDPOINT: `${root}/metadata/identity/oauth2/token` };
    Object.assign(process.env, names, { IDENTITY_HEADER: "key", IDENTITY_SERVER_THUMBPRINT: "any" });
    const app = new msal.ManagedIdentityApplication({ clientCapabilities: ["cp1"] });
    const resource = "https://graph.microsoft.com";
    const post = ({ accessToken }) =>
      fetch(`${root}/beta${record}/sync`, {
        method: "POST",
        headers: { authorization: `Bearer ${accessToken}` },
      });
    await control("POST", "faults", { kind: "claims_challenge", on: "sync" });
    const refused = await post(await app.acquireToken({ resource }));
    const encoded = /claims="([^"]+)"/.exec(refused.headers.get("www-authenticate"))[1];
    const claims = Buffer.from(encoded, "base64").toString();
    const accepted = await post(await app.acquireToken({ resource, claims }));
    return [refused.status, accepted.status];
  },

  started: () => sync("fresh"),

  async inProgress() {
    await control("POST", "trigger", { tenant: "busy", duration: 60 });
    return sync("busy");
  },

  async cooldown() {
    await control("POST", "trigger", { tenant: "resting", duration: 0 });
    return sync("resting");
  },

  async throttledOnce() {
    await control("POST", "faults", { kind: "throttle", on: "sync", retry_after: 0 });
    return sync("throttled", 1);
  },

  async status() {
    const { syncStatus } = await graphClient(withSecret("fresh")).api(record).get();
    return syncStatus;
  },

  async firstVersion() {
    const request = graphClient(withSecret("fresh")).api(`${record}/sync`).version("v1.0");
    return request.post({}).catch((error) => ({ status: error.statusCode, message: error.message }));
  },

  // The pipeline of the SDKs of Azure answers a claims challenge by itself.
  async claimsChallenge() {
    await control("POST", "faults", { kind: "claims_challenge", on: "sync" });
    const client = pipeline.createPipelineFromOptions({});
    client.addPolicy(
      pipeline.bearerTokenAuthenticationPolicy({ credential: withSecret("revoked"), scopes: scope }),
    );
    const request = pipeline.createPipelineRequest({ url: `${root}/beta${record}/sync`, method: "POST" });
    const response = await client.sendRequest(pipeline.createDefaultHttpClient(), request);
    const { requests } = await control("GET", "state");
    return { status: response.status, requests };
  },
};

const results = {};
for (const [name, run] of Object.entries(scenarios)) {
  await control("POST", "reset");
  try {
    results[name] = await run();
  } catch (error) {
    results[name] = { error: `${error.name}: ${error.message}` };
  }
}
console.log(JSON.stringify(results));
