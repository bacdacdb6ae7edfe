// The body of a data box by docs/batch-format.md: integers of 64 bits as BigInt.

import { Refused, need } from "./sodium.mjs";
import { inflate } from "./zstd.mjs";

export const PLAIN_MAX = 1_048_576;
const NUMBERS_MAX = 262_144;
const TIME_MAX = 2n ** 53n - 1n;
const two = (x) => BigInt.asIntN(64, x);
const signed = (zigzag) => (zigzag % 2n === 0n ? zigzag / 2n : -(zigzag + 1n) / 2n);

export class Numbers { // unsigned, seven bits a byte
  constructor(bytes, at = 0) { [this.bytes, this.at] = [bytes, at]; }
  next() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      need(this.at < this.bytes.length && shift < 64n, "varint_malformed");
      const byte = this.bytes[this.at];
      this.at += 1;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        need(value < 2n ** 64n && !(byte === 0 && shift > 0n), "varint_malformed");
        return value;
      }
    }
  }
}

export function checkCounts(counts, groups) {
  need(counts.every((count) => count <= BigInt(NUMBERS_MAX)), "batch_counts");
  const sum = [...counts, ...groups.map((group) => counts[group])].reduce((total, count) => total + Number(count), 0);
  need(sum > 0 && sum <= NUMBERS_MAX, "batch_counts");
}

class Bits { // from the most significant bit of a byte down
  constructor(bytes) { [this.bytes, this.at] = [bytes, 0]; }
  get end() { return this.at >= 8 * this.bytes.length; }
  bit() {
    need(!this.end, "batch_length");
    const bit = (this.bytes[this.at >> 3] >> (7 - (this.at & 7))) & 1;
    this.at += 1;
    return bit;
  }
  number(width) {
    let value = 0n;
    for (let i = 0; i < width; i += 1) value = 2n * value + BigInt(this.bit());
    return value;
  }
  quotient() {
    let zeros = 0n;
    while (!this.bit()) zeros += 1n;
    return zeros;
  }
}

function plainOf(body) {
  need(body.length > 0 && body[0] < 2, "codec_unknown");
  if (body[0] === 1) return inflate(Buffer.concat([Buffer.from("28b52ffd", "hex"), body.subarray(1)]), PLAIN_MAX);
  need(body.length - 1 <= PLAIN_MAX, "frame_too_large");
  return body.subarray(1);
}

function readRuns(numbers, bytes, lengths) {
  const runs = lengths.map((length, i) => ({ length, mode: bytes[i] >> 6, level: bytes[i] & 63 }));
  runs.forEach((run, i) => need(run.mode !== 3 || (i > 0 && runs[i - 1].length === run.length), "batch_runs"));
  for (const run of runs) {
    run.heads = Array.from({ length: run.mode === 2 && run.length > 1 ? 2 : 1 }, () => signed(numbers.next()));
    run.rest = run.length - run.heads.length;
    if (run.level === 63) {
      const count = numbers.next();
      run.valueLevel = Number(numbers.next());
      need(count >= 1n && count <= BigInt(run.rest) && run.valueLevel <= 62, "batch_sparse");
      run.count = Number(count);
    }
  }
  return runs;
}

function readRests(runs, bytes) {
  const dense = runs.filter((run) => run.level > 0 && run.level < 63);
  const sparse = runs.filter((run) => run.level === 63);
  const gapBits = (run) => Math.floor(Math.log2(Math.max(1, Math.floor((run.rest - run.count) / run.count))));
  const wanted = [
    ...dense.map((run) => [run.rest, run.level - 1]), ...sparse.map((run) => [run.count, gapBits(run)]),
    ...sparse.filter((run) => run.valueLevel > 0).map((run) => [run.count, run.valueLevel - 1]),
  ];
  const size = Math.ceil(wanted.reduce((sum, [count, k]) => sum + count * k, 0) / 8);
  need(bytes.length >= size, "batch_length");
  const [low, high] = [new Bits(bytes.subarray(0, size)), new Bits(bytes.subarray(size))];
  const coded = wanted.map(([count, k]) => Array.from({ length: count }, () => {
    const value = (high.quotient() << BigInt(k)) | low.number(k);
    need(value < 2n ** 64n, "batch_values");
    return value;
  }));
  while (!low.end) need(low.bit() === 0, "batch_padding");
  need(8 * high.bytes.length - high.at < 8, "batch_length");
  while (!high.end) need(high.bit() === 0, "batch_length");
  for (const run of runs) run.values = Array(run.rest).fill(0n);
  dense.forEach((run) => { run.values = coded.shift(); });
  const places = sparse.map((run) => {
    let at = -1n;
    return coded.shift().map((gap) => {
      at += 1n + gap;
      need(at < BigInt(run.rest), "batch_sparse");
      return Number(at);
    });
  });
  sparse.forEach((run, i) => {
    const values = run.valueLevel > 0 ? coded.shift() : places[i].map(() => 0n);
    places[i].forEach((place, n) => { run.values[place] = values[n] + 1n; });
    need(run.values.every((value) => value < 2n ** 64n), "batch_values");
  });
}

function restore(run, before) {
  const x = [two(run.heads[0] + (run.mode === 3 ? before[0] : 0n))];
  if (run.heads.length === 2) x.push(two(x[0] + run.heads[1]));
  for (const value of run.values) {
    const i = x.length;
    const from = [() => 0n, () => x[i - 1], () => 2n * x[i - 1] - x[i - 2], () => x[i - 1] + before[i] - before[i - 1]];
    x.push(two(signed(value) + from[run.mode]()));
  }
  return x;
}

export function readBatch(body, groups) {
  const plain = plainOf(body);
  const numbers = new Numbers(plain);
  const base = numbers.next();
  need(base <= TIME_MAX, "batch_times");
  const counts = Array.from({ length: groups[groups.length - 1] + 1 }, () => numbers.next());
  checkCounts(counts, groups);
  const lengths = [...counts, ...groups.map((group) => counts[group])].map(Number);
  const filled = lengths.filter((length) => length > 0);
  const start = numbers.at;
  need(plain.length >= start + filled.length, "batch_length");
  numbers.at += filled.length;
  const runs = readRuns(numbers, plain.subarray(start, start + filled.length), filled);
  readRests(runs, plain.subarray(numbers.at));
  let before = [];
  const restored = runs.map((run) => { before = restore(run, before); return before; });
  const all = lengths.map((length) => (length > 0 ? restored.shift() : []));
  const times = all.slice(0, counts.length).map((column) => column.map((x) => two(base + x)));
  for (const column of times) {
    column.forEach((time, i) => need(time >= (i ? column[i - 1] : 0n) && time <= TIME_MAX, "batch_times"));
  }
  return { times, values: all.slice(counts.length) };
}

export { Refused };
