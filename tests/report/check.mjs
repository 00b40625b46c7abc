// Opens reports in Chromium and checks that they do what they promise.
//
//   node check.mjs FOLDER NAME:LANES...     the pages FOLDER/NAME.html; the one named "violated" breaks a promise
//
// Exit codes: 0 all checks hold, 1 one does not, 77 the browser cannot be started.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const SIZE_MAX = 2_000_000;
const CANNOT_CHECK = 77;
const [folder, ...pages] = process.argv.slice(2);
const { chromium } = createRequire(resolve(folder, "package.json"))("playwright-core");

const claims = {
  async "it is small"({ file }) {
    const { size } = statSync(file);
    assert.ok(size <= SIZE_MAX, `${size} bytes`);
  },

  async "it asks the network for nothing"({ requests, url }) {
    assert.deepEqual(requests.filter(asked => !asked.startsWith("data:")), [url]);
  },

  async "it has a lane with a name for each host"({ page, lanes }) {
    assert.equal(await page.locator("line.lane").count(), lanes);
    const names = await page.locator("#names div").allTextContents();
    assert.equal(names[0], "clients");
    assert.equal(new Set(names).size, lanes);
  },

  async "every call is a bar and a row, coloured by its outcome"({ page }) {
    const { calls, drawn, rows } = await page.evaluate(() => ({
      calls: data.calls.map(call => [call.id, call.end === null ? "wait" : call.status === "OK" ? "ok" : "bad"]),
      drawn: [...document.querySelectorAll(".bar")].map(bar => [bar.dataset.id, bar.classList[1]]),
      rows: [...document.querySelectorAll("#calls tr")].map(row => [row.dataset.id, row.querySelector(".pill").classList[1]]),
    }));
    assert.ok(calls.length > 0);
    assert.deepEqual(drawn, calls);
    assert.deepEqual(rows, calls);
    const colours = await page.evaluate(() => ["ok", "bad", "wait"].map(state => {
      const bar = document.querySelector(".bar." + state);
      return bar ? getComputedStyle(bar).stroke : state;
    }));
    assert.equal(new Set(colours).size, 3);
  },

  async "calls and segments are arrows between lanes"({ page }) {
    const arrows = await page.evaluate(() => [".hop", ".message"].map(kind => {
      const lines = [...document.querySelectorAll("line" + kind)];
      return lines.filter(line => line.getAttribute("y1") !== line.getAttribute("y2")).length;
    }));
    assert.ok(arrows.every(count => count > 0), String(arrows));
  },

  async "every fault is a shaded span with a name"({ page }) {
    const faults = await page.evaluate(() => data.faults.map(fault => fault.what));
    assert.equal(await page.locator("rect.fault").count(), faults.length);
    assert.deepEqual(await page.locator("text.faultname").allTextContents(), faults);
  },

  async "no label covers another"({ page }) {
    const covered = await page.evaluate(() => {
      const labels = [...document.querySelectorAll("svg text")].map(label => [label.textContent, label.getBoundingClientRect()]);
      const pairs = labels.flatMap(([a, one], n) => labels.slice(n + 1).map(([b, other]) => [a, one, b, other]));
      const apart = (one, other) => one.right <= other.left || other.right <= one.left || one.bottom <= other.top + 2 || other.bottom <= one.top + 2;
      return pairs.filter(([, one, , other]) => !apart(one, other)).map(([a, , b]) => `${a} / ${b}`);
    });
    assert.deepEqual(covered, []);
  },

  async "a broken promise is marked, and only that"({ page, isViolated }) {
    const marks = isViolated ? 1 : 0;
    assert.equal(await page.locator("#violation:visible").count(), marks);
    assert.equal(await page.locator("line.broken").count(), marks);
    assert.equal(await page.locator("text.brokenname").count(), marks);
    assert.equal(await page.locator("#outcome").textContent() === "violated", isViolated);
    if (!isViolated) return;
    const promise = await page.locator("#violation b").textContent();
    assert.match(await page.locator("text.brokenname").textContent(), new RegExp(promise));
    const { line, axis } = await page.evaluate(() => ({
      line: Number(document.querySelector("line.broken").getAttribute("x1")),
      axis: Number(document.querySelector("svg").getAttribute("width")),
    }));
    assert.ok(line > 0 && line < axis, `${line} of ${axis}`);
    assert.ok(await page.locator("#why li").count() > 0, "what led there is listed");
    await page.locator("#violation button").click();
    const id = await page.locator("#filter").inputValue();
    assert.match(await page.locator("#violation").textContent(), new RegExp(id));
    assert.equal(await page.locator(`.bar.named[data-id="${id}"]`).count(), 1);
    await page.locator("#filter").fill("");
  },

  async "the filter by a request id leaves only that request's call"({ page }) {
    const visible = () => page.evaluate(() => {
      const nodes = [...document.querySelectorAll("svg [data-id], svg .message, #calls tr")];
      return nodes.filter(node => node.checkVisibility()).map(node => node.dataset.id ?? "a segment");
    });
    const all = await visible();
    const id = await page.evaluate(() => data.calls[Math.floor(data.calls.length / 2)].id);
    await page.locator("#filter").fill(id);
    const left = await visible();
    assert.ok(left.length >= 2 && left.every(of => of === id), String(left));
    assert.equal(await page.locator("#detailname").textContent(), id);
    assert.match(await page.locator("#count").textContent(), /^1 of /);
    await page.locator("#filter").fill("");
    assert.deepEqual(await visible(), all);
  },

  async "a click on a call follows it, a second one lets it go"({ page }) {
    const row = page.locator("#calls tr").first(), id = await row.getAttribute("data-id");
    await row.click();
    assert.equal(await page.locator("#filter").inputValue(), id);
    await row.click();
    assert.equal(await page.locator("#filter").inputValue(), "");
  },

  async "zoom makes the drawing wider, and segments can be hidden"({ page }) {
    const width = () => page.evaluate(() => Number(document.querySelector("svg").getAttribute("width")));
    const narrow = await width();
    await page.locator("#zoom").fill("2");
    assert.ok(await width() > narrow * 3, `${narrow} to ${await width()}`);
    await page.locator("#zoom").fill("0");
    await page.locator("#segments").uncheck();
    assert.equal(await page.locator(".message").count(), 0);
    await page.locator("#segments").check();
  },
};

async function checked(browser, name, lanes) {
  const file = resolve(join(folder, name + ".html")), url = pathToFileURL(file).href;
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
  const requests = [], errors = [];
  page.on("request", request => requests.push(request.url()));
  page.on("pageerror", error => errors.push(String(error)));
  page.on("console", message => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
  await page.goto(url);
  await page.screenshot({ path: join(folder, name + ".png") });
  let failed = 0;
  const report = { page, file, url, lanes, requests, isViolated: name === "violated" };
  const last = { async "nothing went wrong in it"() { assert.deepEqual(errors, []); } };
  for (const [claim, check] of Object.entries({ ...claims, ...last })) {
    const fault = await check(report).then(() => null, error => error);
    console.log(fault ? `FAILED ${name}: ${claim}\n${fault.message}` : `ok ${name}: ${claim}`);
    failed += fault ? 1 : 0;
  }
  await page.close();
  return failed;
}

const options = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] };
const browser = await chromium.launch(options).catch(error => {
  console.error(`check: the browser cannot be started: ${error.message}`);
  process.exit(CANNOT_CHECK);
});
let failed = 0;
for (const [name, lanes] of pages.map(page => page.split(":"))) failed += await checked(browser, name, Number(lanes));
await browser.close();
console.log(failed ? `${failed} claims do not hold` : `all claims hold of ${pages.length} reports`);
process.exit(failed ? 1 : 0);
