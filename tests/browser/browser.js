// Drives a Chromium for tests/parts/browser.py: each line of standard input is a script and its arguments, each line of standard output
// what came of it. A script sees `browser`, `open` (a new page), `page` (the last one that was opened), `complaints` and `args`.
"use strict";
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const AsyncFunction = (async () => {}).constructor;

const complaints = [];
let browser = null;
let page = null;

// Opens a page in a context of its own; whatever the browser complains about, and whatever is asked of anybody else, is noted.
const open = async (settings = {}) => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...settings });
  page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()} (${page.url()})`);
  });
  page.on("pageerror", (error) => complaints.push(`script: ${error}`));
  page.on("request", (request) => {
    if (new URL(request.url()).hostname !== "127.0.0.1") complaints.push(`asks elsewhere: ${request.url()}`);
  });
  return page;
};

// What axe-core finds wrong with the page, by the rules of WCAG 2.2 A and AA and its best practices. It is evaluated by the debugger, so
// that the policy of the page, which allows no other script, stays as it is.
const judge = async () => {
  const session = await page.context().newCDPSession(page);
  const source = require("fs").readFileSync(axe, "utf8");
  await session.send("Runtime.evaluate", { expression: source });
  const expression = "axe.run(document).then((found) => found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(' ')}`))";
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  await session.detach();
  if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails).slice(0, 500));
  return result.value;
};

(async () => {
  // In a container, and as root, Chromium has no sandbox of its own; it loads pages of this machine alone.
  browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  console.log(JSON.stringify({ value: browser.version() }));
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const { script, args } = JSON.parse(line);
    try {
      const run = new AsyncFunction("browser", "open", "page", "judge", "complaints", "args", script);
      const value = await run(browser, open, page, judge, complaints, args);
      console.log(JSON.stringify({ value: value === undefined ? null : value }));
    } catch (fault) {
      console.log(JSON.stringify({ fault: String(fault.stack || fault).slice(0, 2000) }));
    }
  }
  await browser.close();
})();
