// What people do in a real browser, for tests/tests/browser.rs, which starts the cluster and this.
//
//   MODULES=DIR CHROMIUM=FILE PAGES=http://127.0.0.1:PORT [SHOTS=DIR] node journeys.mjs
//
// MODULES is where playwright-core and axe-core are installed; with SHOTS each page's picture is kept. "kill" on
// standard output asks for the primary to be killed; a line on standard input says that it is.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { strict as assert } from "node:assert";
import { join } from "node:path";

const { MODULES, CHROMIUM, PAGES, SHOTS } = process.env;
const from = createRequire(join(MODULES, "node_modules", "x.js"));
const { chromium } = from("playwright-core");
const axe = readFileSync(from.resolve("axe-core/axe.min.js"), "utf8");

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const killPrimary = async () => {
  console.log("kill");
  await answers.next();
};

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });

/** Somebody new, with this code; whatever goes wrong in their pages fails the test. */
async function somebody(code, options = {}) {
  const context = await browser.newContext({ baseURL: PAGES, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => { throw error; });
  page.on("dialog", (dialog) => { throw new Error("a dialog: " + dialog.message()); });
  page.on("console", (said) => {
    // A refused form is an error to the console, too.
    if (said.type() === "error" && !said.text().includes("Failed to load resource")) throw new Error(said.text());
  });
  await page.goto("/");
  await page.getByLabel("User code").fill(code);
  await page.getByRole("button", { name: "That is me" }).click();
  return page;
}

const details = { "First name": "Ann", "Last name": "O'Neil <b>", "Phone number": "020 7946 0018", "Street and number": "1 North Bailey", "Postcode": "dh1 3le" };

async function fillDetails(page) {
  for (const [label, value] of Object.entries(details)) await page.getByLabel(label).fill(value);
}

const text = (page) => page.locator("main").innerText();

const journeys = {
  async "order with the mouse, and cancel"() {
    const page = await somebody("mouse");
    await page.getByRole("button", { name: "Add Pizza" }).click();
    await page.getByRole("button", { name: "Add Apple" }).click();
    await page.getByLabel("How many Apple").fill("3");
    await page.getByRole("button", { name: "Update" }).last().click();
    assert.match(await text(page), /4 items, £14\.92/);
    await page.getByRole("link", { name: "Checkout" }).last().click();
    await fillDetails(page);
    await page.getByText(/DH1 3LE .*form is right|DH1 3LE, Durham/).waitFor();
    await page.getByLabel("Within two hours").check();
    await page.getByLabel("Tip for the rider").fill("1.50");
    await page.getByRole("button", { name: "Review your order" }).click();
    assert.match(await text(page), /Ann O'Neil <b>[\s\S]*Total\s+£19\.42/);
    await page.getByRole("button", { name: /Place this order/ }).click();
    assert.match(await text(page), /Order #1 successfully placed! Please pay on delivery\./);
    // Loading it again orders nothing; nor does coming back.
    await page.reload();
    await page.goBack();
    await page.goto("/orders");
    assert.equal(await page.getByRole("heading", { level: 2 }).count(), 1);
    await page.getByRole("link", { name: "Order #1" }).click();
    await page.getByText("Cancel this order").click();
    await page.getByRole("button", { name: "Cancel order #1" }).click();
    assert.match(await text(page), /Order #1 is cancelled/);
    await page.context().close();
  },

  async "order with the keyboard only"() {
    const page = await somebody("keyboard");
    const focused = () => page.evaluate(() => (document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim());
    const tabTo = async (wanted) => {
      for (let steps = 0; steps < 80; steps++) {
        await page.keyboard.press("Tab");
        if (wanted.test(await focused())) return;
      }
      assert.fail("no way by Tab to " + wanted);
    };
    const enter = async () => Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    await page.goto("/");
    await tabTo(/^Skip/);
    await tabTo(/^Add\s+Burger/);
    await enter();
    await tabTo(/Take out/);
    await tabTo(/^Checkout/);
    await enter();
    for (const [label, value] of Object.entries(details)) {
      await tabTo(new RegExp("^" + label));
      await page.keyboard.type(value);
    }
    await tabTo(/^Next day/);
    await page.keyboard.press("ArrowDown");
    await tabTo(/^Tip/);
    await page.keyboard.type("2");
    await enter();
    assert.match(await text(page), /Same day\s+£1\.00/);
    await tabTo(/^Place this order/);
    await enter();
    assert.match(await text(page), /Order #1 successfully placed/);
    await page.context().close();
  },

  async "order without JavaScript"() {
    const page = await somebody("no script", { javaScriptEnabled: false });
    await page.getByRole("button", { name: "Add Kale" }).click();
    await page.goto("/checkout");
    await page.getByRole("button", { name: "Review your order" }).click();
    assert.match(await text(page), /There is a problem[\s\S]*Your first name is missing/);
    await fillDetails(page);
    await page.getByRole("button", { name: "Review your order" }).click();
    await page.getByRole("button", { name: /Place this order/ }).click();
    assert.match(await text(page), /Order #1 successfully placed/);
    await page.goto("/cluster");
    assert.match(await text(page), /HEALTHY[\s\S]*replica\.1/);
    await page.context().close();
  },

  async "press twice, order once"() {
    const page = await somebody("twice");
    await page.getByRole("button", { name: "Add Burger" }).click();
    await page.goto("/checkout");
    await fillDetails(page);
    await page.getByRole("button", { name: "Review your order" }).click();
    await page.getByRole("button", { name: /Place this order/ }).dblclick();
    await page.waitForURL(/orders\/1/);
    await page.goBack();
    assert.match(await text(page), /Your basket is empty/);
    await page.goto("/orders");
    assert.equal(await page.getByRole("heading", { level: 2 }).count(), 1);
    await page.context().close();
  },

  async "what is wrong is said, linked and focused"() {
    const page = await somebody("wrong");
    await page.getByRole("button", { name: "Add Burger" }).click();
    await page.goto("/checkout");
    await fillDetails(page);
    await page.getByLabel("Postcode").fill("DH1 3LEX");
    await page.getByText(/Invalid postcode/).waitFor();
    await page.getByRole("button", { name: "Review your order" }).click();
    await page.waitForFunction(() => document.activeElement?.id === "errors");
    await page.getByRole("link", { name: /Invalid postcode/ }).click();
    assert.equal(await page.evaluate(() => document.activeElement.id), "postcode");
    assert.equal(await page.getByLabel("Last name").inputValue(), details["Last name"]);
    await page.context().close();
  },

  async "rate a movie, and take it back"() {
    const page = await somebody("rater");
    await page.goto("/movies/heat-1995");
    await page.getByLabel("Your stars").fill("4.5");
    await page.getByRole("button", { name: "Rate it" }).click();
    assert.match(await text(page), /Your rating is kept\.[\s\S]*4\.50 of 5, from 1 rating/);
    await page.getByRole("button", { name: "Take my rating back" }).click();
    assert.match(await text(page), /Your rating is taken back\.[\s\S]*No ratings yet/);
    await page.getByLabel("Your stars").fill("4");
    await page.getByRole("button", { name: "Rate it" }).click();
    await page.context().close();
  },

  async "find, add and edit a movie"() {
    const page = await somebody("films");
    await page.goto("/movies");
    await page.getByLabel("Find a movie").fill("matrix");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("link", { name: "The Matrix" }).click();
    assert.match(await text(page), /The Matrix 1999/);
    await page.goto("/movies/new");
    await page.getByLabel("Title").fill("<script>alert(1)</script>");
    await page.getByLabel("Year").fill("2020");
    await page.getByLabel("What it is about").fill("</p><img src=x onerror=alert(2)>\nTwo lines.");
    await page.getByLabel("Genres").fill("Drama, <i>");
    await page.getByRole("button", { name: "Add it" }).click();
    assert.match(await text(page), /Movie entry added\.[\s\S]*<script>alert\(1\)<\/script> 2020[\s\S]*<img src=x onerror=alert\(2\)>/);
    await page.getByRole("link", { name: "Edit this entry" }).click();
    await page.getByLabel("Where to read of it").fill("https://example.org/a?b=1&c='\"");
    await page.getByRole("button", { name: "Save" }).click();
    assert.match(await text(page), /Movie entry updated\./);
    await page.context().close();
  },

  async "no page breaks a rule of accessibility, in light and dark, wide and narrow"() {
    const page = await somebody("ann");
    for (const item of ["Burger", "Pizza"]) await page.getByRole("button", { name: "Add " + item }).click();
    await page.goto("/checkout");
    await fillDetails(page);
    await page.getByRole("button", { name: "Review your order" }).click();
    await page.getByRole("button", { name: /Place this order/ }).click();
    await page.goto("/");
    for (const item of ["Burger", "Apple"]) await page.getByRole("button", { name: "Add " + item }).click();
    const pages = {
      menu: "/", checkout: "/checkout", review: "/checkout?review&delivery=2h&tip=1.00", orders: "/orders",
      order: "/orders/1?placed", movies: "/movies", search: "/movies?q=matirx", movie: "/movies/heat-1995",
      add: "/movies/new", edit: "/movies/the-matrix-1999/edit", cluster: "/cluster", about: "/about", nothing: "/nothing",
    };
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 320]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 800 });
        for (const [name, path] of Object.entries(pages)) {
          await page.goto(path);
          if (name === "cluster") await page.getByText(/^Live:/).waitFor();
          if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}-${colorScheme}-${width}.png`), fullPage: true });
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          assert.ok(wide <= width, `${path} is ${wide} wide at ${width}`);
          await page.evaluate(axe);
          const found = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
          const told = found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).join(" | ")}`);
          assert.deepEqual(told, [], `${path}, ${colorScheme}, ${width}`);
        }
      }
    }
    await page.context().close();
  },

  async "the primary is killed during checkout, and the cluster page tells of it"() {
    const page = await somebody("fail-over");
    await page.getByRole("button", { name: "Add Burger" }).click();
    await page.goto("/checkout");
    await fillDetails(page);
    await page.getByRole("button", { name: "Review your order" }).click();
    const watching = await page.context().newPage();
    await watching.goto("/cluster");
    await watching.getByText("Live: HEALTHY").waitFor();
    await Promise.all([killPrimary(), page.getByRole("button", { name: /Place this order/ }).click()]);
    await page.waitForURL(/orders\/1/);
    assert.match(await text(page), /Order #1 successfully placed/);
    await watching.getByText("Live: DEGRADED").waitFor();
    await watching.getByText(/Last fail-over .* to epoch/).first().waitFor();
    if (SHOTS) await watching.screenshot({ path: join(SHOTS, "failover-light-1280.png"), fullPage: true });
    await page.context().close();
  },
};

for (const [name, journey] of Object.entries(journeys)) {
  console.error("journey: " + name);
  await journey();
}
await browser.close();
process.exit(0);
