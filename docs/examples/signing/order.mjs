// Mints a session key and places an order with it, with nothing but Node.js 18 or newer. AUDIENCE is the
// deployment's name, `local` for `sealgate up`. The order is for 5 USDC: the wallet needs to have them.
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const [url, audience, account, masterFile, wallet, token] = process.argv.slice(2);
const stop = (line, code = 1) => (console.error(line), process.exit(code));
if (!token) stop("usage: node order.mjs URL AUDIENCE ACCOUNT_ID MASTER_KEY_FILE WALLET_ID TOKEN_ID", 2);
// Protobuf by hand: a number is seven bits a byte, the lowest first; a field is its number and kind, then
// its value. Fields stand in the order of their numbers, and zeros and empty texts are left out.
const varint = (n) => (n > 127n ? [Number(n & 127n) | 128, ...varint(n >> 7n)] : [Number(n)]);
function message(fields) {
  const bytes = Object.entries(fields).flatMap(([number, value]) => {
    if (typeof value === "bigint") return value ? [...varint(BigInt(number) << 3n), ...varint(value)] : [];
    const content = Buffer.from(value);
    if (!content.length) return [];
    return [...varint((BigInt(number) << 3n) | 2n), ...varint(BigInt(content.length)), ...content];
  });
  return Buffer.from(bytes);
}
const uint16 = (n) => Buffer.from([n & 255, n >> 8]);
function uuid7() {
  const id = randomBytes(16);
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id;
}
const publicKey = (key) => createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);

async function submit(path, requestType, key, body) {
  const header = Buffer.concat([Buffer.from([1, 0]), uint16(requestType), Buffer.alloc(4)]);
  const payload = Buffer.concat([header, uuid7(), body]);
  const accountBytes = Buffer.from(account.replaceAll("-", ""), "hex");
  const domain = Buffer.from("sealgate/payload/v1\0");
  const name = Buffer.concat([uint16(audience.length), Buffer.from(audience)]);
  const signature = sign(null, Buffer.concat([domain, name, accountBytes, payload]), key);
  const parts = { payload, signature, public_key: publicKey(key) };
  const texts = Object.entries(parts).map(([part, bytes]) => [part, bytes.toString("base64")]);
  const envelope = JSON.stringify({ ...Object.fromEntries(texts), account_id: account });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url + path, { method: "POST", headers, body: envelope })
    .then((response) => response.json())
    .catch(({ cause, message }) => stop(`${url} gives no answer: ${cause?.code ?? cause ?? message}`));
  if (answer.success) return answer;
  const { code, details } = answer.error ?? { code: answer.status, details: answer.details };
  return stop(`refused: ${code} ${JSON.stringify(details)}`);
}
let master;
try { master = createPrivateKey(readFileSync(masterFile)); }
catch (error) { stop(`${masterFile} is no private key that can be read: ${error.message}`); }
const session = generateKeyPairSync("ed25519").privateKey;
const hour = BigInt(Date.now() + 3_600_000) * 1_000_000n;
// MintSessionKey: the key, its scope (pinned to no subaccount), its end.
await submit("/api/v1/auth/sessions", 13, master, message({ 1: publicKey(session), 2: 4294967295n, 3: hour }));
// PlaceOrder: BUY (4: 1) LIMIT (5: 2) of 10 SHARES (7: 2) at 0.5; index 0 of the subaccount is left out.
const order = message({ 1: 0n, 2: wallet, 3: token, 4: 1n, 5: 2n, 6: "10", 7: 2n, 8: "0.5" });
const placed = await submit("/api/v1/trading/order/place", 1, session, order);
console.log(`${placed.order.order_id} ${placed.order.status}`);
