// Uses the portal's dashboard in Chromium, as a person would: with the mouse, the keyboard, on a phone.
//
// node dashboard.mjs SETTINGS prints one JSON object: scenario -> what was seen, or its error. SETTINGS is a
// JSON file: the portal's address, the browser, the folder of the packages, and perhaps one for screenshots.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const load = createRequire(settings.packages + "/");
const { chromium } = load("playwright-core");
const browser = await chromium.launch({
  executablePath: settings.browser,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

const hostile = [
  "<img/src=x/onerror=hacked=1>",
  "\"><script>hacked=1</script>",
  "'-alert(1)-'",
  "{{7*7}}${7*7}",
  "\u202egpj.example",
  "x".repeat(300) + ".example",
];

// A page of the portal, which notes what its policy refuses and what goes wrong in it.
async function open(options = {}, answer) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 }, permissions: ["clipboard-read", "clipboard-write"], ...options,
  });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  if (options.time) await page.clock.install({ time: options.time * 1000 });
  passed = 0;
  if (answer) {
    await page.route(/\/tenants(\?.*)?$/, (route) => {
      const body = answer(route.request());
      return body ? route.fulfill({ json: body }) : route.abort();
    });
  }
  await page.goto(settings.url + "/");
  await page.waitForFunction(() => document.getElementById("shown").textContent !== "");
  return page;
}

async function shot(page, name) {
  if (settings.shots) await page.screenshot({ path: `${settings.shots}/${name}.png` });
}

// What the table shows, from top to bottom.
function rowsOf(page) {
  return page.$$eval("#rows tr", (elements) => elements.map((element) => ({
    tenant: element.querySelector(".name").textContent,
    state: element.querySelector(".state").textContent,
    age: element.querySelector("td.time").textContent,
    outcome: element.querySelector(".outcome").textContent,
    hint: element.querySelector(".hint").textContent,
    button: element.querySelector(".word").textContent,
    disabled: element.querySelector(".sync").getAttribute("aria-disabled"),
    index: Number(element.getAttribute("aria-rowindex")),
  })).sort((one, other) => one.index - other.index));
}

function countersOf(page) {
  return page.$$eval(".counter", (list) => list.map((element) => element.textContent));
}

const start = 1796000000;
let passed = 0; // seconds, on a page whose clock is ours

async function pass(page, seconds) {
  for (let step = 0; step < seconds; step++) {
    passed++;
    await page.clock.runFor(1000);
  }
}

// Answers of GET /tenants that have never been.
function told(tenants, list = "made-up") {
  return { now: start + passed, max_age: 3600, list, tenants };
}

const outcomes = {
  fresh: { operation: "ensure", outcome: "fresh", ok: true, status: 200, request_id: "5c0e7a12-0000-4000-8000-000000000001" },
  started: { operation: "sync", outcome: "started", ok: true, status: 204, request_id: "9b1d44f0-0000-4000-8000-000000000002" },
  forbidden: {
    operation: "ensure", outcome: "forbidden", ok: false, status: 403, request_id: "77aa01c3-0000-4000-8000-000000000003",
    hint: "Grant the application DeviceManagementServiceConfig.ReadWrite.All with admin consent; a signed-in user also needs an Intune role.",
  },
  throttled: {
    operation: "sync", outcome: "throttled", ok: false, status: 429, request_id: "01f3b2de-0000-4000-8000-000000000004",
    hint: "The service is throttling this client: ask again after the time it names.",
  },
  unreachable: {
    operation: "ensure", outcome: "unreachable", ok: false,
    hint: "The service could not be reached and the request was not sent: check network, DNS and certificates.",
  },
};

function row(tenant, facts) {
  return { tenant, at: start - 10, needs_attention: false, ...facts };
}

const examples = [
  row("fabrikam.onmicrosoft.com", { last_trigger: start - 300, last_sync: start - 290, next_possible: start + 310, last: outcomes.fresh }),
  row("contoso.onmicrosoft.com", { last_trigger: start - 1800, last_sync: start - 1790, next_possible: start - 1190, last: outcomes.fresh }),
  row("litware.onmicrosoft.com", { last_trigger: start - 5000, next_possible: start + 5, last: outcomes.throttled }),
  row("woodgrove.onmicrosoft.com", { last_trigger: start - 90000, next_possible: start - 89000, last: outcomes.unreachable }),
  row("tailspin.onmicrosoft.com", {}),
  row("adatum.onmicrosoft.com", { needs_attention: true, last_trigger: start - 7200, next_possible: start - 6000, last: outcomes.forbidden }),
];

function thousands(count) {
  const list = [];
  for (let index = 0; index < count; index++) {
    list.push({ ...examples[index % 5 === 4 && index % 50 !== 4 ? 1 : index % 6], tenant: `tenant-${String(index).padStart(4, "0")}.onmicrosoft.com` });
  }
  return list;
}

const scenarios = {
  // The portal itself, with the emulated service behind it.
  async portal() {
    const page = await open();
    const before = await rowsOf(page);
    const counters = await countersOf(page);
    const named = (name) => page.locator("#rows tr", { has: page.getByText(name, { exact: true }) });
    const button = named("one.example").locator(".sync");
    await button.click();
    await page.waitForFunction(() => document.getElementById("say").textContent.includes("started"));
    await page.waitForFunction(() => [...document.querySelectorAll(".word")].some((one) => /^in \d+:\d\d$/.test(one.textContent)));
    const first = await button.locator(".word").textContent();
    await page.waitForTimeout(2100);
    const second = await button.locator(".word").textContent();
    await button.click({ force: true }); // which asks for nothing
    await named('refused"example').locator(".sync").click();
    await page.waitForFunction(() => document.getElementById("say").textContent.includes("token error"));
    await page.waitForFunction(() => document.getElementById("count-needs_attention").textContent === "1");
    const said = await page.textContent("#say");
    await named("one.example").locator(".copy").click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    await named("one.example").locator(".name").click();
    await page.waitForFunction(() => document.querySelectorAll("#details-history li").length > 0);
    const history = await page.$$eval("#details-history li", (list) => list.map((one) => one.textContent));
    await shot(page, "details");
    await page.keyboard.press("Escape");
    const injected = await page.addScriptTag({ content: "hacked = 1" }).then(() => "ran", () => "refused");
    const hacked = await page.evaluate(() => typeof hacked);
    const complaints = page.complaints.filter((text) => !/Content Security Policy|TrustedScript|502/.test(text));
    return { before, counters, first, second, said, copied, history, injected, hacked, complaints, after: await rowsOf(page) };
  },

  async states() {
    const page = await open({ time: start }, () => told(examples));
    const rows = await rowsOf(page), counters = await countersOf(page);
    await shot(page, "light");
    await pass(page, 2);
    const counting = (await rowsOf(page)).find((one) => one.tenant.startsWith("litware")).button;
    await pass(page, 5);
    const later = (await rowsOf(page)).find((one) => one.tenant.startsWith("litware"));
    return { rows, counters, counting, later, complaints: page.complaints };
  },

  async fiveThousand() {
    const page = await open({ time: start }, () => told(thousands(5000)));
    const counts = () => page.evaluate(() => ({
      rowcount: document.getElementById("grid").getAttribute("aria-rowcount"),
      elements: document.querySelectorAll("#rows tr").length,
    }));
    const top = await counts();
    await shot(page, "five-thousand");
    const times = await page.evaluate(() => {
      const list = [];
      const height = document.documentElement.scrollHeight;
      for (let step = 0; step < 200; step++) {
        const began = performance.now();
        scrollTo(0, (height * step) / 200);
        render();
        document.body.getBoundingClientRect(); // lays it out
        list.push(performance.now() - began);
      }
      scrollTo(0, height);
      render();
      return list.sort((one, other) => one - other);
    });
    const rows = await rowsOf(page);
    const bottom = await counts();
    const overlap = await page.$$eval("#rows tr", (list) => {
      const tops = list.map((one) => Math.round(one.getBoundingClientRect().top)).sort((a, b) => a - b);
      return tops.some((top, index) => index > 0 && top - tops[index - 1] < list[0].offsetHeight - 1);
    });
    return {
      top, bottom, overlap, last: rows.at(-1).index,
      inOrder: rows.every((one, index) => index === 0 || one.index > rows[index - 1].index),
      median: times[100], slow: times[190], complaints: page.complaints,
    };
  },

  async keyboard() {
    const page = await open({ time: start }, () => told(thousands(5000)));
    const where = () => page.evaluate(() => {
      const element = document.activeElement, tr = element.closest("tr");
      const box = tr && tr.getBoundingClientRect();
      return {
        index: tr && Number(tr.getAttribute("aria-rowindex")), part: element.className || element.localName,
        seen: Boolean(box) && box.top >= 0 && box.bottom <= innerHeight + 1,
      };
    });
    await page.focus("#filter");
    const seen = [];
    for (const key of ["Tab", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "End", "PageUp", "Home", "ArrowLeft"]) {
      await page.keyboard.press(key);
      seen.push([key, await where()]);
    }
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    await page.route(/history$/, (route) => route.fulfill({ json: { history: [] } }));
    await page.keyboard.press("Enter");
    const dialog = await page.evaluate(() => document.getElementById("details").open);
    await page.keyboard.press("Escape");
    const back = await where();
    await page.keyboard.press("Tab"); // through the parts of the row, then out of the table
    for (let step = 0; step < 4; step++) await page.keyboard.press("Tab");
    const left = (await where()).index;
    return { seen, dialog, back, left, complaints: page.complaints };
  },

  async filters() {
    const page = await open({ time: start }, () => told(thousands(5000)));
    await page.fill("#filter", "tenant-0012");
    const byName = { rows: (await rowsOf(page)).length, shown: await page.textContent("#shown") };
    await page.fill("#filter", "GRANT the application");
    const byHint = (await rowsOf(page)).every((one) => one.outcome.startsWith("forbidden"));
    await page.fill("#filter", "");
    await page.click(".counter.stale");
    const byState = { rows: new Set((await rowsOf(page)).map((one) => one.state)).size, pressed: await page.getAttribute(".counter.stale", "aria-pressed") };
    await page.fill("#filter", "nobody");
    return { byName, byHint, byState, none: await page.textContent("#none"), complaints: page.complaints };
  },

  async hostileNames() {
    const nasty = hostile.map((name) => row(name, {
      needs_attention: true, last: { ...outcomes.forbidden, hint: name, message: name, request_id: name },
    }));
    const page = await open({ time: start }, () => told(nasty));
    const names = (await rowsOf(page)).map((one) => one.tenant).sort();
    await page.route(/history$/, (route) => route.fulfill({ json: { history: [{ ...outcomes.forbidden, message: hostile[0], at: start, times: 1 }] } }));
    await page.click("#rows tr:first-child .name");
    await page.waitForFunction(() => document.querySelectorAll("#details-history li").length > 0);
    return {
      asText: JSON.stringify(names) === JSON.stringify([...hostile].sort()),
      hacked: await page.evaluate(() => typeof hacked),
      foreign: await page.$$eval("#rows img, #rows script, dialog img, dialog script", (list) => list.length),
      width: await page.evaluate(() => document.documentElement.scrollWidth),
      complaints: page.complaints,
    };
  },

  async phone() {
    const page = await open({ time: start, viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
      () => told([...examples, row(hostile.at(-1), { last: outcomes.started })]));
    await shot(page, "phone");
    return page.evaluate(() => {
      const inside = (element) => {
        const box = element.getBoundingClientRect(), rowBox = element.closest("tr").getBoundingClientRect();
        return box.width > 0 && box.left >= 0 && box.right <= 360 && box.top >= rowBox.top && box.bottom <= rowBox.bottom + 1;
      };
      return {
        width: document.documentElement.scrollWidth,
        rows: document.querySelectorAll("#rows tr").length,
        inside: [...document.querySelectorAll("#rows .name, #rows .sync, #rows .state, #rows .copy:not([hidden])")].every(inside),
        touch: Math.min(...[...document.querySelectorAll("#rows .sync")].map((one) => one.offsetHeight)),
      };
    });
  },

  // The smallest contrast of the texts of the rows with their background, light and dark.
  async contrast() {
    const found = {};
    for (const colorScheme of ["light", "dark"]) {
      const page = await open({ time: start, colorScheme }, () => told(examples));
      if (colorScheme === "dark") await shot(page, "dark");
      found[colorScheme] = await page.evaluate(() => {
        const light = (color) => {
          const [red, green, blue] = color.match(/[\d.]+/g).map(Number).map((value) => {
            const part = value / 255;
            return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
          });
          return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const surface = light(getComputedStyle(document.querySelector("#rows tr")).backgroundColor);
        const page = light(getComputedStyle(document.body).backgroundColor);
        const ratios = [];
        for (const [selector, background] of [["#rows .name, #rows .state, #rows .time, #rows .hint, #rows .outcome, #rows .copy, #rows .sync", surface], ["h1, #shown, #age", page]]) {
          for (const element of document.querySelectorAll(selector)) {
            const text = light(getComputedStyle(element).color);
            ratios.push((Math.max(text, background) + 0.05) / (Math.min(text, background) + 0.05));
          }
        }
        return Math.min(...ratios);
      });
    }
    return found;
  },

  // What axe finds that would hinder somebody: in the table, then in the last results of a tenant.
  async accessible() {
    const found = [];
    for (const options of [{}, { viewport: { width: 360, height: 740 }, colorScheme: "dark" }]) {
      const page = await open(options, () => told(examples));
      await page.evaluate(load("axe-core").source);
      const look = async () => {
        const { violations, passes } = await page.evaluate(() => axe.run());
        found.push(passes.length > 5 ? violations.map((one) => `${one.id}: ${one.nodes[0].html}`) : ["it did not run"]);
      };
      await look();
      await page.route(/history$/, (route) => route.fulfill({ json: { history: [{ ...outcomes.forbidden, at: start, times: 1 }] } }));
      await page.click("#rows tr:first-child .name");
      await page.waitForFunction(() => document.querySelectorAll("#details-history li").length > 0);
      await look();
    }
    return found;
  },

  async away() {
    let isAway = false;
    const page = await open({ time: start }, () => (isAway ? null : told(examples)));
    isAway = true;
    await pass(page, 6);
    await page.waitForSelector("#problem:not([hidden])");
    const problem = await page.textContent("#problem");
    isAway = false;
    await pass(page, 40);
    await page.waitForSelector("#problem[hidden]", { state: "attached" });
    return { problem, rows: (await rowsOf(page)).length };
  },

  async otherList() {
    let list = examples, name = "first";
    const page = await open({ time: start }, () => told(list, name));
    list = examples.slice(0, 2);
    name = "second";
    await pass(page, 6);
    await page.waitForFunction(() => document.getElementById("shown").textContent === "2 tenants");
    return { rows: (await rowsOf(page)).length };
  },
};

const results = {};
for (const [name, run] of Object.entries(scenarios)) {
  if (settings.only && settings.only !== name) continue;
  try {
    results[name] = await run();
  } catch (error) {
    results[name] = { error: String(error.stack || error) };
  }
  for (const context of browser.contexts()) await context.close();
}
await browser.close();
console.log(JSON.stringify(results));
