// A recipient that opens events by docs/sealed-format.md, docs/batch-format.md and docs/wire-format.md alone: Node, no packages.
//
//   node open_events.mjs SEED FILE
//
// SEED is that of its key file, FILE has an event on each line. Prints a line of JSON for each: its columns, or why it
// was refused.

import { readFileSync } from "node:fs";
import { Numbers, Refused, checkCounts, readBatch } from "./batch.mjs";
import { blake2b, keyPair, need, openSealed } from "./sodium.mjs";

const form = "event_malformed";

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

function members(value, ...names) {
  need(value !== null && typeof value === "object" && !Array.isArray(value), form);
  need(Object.keys(value).sort().join() === [...names].sort().join(), form);
  return value;
}

function base64(text) {
  need(typeof text === "string", form);
  const bytes = Buffer.from(text, "base64");
  need(bytes.length > 0 && bytes.toString("base64") === text, form);
  return bytes;
}

function recordBytes(text) {
  need(/^rec_[a-z2-7]{16}$/.test(text), form);
  const bits = [...text.slice(4)].map((c) => "abcdefghijklmnopqrstuvwxyz234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

// the sealed body

function padded(n) {
  if (n < 256) return 256;
  const e = Math.floor(Math.log2(n));
  const unit = 2 ** (e - (Math.floor(Math.log2(e)) + 1));
  return Math.ceil(n / unit) * unit;
}

function parseBody(body, groups) {
  need(body.length >= 9 && body[0] === 2, "sealed_size");
  const numbers = new Numbers(body, 9);
  const [first, width] = [numbers.next(), numbers.next()];
  const counts = Array.from({ length: groups[groups.length - 1] + 1 }, () => numbers.next());
  need(first + width < 2n ** 53n, "sealed_times");
  checkCounts(counts, groups);
  const part = body.subarray(numbers.at);
  need(part.length - 48 >= 256 && padded(part.length - 48) === part.length - 48, "sealed_size");
  return { kid: body.subarray(1, 9), first, last: first + width, counts, declaration: body.subarray(0, numbers.at), part };
}

function unpad(plain) {
  let end = plain.length;
  while (end > 0 && plain[end - 1] === 0) end -= 1;
  need(end > 0 && plain[end - 1] === 0x80 && padded(end) === plain.length, "padding_wrong");
  return plain.subarray(0, end - 1);
}

const windowOf = ({ transform }) => BigInt(transform.aggregate?.window_ms ?? 0);

function openBody(body, schema, boot, record, key) {
  const groups = schema.columns.map((column) => column.group);
  const sealed = parseBody(body, groups);
  need(sealed.kid.equals(key.kid), "box_key_differs");
  const plain = unpad(openSealed(sealed.part, key));
  const schemaHash = blake2b(16, "carnet schema", Buffer.from(canonical(schema)));
  const binding = blake2b(32, "carnet sealed", record, boot, schemaHash, sealed.declaration);
  need(plain.subarray(0, 32).equals(binding), "binding_differs");
  const batch = readBatch(plain.subarray(32), groups);
  need(batch.times.every((times, i) => BigInt(times.length) === sealed.counts[i]), "declared_counts");
  schema.columns.forEach((column) => {
    const [times, window] = [batch.times[column.group], windowOf(column)];
    if (times.length === 0) return;
    const begin = window ? ((times[0] - 1n) / window) * window : times[0];
    need(begin >= sealed.first && times[times.length - 1] <= sealed.last, "declared_times");
  });
  return batch;
}

// physical values and wall times

function typed(kind, raw) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(raw);
  if (kind === "float64") return bytes.readDoubleBE();
  if (kind === "float32") return bytes.readFloatBE(4);
  return kind === "uint" ? BigInt.asUintN(64, raw) : raw;
}

function physical({ kind, factor, offset }, raw) {
  const value = typed(kind, raw);
  const isInteger = (text) => !/[.e]/.test(text);
  const isWhole = (text) => Number.isInteger(Number(text));
  if (Number(factor) === 1 && Number(offset) === 0) return value;
  if (typeof value === "bigint") {
    const big = (text) => (isInteger(text) ? BigInt(text) : BigInt(Number(text)));
    if (isWhole(factor) && isWhole(offset)) return value * big(factor) + big(offset);
    if (isInteger(factor)) return Number(value * BigInt(factor)) + Number(offset);
  }
  return Number(value) * Number(factor) + Number(offset);
}

function wallTimes(times, anchor, receipt) {
  const found = times.map((time) => {
    const passed = Number(time) - anchor.boot_ms;
    const widening = 1 + Math.ceil(Math.abs(passed) / 2000);
    const earliest = anchor.earliest_ms + passed - widening;
    need(earliest <= receipt, "after_receipt");
    return [earliest, Math.min(anchor.latest_ms + passed + widening, receipt)];
  });
  const widest = Math.max(0, ...found.map(([earliest, latest]) => latest - earliest));
  return { t_ms: found.map(([earliest, latest]) => Math.floor((earliest + latest) / 2)), uncertainty_ms: Math.ceil(widest / 2) };
}

function columnsOf(piece, record, receipt, key) {
  members(piece, "kid", "body", "schema", "anchor");
  members(piece.anchor, "boot_id", "boot_ms", "earliest_ms", "latest_ms");
  members(piece.schema, "columns", "v");
  const body = base64(piece.body);
  need(Array.isArray(piece.schema.columns) && piece.schema.columns.length > 0, form);
  need(/^[0-9a-f]{16}$/.test(piece.anchor.boot_id) && piece.anchor.earliest_ms <= piece.anchor.latest_ms, form);
  const batch = openBody(body, piece.schema, Buffer.from(piece.anchor.boot_id, "hex"), record, key);
  return piece.schema.columns.flatMap((column, i) => {
    if (batch.values[i].length === 0) return [];
    const { path, unit, transform, field, labels, group } = column;
    const v = batch.values[i].map((raw) => physical(column, raw));
    return {
      path, unit, transform, ...(field ? { field } : {}), ...(labels.length ? { labels: Object.fromEntries(labels) } : {}),
      ...wallTimes(batch.times[group], piece.anchor, receipt), v,
    };
  });
}

function openEvent(line, key) {
  const { type, data } = JSON.parse(line);
  need(type === "carnet.sealed.v1", form);
  members(data, "record", "generation", "reference", "log_position", "receipt", "receipt_ms", "sealed");
  need(Array.isArray(data.sealed) && data.sealed.length > 0, form);
  const record = recordBytes(data.record);
  return data.sealed.flatMap((piece) => columnsOf(piece, record, data.receipt_ms, key));
}

const text = (_, value) => (typeof value === "bigint" ? Number(value) : value);

function judge(line, key) {
  try {
    return { outcome: "accepted", columns: openEvent(line, key) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { outcome: error.reason };
  }
}

const [seed, file] = process.argv.slice(2);
const key = keyPair(Buffer.from(seed, "hex"));
const lines = readFileSync(file, "utf-8").split("\n").filter((line) => line.trim());
for (const line of lines) console.log(JSON.stringify(judge(line, key), text));
