// Writes ../vectors/claim-v1.json: public claims, their canonical encoding and their Groth16
// inputs. Made from the description alone, in another language than those that read it, with a
// Keccak of its own.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bytes, hex, integer, keccak256 } from "./keccak.mjs";

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
  // A checked hash has 256 bits: two inputs, its first 16 bytes and its last.
  const hash = bytes(claim.batchHash);
  const halves = [hash.subarray(0, 16), hash.subarray(16)].map((half) => hex(Buffer.concat([Buffer.alloc(16), half])));
  const batchHash = claim.hashKind === 0 ? [claim.batchHash] : halves;
  const inputs = [claim.oldStateRoot, claim.newStateRoot, ...batchHash, claim.l1Inputs, claim.l1Outputs];
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
    batchHash: numbers.hashKind === 0 ? element(label("batch hash")) : string(label("batch hash"), 32),
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
