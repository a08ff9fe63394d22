// Writes ../vectors/claim-v1.json: public claims, their canonical encoding and their Groth16
// inputs. Made from the description alone, in another language than those that read it, with a
// Keccak of its own.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

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

function keccak256(bytes) {
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

const hex = (bytes) => "0x" + bytes.toString("hex");
const bytes = (text) => Buffer.from(text.slice(2), "hex");
/** A big-endian integer. */
const integer = (value, length) => bytes("0x" + BigInt(value).toString(16).padStart(2 * length, "0"));
const hash = (label) => createHash("sha256").update(label).digest();
/** Below BN254's order: 253 bits. */
const element = (label) => {
  const value = hash(label);
  value[0] &= 0x1f;
  return hex(value);
};
const string = (label, length) =>
  hex(Buffer.concat([...Array(Math.ceil(length / 32)).keys()].map((i) => hash(`${label} ${i}`))).subarray(0, length));

function domain({ chainId, settlement }) {
  const tag = keccak256(Buffer.from("dac/v1/rollup"));
  return keccak256(Buffer.concat([tag, integer(chainId, 32), Buffer.alloc(12), bytes(settlement)])).subarray(0, 16);
}

function encoded(claim) {
  return Buffer.concat([
    bytes(claim.oldStateRoot),
    bytes(claim.newStateRoot),
    integer(claim.chainId, 8),
    bytes(claim.settlement),
    integer(claim.batchNumber, 8),
    integer(claim.payloadLength, 8),
    integer(claim.hashKind, 1),
    bytes(claim.batchHash),
    bytes(claim.l1Inputs),
    bytes(claim.l1Outputs),
    integer(bytes(claim.points).length / 16, 1),
    bytes(claim.points),
    bytes(claim.payloadFingerprint),
  ]);
}

function groth16Inputs(claim) {
  const context = Buffer.concat([
    bytes(claim.points),
    bytes(claim.payloadFingerprint),
    integer(claim.batchNumber, 8),
    integer(claim.payloadLength, 4),
    domain(claim),
  ]);
  const inputs = [claim.oldStateRoot, claim.newStateRoot, claim.batchHash, claim.l1Inputs, claim.l1Outputs];
  for (let at = 0; at < context.length; at += 31) {
    const littleEndian = Buffer.alloc(32);
    context.copy(littleEndian, 0, at, at + 31);
    inputs.push(hex(littleEndian.reverse()));
  }
  return inputs;
}

function vector(t, numbers) {
  const label = (what) => `claim of ${t} points: ${what}`;
  const claim = {
    oldStateRoot: element(label("old state root")),
    newStateRoot: element(label("new state root")),
    chainId: numbers.chainId,
    settlement: string(label("settlement"), 20),
    batchNumber: numbers.batchNumber,
    payloadLength: numbers.payloadLength,
    hashKind: numbers.hashKind,
    batchHash: element(label("batch hash")),
    l1Inputs: element(label("inputs")),
    l1Outputs: numbers.withdrawals ? element(label("outputs")) : hex(Buffer.alloc(32)),
    points: string(label("points"), 16 * t),
    payloadFingerprint: string(label("fingerprint"), 16 * t),
  };
  return {
    claim,
    domain: hex(domain(claim)),
    encoded: hex(encoded(claim)),
    groth16_inputs: groth16Inputs(claim),
  };
}

const vectors = [
  // Numbers stay below 2^53, which is what JSON readers agree on.
  vector(2, { chainId: 31337, batchNumber: 0x01020304050607, payloadLength: 672, hashKind: 0, withdrawals: true }),
  vector(3, { chainId: 11155111, batchNumber: 1, payloadLength: 64 << 20, hashKind: 2, withdrawals: false }),
];
const file = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "vectors", "claim-v1.json");
writeFileSync(file, JSON.stringify({ vectors }, null, 1) + "\n");
