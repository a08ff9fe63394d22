// A Keccak of its own for the vectors of tools/*-vectors.mjs, and their bytes as hex.
const MASK = (1n << 64n) - 1n;
const rotated = (lane, by) => (by === 0n ? lane : ((lane << by) | (lane >> (64n - by))) & MASK);

/** Keccak-f[1600] on 25 lanes, lane x + 5y, as FIPS 202 has it. */
function permute(a) {
  let lfsr = 1n;
  for (let round = 0; round < 24; round++) {
    const c = [0, 1, 2, 3, 4].map((x) => a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]);
    for (let i = 0; i < 25; i++) a[i] ^= c[(i + 4) % 5] ^ rotated(c[(i + 1) % 5], 1n);
    let [x, y] = [1, 0];
    let moving = a[1];
    for (let t = 0; t < 24; t++) {
      [x, y] = [y, (2 * x + 3 * y) % 5];
      [moving, a[x + 5 * y]] = [a[x + 5 * y], rotated(moving, BigInt((((t + 1) * (t + 2)) / 2) % 64))];
    }
    for (let row = 0; row < 25; row += 5) {
      const b = a.slice(row, row + 5);
      for (let i = 0; i < 5; i++) a[row + i] = b[i] ^ (~b[(i + 1) % 5] & MASK & b[(i + 2) % 5]);
    }
    for (let j = 0n; j < 7n; j++) {
      if (lfsr & 1n) a[0] ^= 1n << ((1n << j) - 1n);
      lfsr = (lfsr << 1n) ^ (lfsr & 0x80n ? 0x171n : 0n);
    }
  }
}

export function keccak256(bytes) {
  const rate = 136;
  const padded = Buffer.concat([bytes, Buffer.alloc(rate - (bytes.length % rate))]);
  padded[bytes.length] ^= 0x01;
  padded[padded.length - 1] ^= 0x80;
  const state = Array(25).fill(0n);
  for (let at = 0; at < padded.length; at += rate) {
    for (let i = 0; i < rate / 8; i++) state[i] ^= padded.readBigUInt64LE(at + 8 * i);
    permute(state);
  }
  const output = Buffer.alloc(32);
  for (let i = 0; i < 4; i++) output.writeBigUInt64LE(state[i], 8 * i);
  return output;
}

if (keccak256(Buffer.alloc(0)).toString("hex") !== "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470") {
  throw new Error("Keccak is wrong");
}

export const hex = (bytes) => "0x" + bytes.toString("hex");
export const bytes = (text) => Buffer.from(text.slice(2), "hex");
/** A big-endian integer. */
export const integer = (value, length) => bytes("0x" + BigInt(value).toString(16).padStart(2 * length, "0"));
