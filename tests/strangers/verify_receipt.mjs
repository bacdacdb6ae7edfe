// A reader of receipts by somebody who has docs/ledger.md and nothing else of Carnet: Node, no packages.
//
//   node verify_receipt.mjs KEY FILE...
//
// Prints one line per file, "accepted KIND" or "refused: why", and ends with 1 if any was refused.

import { createHash, createPublicKey, verify as ed25519 } from "node:crypto";
import { readFileSync } from "node:fs";

const ID = { record: /^rec_[a-z2-7]{16}$/, recipient: /^rcp_[a-z2-7]{16}$/, tenant: /^ten_[a-z2-7]{16}$/ };
const ORIGIN = /^[a-z0-9]([a-z0-9._\/-]{0,126}[a-z0-9])?$/;
const STATES = { // the table of states in docs/consent.md: event -> what a consent can be after it
  give: ["given"], pause: ["suspended"], resume: ["given"], renew: ["given", "suspended"], withdraw: ["withdrawing"],
  suspend: ["suspended"], revoke: ["revoking"], terminate: ["terminated"], invalidate: ["invalidated"],
  silent: ["withdrawn", "revoked"],
};
const ENDED = ["withdrawing", "revoking", "terminated", "invalidated", "expired"];
const DAY_MS = 86_400_000;

class Refused extends Error {}
const need = (condition, why) => { if (!condition) throw new Refused(why); };
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();

// canonical JSON: whatever was read is written again, and must be the same bytes

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  need(typeof value !== "number" || Number.isSafeInteger(value), "a number is no integer below 2^53");
  need(typeof value !== "string" || Buffer.from(value).toString() === value, "half a surrogate pair");
  return JSON.stringify(value);
}

function parse(bytes) {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
    need(Buffer.from(canonical(value)).equals(bytes), "not canonical JSON");
    return value;
  } catch (error) {
    throw new Refused(`not canonical JSON: ${error.message}`);
  }
}

function members(value, ...names) {
  need(value !== null && typeof value === "object" && !Array.isArray(value), "not an object");
  need(Object.keys(value).sort().join() === names.sort().join(), "a member is missing or unknown");
}

const number = (value, least = 0) => need(Number.isSafeInteger(value) && value >= least, "not a number in range");
const text = (value, form) => need(typeof value === "string" && form.test(value), "not in form");

function bytes(value, encoding) {
  need(typeof value === "string", "not a text");
  const found = Buffer.from(value, encoding);
  need(found.toString(encoding) === value, `not ${encoding}`);
  return found;
}

// leaves

function count(value) {
  members(value, "events", "samples");
  number(value.events);
  number(value.samples);
  need(value.events > 0 || value.samples === 0, "samples without events");
}

function account(leaf) {
  text(leaf.record, ID.record);
  text(leaf.recipient, ID.recipient);
  number(leaf.number, 1);
  count(leaf.confirmed);
  count(leaf.unknown);
  text(leaf.last_event, /^([0-9a-f]{32})?$/);
  need((leaf.last_event === "") === (leaf.confirmed.events + leaf.unknown.events === 0), "last event");
}

const LEAVES = {
  log(leaf) {
    members(leaf, "v", "kind", "time_ms", "origin", "tenant");
    text(leaf.origin, ORIGIN);
    text(leaf.tenant, ID.tenant);
  },
  consent(leaf) {
    members(leaf, "v", "kind", "time_ms", "record", "recipient", "seq", "event", "entry", "state", "generation");
    text(leaf.record, ID.record);
    text(leaf.recipient, ID.recipient);
    number(leaf.seq);
    number(leaf.generation, 1);
    text(leaf.entry, /^[0-9a-f]{64}$/);
    need(Object.hasOwn(STATES, leaf.event) && STATES[leaf.event].includes(leaf.state), "event and state");
    need((leaf.seq === 0) === (leaf.event === "give"), "the first entry gives");
  },
  day(leaf) {
    members(leaf, "v", "kind", "time_ms", "record", "recipient", "number", "confirmed", "unknown", "last_event", "day");
    account(leaf);
    text(leaf.day, /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/);
    const midnight = Date.parse(`${leaf.day}T00:00:00Z`);
    need(!Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(leaf.day), "no day of the calendar");
    need(leaf.time_ms >= midnight + DAY_MS, "the day was not over");
  },
  end(leaf) {
    members(leaf, "v", "kind", "time_ms", "record", "recipient", "number", "confirmed", "unknown", "last_event", "state");
    account(leaf);
    need(ENDED.includes(leaf.state), "not a state in which a consent ends");
  },
};

function checkLeaf(leaf) {
  need(leaf !== null && typeof leaf === "object" && Object.hasOwn(LEAVES, leaf.kind), "no such kind of leaf");
  number(leaf.time_ms);
  need(leaf.v === 1, "version of the leaf");
  LEAVES[leaf.kind](leaf);
}

// keys, notes, checkpoints

function parseKey(line) {
  const match = /^([^\p{White_Space}+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+\/=]+)$/u.exec(line);
  need(match, "not a key");
  const [, name, id, encoded] = match;
  const typed = bytes(encoded, "base64");
  need(typed.length === 33 && typed[0] === 1, "not an Ed25519 key");
  need(sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4).toString("hex") === id, "the key's id does not fit");
  const jwk = { kty: "OKP", crv: "Ed25519", x: typed.subarray(1).toString("base64url") };
  return { name, id, publicKey: createPublicKey({ key: jwk, format: "jwk" }) };
}

function signatures(lines) {
  need(lines.length >= 1 && lines.length <= 16, "1 to 16 signatures");
  return lines.map((line) => {
    const match = /^\u2014 ([^\p{White_Space}+]+) ([A-Za-z0-9+\/=]+)$/u.exec(line);
    need(match, "not a signature line");
    const blob = bytes(match[2], "base64");
    need(blob.length > 4, "an empty signature");
    return { name: match[1], id: blob.subarray(0, 4).toString("hex"), signature: blob.subarray(4) };
  });
}

function verifyCheckpoint(note, key) {
  need(typeof note === "string" && Buffer.byteLength(note) <= 131_072, "not a note");
  need(!/[\x00-\x09\x0b-\x1f]/.test(note) && note.endsWith("\n"), "a control character, or no last line feed");
  const cut = note.lastIndexOf("\n\n");
  need(cut >= 0, "no empty line");
  const signed = note.slice(0, cut + 1);
  const lines = signatures(note.slice(cut + 2, -1).split("\n"));
  const [origin, size, root, rest, ...more] = signed.split("\n");
  need(rest === "" && more.length === 0, "not three lines");
  text(origin, ORIGIN);
  text(size, /^(0|[1-9][0-9]{0,15})$/);
  number(Number(size));
  const head = { origin, size: Number(size), root: bytes(root, "base64") };
  need(head.root.length === 32 && (head.size > 0 || head.root.equals(sha256())), "not a root");
  need(key.name === origin, "of another log");
  const own = lines.filter((line) => line.name === key.name && line.id === key.id);
  need(own.length > 0, "not signed by this key");
  const fits = (line) => line.signature.length === 64 && ed25519(null, Buffer.from(signed), key.publicKey, line.signature);
  need(own.every(fits), "a wrong signature");
  return head;
}

// the tree; sizes reach 2^53, so no bit operators, which have 32 bits in this language

function verifyInclusion(leafHash, index, size, root, path) {
  need(index < size, "the index is not below the size");
  const half = (value) => Math.floor(value / 2);
  const node = (left, right) => sha256(Buffer.of(1), left, right);
  let [fn, sn, r] = [index, size - 1, leafHash];
  for (const p of path) {
    need(sn !== 0, "too long a proof");
    if (fn % 2 === 1 || fn === sn) {
      r = node(p, r);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      r = node(r, p);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  need(sn === 0, "too short a proof");
  need(r.equals(root), "another root");
}

export function verifyReceipt(data, key) {
  const receipt = parse(data);
  members(receipt, "v", "type", "leaf", "salt", "index", "proof", "checkpoint");
  need(receipt.v === 1 && receipt.type === "receipt", "not a receipt of version 1");
  number(receipt.index);
  checkLeaf(receipt.leaf);
  const salt = bytes(receipt.salt, "base64url");
  const proof = bytes(receipt.proof, "base64url");
  need(salt.length === 16 && proof.length % 32 === 0 && proof.length <= 53 * 32, "salt or proof");
  const head = verifyCheckpoint(receipt.checkpoint, key);
  const path = Array.from({ length: proof.length / 32 }, (_, at) => proof.subarray(32 * at, 32 * at + 32));
  const leafHash = sha256(Buffer.of(0), salt, Buffer.from(canonical(receipt.leaf)));
  verifyInclusion(leafHash, receipt.index, head.size, head.root, path);
  const isFirst = receipt.leaf.kind === "log" && receipt.leaf.origin === head.origin;
  need(receipt.index === 0 ? isFirst : receipt.leaf.kind !== "log", "the first leaf of a log, and no other");
  return receipt.leaf.kind;
}

function judge(file, key) {
  try {
    return `accepted ${verifyReceipt(readFileSync(file), key)}`;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return `refused: ${error.message}`;
  }
}

const [keyText, ...files] = process.argv.slice(2);
const key = parseKey(keyText);
const lines = files.map((file) => judge(file, key));
console.log(lines.join("\n"));
process.exitCode = lines.every((line) => line.startsWith("accepted")) ? 0 : 1;
