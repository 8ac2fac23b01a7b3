// A web page that trades, with nothing but fetch. settings.json has the platform's address and an API key
// that lists this page's origin: a key for pages has few scopes, and elsewhere it is refused.

// Refusals after which another session may help.
const NEEDS_ANOTHER_SESSION = new Set(["SESSION_EXPIRED", "SESSION_INVALID"]);
const SESSION_MILLISECONDS = 3_600_000;
const SHOWN_CALLS = 7;

const element = (id) => document.getElementById(id);
let settings = null;
// In memory alone: it ends with the page, and a script elsewhere finds nothing to copy.
let session = null;
let wallet = null;
let markets = [];
let book = null;
const limits = new Map();
// Keys of writes that may have happened or not, by what was asked. Loaded anew, the page shows what there is.
const unknown = new Map();

// Without a status there was no answer that the page could read.
class Refusal extends Error {
  constructor(code, message, status = null) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

async function readSettings() {
  const answer = await fetch("settings.json", { cache: "no-store" }).catch(() => null);
  const read = answer?.ok ? await answer.json().catch(() => null) : null;
  if (!/^https?:\/\/[^/]+$/.test(read?.api) || !/^sk_[\w-]+$/.test(read.apiKey)) {
    throw new Refusal("SETTINGS", "Beside this page has to be a settings.json like settings.example.json.");
  }
  element("api").textContent = read.api;
  return read;
}

// One request. Answers to it are readable because the key lists this page's origin, refusals too.
async function call(method, path, { body, headers = {}, open = false } = {}) {
  settings ??= await readSettings();
  const init = { method, headers: { ...headers } };
  if (!open) init.headers["X-API-KEY"] = settings.apiKey;
  if (body) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let answer, read;
  try {
    answer = await fetch(settings.api + path, init);
    read = await answer.json();
  } catch {
    showCall(method, path, "nothing");
    const text = "No answer that this page can read. Is the platform there, and does the key list its origin?";
    throw new Refusal("UNREADABLE", text);
  }
  const { error, response, data } = read;
  showCall(method, path, `${answer.status} ${error?.code ?? ""}`, answer);
  keepLimits(answer.headers);
  if (!error) return response ?? data;
  const wait = answer.headers.get("Retry-After");
  const details = (error.details ?? []).map((detail) => `${detail.path} ${detail.message}`);
  const message = wait ? `Wait ${wait} s and try again.` : error.message;
  throw new Refusal(error.code, [message, ...details].join(" "), answer.status);
}

// A session lasts an hour and is not renewed: the page makes another.
async function mint() {
  const made = await call("POST", "/api/v1/sessions");
  // Not what is left until `expiresAt`: a visitor's clock may be wrong.
  session = { ...made, endsAt: Date.now() + SESSION_MILLISECONDS };
  element("session").dataset.expiresAt = session.expiresAt;
  showSession();
}

const isLive = () => session !== null && Date.now() < session.endsAt;

function showSession() {
  if (!session) return;
  const minutes = Math.ceil((session.endsAt - Date.now()) / 60_000);
  const text = isLive() ? `Ends in ${minutes} min.` : "It has ended. The next order makes another.";
  element("session").textContent = text;
  element("mint").textContent = isLive() ? "Make another" : "Make a session";
  element("mint").classList.toggle("plain", isLive());
}

// What changes something needs a session beside the key. `done` says what the order is then.
async function write(done, method, path, body) {
  // Under one key the platform does a POST once, and repeats its answer for a day.
  const asked = JSON.stringify([method, path, body]);
  const key = unknown.get(asked) ?? crypto.randomUUID();
  const once = method === "POST" ? { "Idempotency-Key": key } : {};
  const attempt = async () => {
    try {
      return await call(method, path, { body, headers: { "X-Session-Token": session.sessionToken, ...once } });
    } catch (refusal) {
      if (isOpen(refusal)) unknown.set(asked, key);
      // Other refusals, such as a limit's, say nothing of an attempt before them.
      else if (refusal.status === 409) unknown.delete(asked);
      throw refusal;
    }
  };
  try {
    if (!isLive()) await mint();
    const answer = await attempt().catch(async (refusal) => {
      if (!NEEDS_ANOTHER_SESSION.has(refusal.code)) throw refusal;
      await mint();
      return attempt();
    });
    unknown.delete(asked);
    return answer;
  } catch (refusal) {
    if (unknown.has(asked)) refusal.message += ` The order may have been ${done}. Trying the same again is safe.`;
    throw refusal;
  } finally {
    // A failure here is none of the write's.
    const loaded = await Promise.all([showBook(), showWallet()]).catch(() => null);
    element("stale").hidden = loaded !== null;
  }
}

// Whether something may have happened all the same.
const isOpen = ({ status, code }) => !status || status >= 500 || code === "REQUEST_IN_PROGRESS";

// "read";q=300;w=60, "account-read";q=3000;w=60: what one may do, and with r how much of it is left.
function figures(header, name) {
  const items = [...(header ?? "").matchAll(/"([a-z-]+)"([^,]*)/g)];
  return items.map(([, policy, rest]) => [policy, Number(rest.match(new RegExp(`;${name}=(\\d+)`))?.[1])]);
}

function keepLimits(headers) {
  const left = new Map(figures(headers.get("RateLimit"), "r"));
  for (const [policy, quota] of figures(headers.get("RateLimit-Policy"), "q")) {
    if (!policy.startsWith("account-")) limits.set(policy, { quota, left: left.get(policy) });
  }
  if (!limits.size) return;
  element("limits").replaceChildren(
    ...[...limits].sort().map(([policy, { quota, left: remaining }]) => {
      const [label, text] = [make("span", policy), make("span", `${remaining} of ${quota}`)];
      const meter = make("meter", "", { max: quota, value: remaining, ariaLabel: `${policy} calls left` });
      return make("li", "", { id: `limit-${policy}` }, [label, meter, text]);
    }),
  );
}

// Whatever comes from elsewhere is text, never markup.
function make(tag, text, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(text, ...children);
  return made;
}

// Decimals come as texts, with all their zeros; a number would lose digits.
const short = (decimal = "") => decimal.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

function rows(id, lines, empty) {
  const cells = (line) => line.map((cell) => make("td", "", {}, [cell]));
  const made = lines.map((line) => make("tr", "", {}, cells(line)));
  const nothing = make("tr", "", {}, [make("td", empty, { colSpan: 4 })]);
  element(id).replaceChildren(...(made.length ? made : [nothing]));
}

function showCall(method, path, outcome, answer) {
  const id = answer?.headers.get("X-Request-Id");
  const line = make("li", "", {}, [
    make("strong", outcome.trim(), { className: answer?.ok ? "good" : "bad" }),
    ` ${method} ${path.replaceAll(/[0-9a-fx-]{20,}/g, (name) => `${name.slice(0, 8)}…`)}`,
    make("small", id ? `request ${id}` : "lost, or kept from the page by the browser"),
  ]);
  element("calls").prepend(line);
  while (element("calls").children.length > SHOWN_CALLS) element("calls").lastChild.remove();
}

function tell(text, refused = false) {
  element("status").textContent = text;
  element("status").classList.toggle("refused", refused);
}

const chosen = () => markets.find((market) => market.condition_id === element("market").value);

async function showBook() {
  const market = chosen();
  if (!market) return;
  book = await call("GET", `/api/v1/markets/${market.condition_id}/book`, { open: true });
  const depth = Math.max(book.bids.length, book.asks.length);
  const lines = Array.from({ length: depth }, (_, index) => {
    const [bid, ask] = [book.bids[index], book.asks[index]];
    return [bid?.shares, bid?.price, ask?.shares, ask?.price].map(short);
  });
  element("book-outcome").textContent = market.left_outcome;
  rows("book", lines, "Nobody is waiting.");
  if (!element("price").value) suggestPrice();
}

// That of the order's own side of the book. Whoever wants No at 0.3 stands there as an offer of Yes at 0.7.
function suggestPrice() {
  const ofLeft = element("token").value === chosen()?.left_token_id;
  const isWanted = element("side").value === "BUY";
  const [best] = (ofLeft === isWanted ? book?.bids : book?.asks) ?? [];
  const price = ofLeft ? best?.price : best && (1 - best.price).toFixed(6);
  element("price").value = short(price ?? "0.5");
}

async function showWallet() {
  const { assets } = await call("GET", `/api/v1/wallet/pol/${wallet}/balance`);
  const money = assets.find(({ asset }) => asset === "USDC");
  element("available").textContent = short(money?.available ?? "0");
  element("held").textContent = short(money?.held ?? "0");
  const listed = await call("GET", `/api/v1/wallet/pol/${wallet}/orders/active`);
  const lines = listed.map(({ order, market }) => {
    const outcome = order.token_id === market.left_token_id ? market.left_outcome : market.right_outcome;
    const text = `${order.side} ${short(order.shares)} ${outcome} at ${short(order.price)}`;
    const button = make("button", "Cancel", { type: "button", ariaLabel: `Cancel ${text}` });
    button.addEventListener("click", () => whileBusy(button, () => cancel(order.order_id)));
    return [text, order.status, button];
  });
  rows("orders", lines, "None.");
}

async function chooseMarket() {
  const market = chosen();
  const outcomes = [
    [market.left_token_id, market.left_outcome],
    [market.right_token_id, market.right_outcome],
  ];
  element("token").replaceChildren(...outcomes.map(([value, text]) => make("option", text, { value })));
  element("price").value = "";
  await showBook();
  return "The market is shown.";
}

async function place() {
  const order = await write("placed", "POST", `/api/v1/wallet/pol/${wallet}/order`, {
    token_id: element("token").value,
    side: element("side").value,
    type: "LIMIT",
    amount: element("shares").value,
    units: "SHARES",
    price: element("price").value,
  });
  return `The order is ${order.status}.`;
}

async function cancel(order) {
  await write("cancelled", "DELETE", `/api/v1/wallet/pol/${wallet}/order/${order}`);
  return "The order is cancelled.";
}

// One thing at a time, and what became of it is said.
async function whileBusy(button, action) {
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  tell("One moment…");
  try {
    tell(await action());
  } catch (failure) {
    tell(`${failure.code ?? "Failed"}: ${failure.message}`, true);
  }
  button.disabled = false;
  // Being disabled took it from the button; a cancelled order's button has gone.
  if (hadFocus && document.activeElement === document.body) {
    (button.isConnected ? button : element("orders-title")).focus();
  }
  // An order needs what the start loads.
  element("place").textContent = wallet ? "Place the order" : "Try again";
  element("place").formNoValidate = !wallet;
}

async function start() {
  markets = (await call("GET", "/api/v1/markets", { open: true })).filter(({ active }) => active);
  const options = markets.map(({ condition_id: value, question }) => make("option", question, { value }));
  element("market").replaceChildren(...options);
  if (markets.length) await chooseMarket();
  [{ wallet_id: wallet }] = await call("GET", "/api/v1/wallets");
  await showWallet();
  return "Ready.";
}

element("market").addEventListener("change", () => whileBusy(element("place"), chooseMarket));
for (const id of ["token", "side"]) element(id).addEventListener("change", suggestPrice);
element("mint").addEventListener("click", ({ target }) =>
  whileBusy(target, async () => {
    await mint();
    return "The page has a session.";
  }),
);
element("order").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(element("place"), wallet ? place : start);
});
setInterval(showSession, 1000);
element("origin").textContent = location.origin;
await whileBusy(element("place"), start);
