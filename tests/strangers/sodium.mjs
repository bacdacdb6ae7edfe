// What libsodium does with a sealed box, by somebody who has its documentation and RFC 7693, and Node without packages.

import { createHash, createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";

export class Refused extends Error {
  constructor(reason, why = reason) {
    super(why);
    this.reason = reason;
  }
}

export const need = (condition, reason, why) => { if (!condition) throw new Refused(reason, why); };

// BLAKE2b (RFC 7693) with a person

const M64 = (1n << 64n) - 1n;
const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const MIX = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
const right = (x, n) => ((x >> n) | (x << (64n - n))) & M64;

function compress(h, block, length, last) {
  const v = [...h, ...IV];
  v[12] ^= BigInt(length);
  if (last) v[14] ^= M64;
  const m = Array.from({ length: 16 }, (_, i) => block.readBigUInt64LE(8 * i));
  for (let round = 0; round < 12; round += 1) {
    const s = SIGMA[round % 10];
    MIX.forEach(([a, b, c, d], i) => {
      v[a] = (v[a] + v[b] + m[s[2 * i]]) & M64;
      v[d] = right(v[d] ^ v[a], 32n);
      v[c] = (v[c] + v[d]) & M64;
      v[b] = right(v[b] ^ v[c], 24n);
      v[a] = (v[a] + v[b] + m[s[2 * i + 1]]) & M64;
      v[d] = right(v[d] ^ v[a], 16n);
      v[c] = (v[c] + v[d]) & M64;
      v[b] = right(v[b] ^ v[c], 63n);
    });
  }
  return h.map((x, i) => x ^ v[i] ^ v[i + 8]);
}

export function blake2b(size, person, ...parts) {
  const data = Buffer.concat(parts);
  const parameters = Buffer.alloc(64);
  parameters.set([size, 0, 1, 1]);
  parameters.write(person, 48, "latin1");
  let h = IV.map((x, i) => x ^ parameters.readBigUInt64LE(8 * i));
  const blocks = Math.max(1, Math.ceil(data.length / 128));
  for (let at = 0; at < blocks; at += 1) {
    const block = Buffer.alloc(128);
    data.copy(block, 0, 128 * at);
    h = compress(h, block, Math.min(data.length, 128 * (at + 1)), at === blocks - 1);
  }
  const out = Buffer.alloc(64);
  h.forEach((x, i) => out.writeBigUInt64LE(x, 8 * i));
  return out.subarray(0, size);
}

// Salsa20, Poly1305, X25519

const SIGMA32 = Buffer.from("expand 32-byte k");
const QUARTERS = [[0, 4, 8, 12], [5, 9, 13, 1], [10, 14, 2, 6], [15, 3, 7, 11], [0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9], [15, 12, 13, 14]];
const left = (x, n) => (x << n) | (x >>> (32 - n));

function salsaState(key, input) {
  const word = (bytes, i) => bytes.readUInt32LE(4 * i);
  return Uint32Array.from([
    word(SIGMA32, 0), ...[0, 1, 2, 3].map((i) => word(key, i)), word(SIGMA32, 1), ...[0, 1, 2, 3].map((i) => word(input, i)),
    word(SIGMA32, 2), ...[4, 5, 6, 7].map((i) => word(key, i)), word(SIGMA32, 3),
  ]);
}

function salsaRounds(state) {
  const x = Uint32Array.from(state);
  for (let i = 0; i < 10; i += 1) {
    for (const [a, b, c, d] of QUARTERS) {
      x[b] ^= left(x[a] + x[d] | 0, 7);
      x[c] ^= left(x[b] + x[a] | 0, 9);
      x[d] ^= left(x[c] + x[b] | 0, 13);
      x[a] ^= left(x[d] + x[c] | 0, 18);
    }
  }
  return x;
}

const bytesOf = (words) => { const out = Buffer.alloc(4 * words.length); words.forEach((w, i) => out.writeUInt32LE(w, 4 * i)); return out; };

function hsalsa20(key, input) {
  const x = salsaRounds(salsaState(key, input));
  return bytesOf([0, 5, 10, 15, 6, 7, 8, 9].map((i) => x[i]));
}

function xsalsa20(key, nonce, length) {
  const subkey = hsalsa20(key, nonce.subarray(0, 16));
  const blocks = [];
  for (let n = 0; 64 * n < length; n += 1) {
    const input = Buffer.alloc(16);
    nonce.copy(input, 0, 16, 24);
    input.writeUInt32LE(n, 8);
    const state = salsaState(subkey, input);
    blocks.push(bytesOf(Array.from(salsaRounds(state), (x, i) => (x + state[i]) >>> 0)));
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const little = (bytes) => bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

function poly1305(key, data) {
  const r = little(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  const p = (1n << 130n) - 5n;
  let sum = 0n;
  for (let at = 0; at < data.length; at += 16) {
    const block = data.subarray(at, at + 16);
    sum = ((sum + little(block) + (1n << BigInt(8 * block.length))) * r) % p;
  }
  let tag = (sum + little(key.subarray(16, 32))) & ((1n << 128n) - 1n);
  return Buffer.from(Array.from({ length: 16 }, () => { const byte = Number(tag & 255n); tag >>= 8n; return byte; }));
}

const PRIVATE = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC = Buffer.from("302a300506032b656e032100", "hex");

export function keyPair(seed) { // crypto_box_seed_keypair
  const secret = createHash("sha512").update(seed).digest().subarray(0, 32);
  const privateKey = createPrivateKey({ key: Buffer.concat([PRIVATE, secret]), format: "der", type: "pkcs8" });
  const publicBytes = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(PUBLIC.length);
  return { privateKey, publicBytes, kid: blake2b(8, "carnet keyid", publicBytes) };
}

export function openSealed(box, key) { // crypto_box_seal_open
  const failed = "box_does_not_open";
  need(box.length >= 48, failed);
  const ephemeral = createPublicKey({ key: Buffer.concat([PUBLIC, box.subarray(0, 32)]), format: "der", type: "spki" });
  let shared;
  try {
    shared = diffieHellman({ privateKey: key.privateKey, publicKey: ephemeral });
  } catch {
    throw new Refused(failed, "a key of small order");
  }
  const nonce = blake2b(24, "", box.subarray(0, 32), key.publicBytes);
  const stream = xsalsa20(hsalsa20(shared, Buffer.alloc(16)), nonce, 32 + box.length - 48);
  const [tag, sealed] = [box.subarray(32, 48), box.subarray(48)];
  need(poly1305(stream.subarray(0, 32), sealed).equals(tag), failed);
  return Buffer.from(sealed.map((byte, i) => byte ^ stream[32 + i]));
}
