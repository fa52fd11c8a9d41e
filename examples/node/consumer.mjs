// A consumer of binlog-engine in JavaScript, written from docs/protocol.md alone: prints a line of JSON for each change and acks.
//   node consumer.mjs tcp://127.0.0.1:7411/orders [--consumer NAME] [--max CHANGES] [--idle-exit SECONDS]
import net from "node:net";
import { parseArgs } from "node:util";
import { ExtensionCodec, decodeMulti, encode } from "@msgpack/msgpack";

const strings = (...names) => Object.fromEntries(names.map((name) => [name, { type: "string" }]));
const { values, positionals } = parseArgs({ allowPositionals: true, options: strings("consumer", "max", "idle-exit") });
const { hostname, port, pathname } = new URL(positionals[0] ?? "tcp://127.0.0.1:7411/orders");
const [max, idleMs] = [Number(values.max ?? Infinity), Number(values["idle-exit"] ?? 0) * 1000];

const ABSENT = Symbol("absent"); // ext type 1: the row image doesn't hold this column
const extensionCodec = new ExtensionCodec();
extensionCodec.register({ type: 1, encode: () => null, decode: () => ABSENT });

const [OPS, BEGIN, COMMIT, SCHEMA, FRAGMENT] = [[null, "insert", "update", "delete"], 4, 5, 7, 9];
let sources = {}; // source number → { name, binlog }
const tables = new Map(); // table key → schema
const fragments = new Map(); // "partition/source" → the bytes that have come of a change
let [printed, leaving] = [0, false];

const unpack = (bytes) => decodeMulti(bytes, { useBigInt64: true, extensionCodec });

function send(message) {
  const body = encode(message);
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(body.length);
  socket.write(Buffer.concat([prefix, body]));
}

function json(value) {
  if (typeof value === "bigint") return value.toString(); // JSON.stringify can't
  if (value instanceof Uint8Array) return json({ base64: Buffer.from(value).toString("base64") });
  if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}:${json(item)}`).join(",")}}`;
}

function named(row, columns) {
  return row && Object.fromEntries(columns.map(({ name }, i) => [name, row[i]]).filter(([, value]) => value !== ABSENT));
}

function take(record, partition, gtids) {
  const [, kind, , source, key, time, file, start, , , , before, after] = record;
  if (kind === SCHEMA) tables.set(key, after);
  else if (kind === BEGIN) gtids[source] = after[0];
  else if (kind === COMMIT) delete gtids[source];
  else if (kind === FRAGMENT) {
    const [place, index, count] = [`${partition}/${source}`, ...before];
    const bytes = Buffer.concat([index === 0 ? Buffer.alloc(0) : fragments.get(place), after]);
    fragments.set(place, bytes);
    if (index === count - 1) for (const whole of unpack(bytes)) take(whole, partition, gtids);
  } else if (OPS[kind]) {
    const { schema, table, columns } = tables.get(key);
    const ts = `${new Date(Number(time / 1000n)).toISOString().slice(0, -1)}${String(time % 1000n).padStart(3, "0")}Z`;
    const position = `${sources[source].binlog}.${String(file).padStart(6, "0")}:${start}`;
    const change = { op: OPS[kind], source: sources[source].name, schema, table };
    const rows = { before: named(before, columns), after: named(after, columns) };
    console.log(json({ ...change, ...rows, ts, position, gtid: gtids[source] ?? null }));
    printed += 1;
  }
}

function leave() {
  if (!leaving) send({ type: "bye" }); // the server answers our acks, then closes
  leaving = true;
}
function handle(payload) {
  const [message, ...records] = unpack(payload);
  if (message.type === "welcome" || message.type === "sources") sources = { ...sources, ...message.sources };
  if (message.type === "welcome") send({ type: "credit", batches: 2 });
  if (message.type === "error") return void socket.destroy(new Error(`${message.code}: ${message.message}`));
  if ((message.type !== "batch" && message.type !== "schemas") || leaving) return;
  const gtids = Object.fromEntries(Object.entries(message.transactions ?? {}).map(([source, [gtid]]) => [source, gtid]));
  for (const record of records) take(record, message.partition, gtids);
  if (message.type === "schemas") return;
  send({ type: "ack", batch: message.batch });
  send({ type: "credit", batches: 1 });
  if (message.rows) idle?.refresh();
  if (printed >= max) leave();
}

let received = [], size = 0;
const socket = net.connect(Number(port), hostname);
const idle = idleMs ? setTimeout(leave, idleMs) : null;
send({ type: "hello", protocol: 1, destination: pathname.slice(1), consumer: values.consumer ?? "default" });
socket.on("error", (error) => console.error(error.message));
socket.on("close", () => (clearTimeout(idle), (process.exitCode = leaving ? 0 : 1)));
socket.on("data", (chunk) => {
  received.push(chunk);
  size += chunk.length;
  for (let wanted; size >= 4; ) {
    if (received[0].length < 4) received = [Buffer.concat(received)];
    if (size < (wanted = 4 + received[0].readUInt32BE())) return;
    const bytes = Buffer.concat(received);
    handle(bytes.subarray(4, wanted));
    [received, size] = [[bytes.subarray(wanted)], size - wanted];
  }
});
