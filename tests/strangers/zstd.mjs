// One zstd frame, by RFC 8878: no dictionary, a window of at most 2 MiB, as docs/batch-format.md wants it.

import { Refused, need } from "./sodium.mjs";

const MAGIC = 0xfd2fb528;
const BLOCK_MAX = 131_072;
const WINDOW_MAX = 2_097_152;
const bad = "frame_malformed";
const range = (n) => Array.from({ length: n }, (_, i) => i);
const log2 = (n) => 31 - Math.clz32(n);

const LITERALS = {
  log: 6, frequencies: [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1],
  logMax: 9, bases: [...range(16), 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
  bits: [...Array(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
};
const OFFSETS = {
  log: 5, frequencies: [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
  logMax: 8, bases: range(32).map((n) => 2 ** n), bits: range(32),
};
const MATCHES = {
  log: 6, frequencies: [1, 4, 3, 2, 2, 2, 2, 2, 2, ...Array(37).fill(1), -1, -1, -1, -1, -1, -1, -1], logMax: 9,
  bases: [...range(32).map((n) => n + 3), 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539],
  bits: [...Array(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
};

class Forward { // bits from the first byte on, least significant first
  constructor(bytes) { [this.bytes, this.at] = [bytes, 0]; }
  read(count) {
    let value = 0;
    for (let i = 0; i < count; i += 1, this.at += 1) {
      need(this.at >> 3 < this.bytes.length, bad);
      value += ((this.bytes[this.at >> 3] >> (this.at & 7)) & 1) * 2 ** i;
    }
    return value;
  }
}

class Backward { // bits from the last one that is set down; before the first there are zeros
  constructor(bytes) {
    need(bytes.length > 0 && bytes[bytes.length - 1] !== 0, bad);
    [this.bytes, this.left] = [bytes, 8 * (bytes.length - 1) + log2(bytes[bytes.length - 1])];
  }
  peek(count) {
    let value = 0;
    for (let at = this.left - 1; at >= this.left - count; at -= 1) {
      value = 2 * value + (at < 0 ? 0 : (this.bytes[at >> 3] >> (at & 7)) & 1);
    }
    return value;
  }
  read(count) { const value = this.peek(count); this.left -= count; return value; }
}

function readFrequencies(bytes, logMax, symbolsMax) {
  const bits = new Forward(bytes);
  const log = bits.read(4) + 5;
  need(log <= logMax, bad);
  const frequencies = [];
  let remaining = 2 ** log;
  while (remaining > 0) {
    const width = log2(remaining + 1) + 1;
    const threshold = 2 ** width - 1 - (remaining + 1);
    const low = 2 ** (width - 1) - 1;
    let value = bits.read(width);
    if ((value & low) < threshold) {
      bits.at -= 1;
      value &= low;
    } else if (value > low) value -= threshold;
    const frequency = value - 1;
    remaining -= Math.abs(frequency);
    frequencies.push(frequency);
    if (frequency === 0) {
      let zeros;
      do {
        zeros = bits.read(2);
        frequencies.push(...Array(zeros).fill(0));
      } while (zeros === 3);
    }
    need(remaining >= 0 && frequencies.length <= symbolsMax, bad);
  }
  return { table: fseTable(log, frequencies), size: Math.ceil(bits.at / 8) };
}

function fseTable(log, frequencies) {
  const size = 2 ** log;
  const symbols = Array(size).fill(0);
  const next = frequencies.map((frequency) => Math.abs(frequency));
  let high = size;
  frequencies.forEach((frequency, symbol) => { if (frequency === -1) symbols[high -= 1] = symbol; });
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  frequencies.forEach((frequency, symbol) => {
    for (let i = 0; i < frequency; i += 1) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1); while (at >= high);
    }
  });
  need(at === 0, bad);
  const states = symbols.map((symbol) => {
    const state = next[symbol];
    next[symbol] += 1;
    const bits = log - log2(state);
    return { symbol, bits, base: state * 2 ** bits - size };
  });
  return { log, states };
}

// literals

function readWeights(bytes) {
  const head = bytes[0];
  if (head >= 128) {
    const count = head - 127;
    const size = 1 + Math.ceil(count / 2);
    need(bytes.length >= size, bad);
    return { size, weights: range(count).map((i) => (i % 2 ? bytes[1 + (i >> 1)] & 15 : bytes[1 + (i >> 1)] >> 4)) };
  }
  need(bytes.length > head, bad);
  const { table, size } = readFrequencies(bytes.subarray(1, 1 + head), 6, 256);
  const bits = new Backward(bytes.subarray(1 + size, 1 + head));
  const states = [bits.read(table.log), bits.read(table.log)];
  need(bits.left >= 0, bad);
  const weights = [];
  for (let turn = 0; ; turn = 1 - turn) {
    const { symbol, bits: width, base } = table.states[states[turn]];
    weights.push(symbol);
    if (width > bits.left) {
      weights.push(table.states[states[1 - turn]].symbol);
      break;
    }
    states[turn] = base + bits.read(width);
    need(weights.length < 255, bad);
  }
  return { size: 1 + head, weights };
}

function readTree(bytes) {
  need(bytes.length > 0, bad);
  const { size, weights } = readWeights(bytes);
  const sum = weights.reduce((total, weight) => total + (weight ? 2 ** (weight - 1) : 0), 0);
  need(sum > 0, bad);
  const depth = log2(sum) + 1;
  const rest = 2 ** depth - sum;
  need(depth <= 11 && Number.isInteger(Math.log2(rest)), bad);
  weights.push(log2(rest) + 1);
  const entries = [];
  for (let weight = 1; weight <= depth; weight += 1) {
    weights.forEach((each, symbol) => {
      if (each === weight) for (let i = 0; i < 2 ** (weight - 1); i += 1) entries.push({ symbol, bits: depth + 1 - weight });
    });
  }
  need(entries.length === 2 ** depth, bad);
  return { size, tree: { depth, entries } };
}

function huffman(bytes, tree, count) {
  const bits = new Backward(bytes);
  const found = Buffer.alloc(count);
  for (let i = 0; i < count; i += 1) {
    const { symbol, bits: width } = tree.entries[bits.peek(tree.depth)];
    found[i] = symbol;
    bits.left -= width;
  }
  need(bits.left === 0, bad);
  return found;
}

function readLiterals(bytes, state) {
  need(bytes.length > 0, bad);
  const [type, format] = [bytes[0] & 3, (bytes[0] >> 2) & 3];
  const header = (size) => { need(bytes.length >= size, bad); return bytes.readUIntLE(0, size); };
  if (type < 2) {
    const size = [1, 2, 1, 3][format];
    const count = Math.floor(header(size) / 2 ** (format % 2 ? 4 : 3));
    const stored = type === 0 ? count : 1;
    need(count <= BLOCK_MAX && bytes.length >= size + stored, bad);
    const content = bytes.subarray(size, size + stored);
    return { size: size + stored, literals: type === 0 ? content : Buffer.alloc(count, content[0]) };
  }
  const [size, width] = [[3, 10], [3, 10], [4, 14], [5, 18]][format];
  const head = header(size);
  const count = Math.floor(head / 16) % 2 ** width;
  const packed = Math.floor(head / 2 ** (4 + width));
  need(count <= BLOCK_MAX && bytes.length >= size + packed, bad);
  let content = bytes.subarray(size, size + packed);
  if (type === 2) {
    const read = readTree(content);
    state.tree = read.tree;
    content = content.subarray(read.size);
  }
  need(state.tree, bad);
  if (format === 0) return { size: size + packed, literals: huffman(content, state.tree, count) };
  need(content.length >= 6, bad);
  const sizes = [0, 2, 4].map((at) => content.readUInt16LE(at));
  const each = Math.ceil(count / 4);
  let at = 6;
  const streams = [...sizes, content.length - 6 - sizes[0] - sizes[1] - sizes[2]].map((length, i) => {
    need(length > 0 && at + length <= content.length, bad);
    at += length;
    return huffman(content.subarray(at - length, at), state.tree, i < 3 ? each : count - 3 * each);
  });
  return { size: size + packed, literals: Buffer.concat(streams) };
}

// sequences

function readTable(bytes, mode, kind, state, name) {
  if (mode === 0) state[name] = fseTable(kind.log, kind.frequencies);
  if (mode === 1) {
    need(bytes.length > 0 && bytes[0] < kind.bases.length, bad);
    state[name] = { log: 0, states: [{ symbol: bytes[0], bits: 0, base: 0 }] };
    return 1;
  }
  if (mode === 2) {
    const { table, size } = readFrequencies(bytes, kind.logMax, kind.bases.length);
    state[name] = table;
    return size;
  }
  need(state[name], bad);
  return 0;
}

function readSequences(bytes, state) {
  need(bytes.length > 0, bad);
  const head = bytes[0];
  if (head === 0) {
    need(bytes.length === 1, bad);
    return [];
  }
  let at = head < 128 ? 1 : head < 255 ? 2 : 3;
  need(bytes.length > at, bad);
  const count = head < 128 ? head : head < 255 ? (head - 128) * 256 + bytes[1] : bytes[1] + bytes[2] * 256 + 0x7f00;
  const modes = bytes[at];
  at += 1;
  need((modes & 3) === 0, bad);
  at += readTable(bytes.subarray(at), modes >> 6, LITERALS, state, "ll");
  at += readTable(bytes.subarray(at), (modes >> 4) & 3, OFFSETS, state, "of");
  at += readTable(bytes.subarray(at), (modes >> 2) & 3, MATCHES, state, "ml");
  const bits = new Backward(bytes.subarray(at));
  let [ll, of, ml] = ["ll", "of", "ml"].map((name) => bits.read(state[name].log));
  const number = (kind, symbol) => kind.bases[symbol] + bits.read(kind.bits[symbol]);
  const next = (name, now) => { const { base, bits: width } = state[name].states[now]; return base + bits.read(width); };
  const found = [];
  for (let i = 0; i < count; i += 1) {
    const offset = number(OFFSETS, state.of.states[of].symbol);
    const match = number(MATCHES, state.ml.states[ml].symbol);
    found.push({ offset, match, literals: number(LITERALS, state.ll.states[ll].symbol) });
    if (i < count - 1) {
      ll = next("ll", ll);
      ml = next("ml", ml);
      of = next("of", of);
    }
  }
  need(bits.left === 0, bad);
  return found;
}

function farBack(value, literals, recent) {
  if (value > 3) {
    recent.splice(0, 3, value - 3, recent[0], recent[1]);
    return value - 3;
  }
  const index = value - 1 + (literals === 0 ? 1 : 0);
  if (index === 0) return recent[0];
  const offset = index < 3 ? recent[index] : recent[0] - 1;
  recent.splice(0, 3, offset, recent[0], index > 1 ? recent[1] : recent[2]);
  return offset;
}

function readBlock(bytes, state, out) {
  const { size, literals } = readLiterals(bytes, state);
  let at = 0;
  const copy = (count) => {
    need(at + count <= literals.length, bad);
    for (let i = 0; i < count; i += 1, at += 1) out.push(literals[at]);
  };
  const start = out.length;
  for (const each of readSequences(bytes.subarray(size), state)) {
    copy(each.literals);
    const offset = farBack(each.offset, each.literals, state.recent);
    need(offset > 0 && offset <= out.length && offset <= state.window, bad);
    need(out.length - start + each.match <= BLOCK_MAX, bad);
    for (let i = 0; i < each.match; i += 1) out.push(out[out.length - offset]);
  }
  copy(literals.length - at);
}

function readHeader(bytes) {
  need(bytes.length >= 6 && bytes.readUInt32LE(0) === MAGIC, bad);
  const descriptor = bytes[4];
  const single = (descriptor >> 5) & 1;
  need((descriptor & 8) === 0 && (descriptor & 3) === 0, bad, "reserved, or names a dictionary");
  const width = [single, 2, 4, 8][descriptor >> 6];
  const at = 5 + (single ? 0 : 1);
  need(bytes.length >= at + width, bad);
  let content = null;
  if (width === 8) content = Number(bytes.readBigUInt64LE(at));
  else if (width) content = bytes.readUIntLE(at, width) + (width === 2 ? 256 : 0);
  const window = single ? content : 2 ** (10 + (bytes[5] >> 3)) * (1 + (bytes[5] & 7) / 8);
  return { at: at + width, content, window, hasChecksum: (descriptor >> 2) & 1 };
}

export function inflate(bytes, sizeMax) {
  const { at: begin, content, window, hasChecksum } = readHeader(bytes);
  need(content === null || content <= sizeMax, "frame_too_large");
  need(window <= WINDOW_MAX, bad, "window");
  const state = { recent: [1, 4, 8], window: Math.max(window, 1024) };
  const out = [];
  let at = begin;
  for (let last = 0; !last;) {
    need(bytes.length >= at + 3, bad);
    const head = bytes.readUIntLE(at, 3);
    const [type, size] = [(head >> 1) & 3, head >> 3];
    last = head & 1;
    at += 3;
    const stored = type === 1 ? 1 : size;
    need(type < 3 && size <= BLOCK_MAX && bytes.length >= at + stored, bad);
    const block = bytes.subarray(at, at + stored);
    at += stored;
    if (type === 0) for (const byte of block) out.push(byte);
    if (type === 1) for (let i = 0; i < size; i += 1) out.push(block[0]);
    if (type === 2) readBlock(block, state, out);
    need(out.length <= sizeMax, "frame_too_large");
  }
  at += hasChecksum ? 4 : 0; // the box around it has a better one
  need(at <= bytes.length && (content === null || content === out.length), bad);
  need(at === bytes.length, "frame_trailing");
  return Buffer.from(out);
}

export { Refused };
