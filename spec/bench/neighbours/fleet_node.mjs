// As many requests with Node's http2 client, each with a token of its own; every answer must be a 204.
//   fleet_node.mjs BASE_URL TOKEN_FILE COUNT CONCURRENCY
// NODE_EXTRA_CA_CERTS names the authority. Prints the milliseconds of processor time.
import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { randomUUID } from "node:crypto";

const [baseUrl, tokenFile, countText, concurrencyText] = process.argv.slice(2);
const beginning = readFileSync(tokenFile, "utf8").split("\n")[0].slice(0, -8);
const count = Number(countText);
const concurrency = Number(concurrencyText);
const sessions = [];
for (let index = 0; index < Math.ceil(concurrency / 100); index++) {
  sessions.push(connect(baseUrl));
}
let begun = 0;

function ask(session, number) {
  return new Promise((resolve, reject) => {
    const stream = session.request(
      {
        ":method": "POST",
        ":path": "/beta/deviceManagement/windowsAutopilotSettings/sync",
        authorization: `Bearer ${beginning}${String(number).padStart(8, "0")}`,
        accept: "application/json",
        "client-request-id": randomUUID(),
      },
      { endStream: true },
    );
    stream.on("response", (headers) =>
      headers[":status"] === 204 ? resolve() : reject(new Error(`HTTP ${headers[":status"]}`)),
    );
    stream.on("error", reject);
    stream.resume();
  });
}

async function work(session) {
  while (begun < count) {
    await ask(session, begun++);
  }
}

const workers = [];
for (let index = 0; index < concurrency; index++) {
  workers.push(work(sessions[index % sessions.length]));
}
await Promise.all(workers);
const { user, system } = process.cpuUsage();
console.log(((user + system) / 1e3).toFixed(3));
sessions.forEach((session) => session.close());
