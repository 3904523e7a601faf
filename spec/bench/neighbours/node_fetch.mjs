// node_fetch.mjs BASE_URL TOKEN_FILE COUNT: the calls made with Node's fetch, which keeps its
// connection. Prints the microseconds that each but the first took. The certificate authority comes
// from NODE_EXTRA_CA_CERTS.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

const [baseUrl, tokenFile, count] = process.argv.slice(2);
const token = readFileSync(tokenFile, "utf8").trim();

async function call() {
  const response = await fetch(`${baseUrl}/beta/deviceManagement/windowsAutopilotSettings/sync`, {
    method: "POST",
    redirect: "manual",
    headers: {
      Authorization: `Bearer ${token}`,
      Accept: "application/json",
      "client-request-id": randomUUID(),
    },
  });
  await response.arrayBuffer();
  if (response.status !== 204) throw new Error(`status ${response.status}`);
}

await call();
const began = process.hrtime.bigint();
for (let made = 1; made < Number(count); made++) await call();
console.log((Number(process.hrtime.bigint() - began) / 1e3 / (count - 1)).toFixed(3));
