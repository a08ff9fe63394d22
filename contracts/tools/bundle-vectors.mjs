// Writes ../vectors/bundle-v1.json: bundles, their trees, digests and proofs. Made from the
// protocol's section 14 alone, by its recursive definition, with a Keccak of its own.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bytes, hex, integer, keccak256 } from "./keccak.mjs";

const hash = (label) => createHash("sha256").update(label).digest();
const text = (value) => keccak256(Buffer.from(value));
const leaf = (digest) => keccak256(Buffer.concat([Buffer.from([0]), digest]));
const node = (left, right) => keccak256(Buffer.concat([Buffer.from([1]), left, right]));

/** The largest power of two below a count of at least two. */
const split = (count) => 2 ** Math.ceil(Math.log2(count) - 1);

/** Root of the tree over the digests. */
function root(digests) {
  if (digests.length === 1) return leaf(digests[0]);
  const at = split(digests.length);
  return node(root(digests.slice(0, at)), root(digests.slice(at)));
}

/** Siblings of the leaf at `index`, from the leaf upwards. */
function path(digests, index) {
  if (digests.length === 1) return [];
  const at = split(digests.length);
  const [left, right] = [digests.slice(0, at), digests.slice(at)];
  return index < at ? [...path(left, index), root(right)] : [...path(right, index - at), root(left)];
}

/** The subtrees without a wanted leaf whose sibling has one, with level and position. */
function siblings(digests, wanted, from = 0) {
  if (digests.length === 1) return [];
  const at = split(digests.length);
  const halves = [digests.slice(0, at), digests.slice(at)];
  return halves.flatMap((half, i) => {
    const start = from + i * at;
    if (wanted.some((index) => index >= start && index < start + half.length)) return siblings(half, wanted, start);
    return [{ level: Math.log2(at), position: start / at, hash: root(half) }];
  });
}

/** The common proof of several leaves: by level from the leaves upwards, then by position. */
const proof = (digests, wanted) =>
  siblings(digests, wanted)
    .sort((a, b) => a.level - b.level || a.position - b.position)
    .map((sibling) => sibling.hash);

function separator(chainId, registry) {
  const type = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
  const address = Buffer.concat([Buffer.alloc(12), bytes(registry)]);
  return keccak256(Buffer.concat([text(type), text("Validium DAC"), text("1"), integer(chainId, 32), address]));
}

function vector(count, { chainId, epoch, absent, groups }) {
  const registry = hex(hash(`bundle of ${count}: registry`).subarray(0, 20));
  const digests = [...Array(count).keys()].map((i) => hash(`bundle of ${count}: batch ${i}`)).sort(Buffer.compare);
  const treeRoot = root(digests);
  const type = text("BatchBundle(uint64 epoch,uint32 count,bytes32 root)");
  const structHash = keccak256(Buffer.concat([type, integer(epoch, 32), integer(count, 32), treeRoot]));
  const digest = keccak256(Buffer.concat([Buffer.from([0x19, 0x01]), separator(chainId, registry), structHash]));
  const shown = count <= 9 ? [...Array(count).keys()] : [0, 1, count >> 1, count - 2, count - 1];
  return {
    chain_id: chainId,
    registry,
    epoch,
    digests: digests.map(hex),
    root: hex(treeRoot),
    digest: hex(digest),
    paths: shown.map((index) => ({ index, path: path(digests, index).map(hex) })),
    proofs: groups.map((indices) => ({ indices, proof: proof(digests, indices).map(hex) })),
    absent,
    absent_hash: hex(keccak256(bytes(absent)).subarray(0, 24)),
  };
}

const range = (from, to) => [...Array(to - from).keys()].map((i) => from + i);
const vectors = [
  vector(1, { chainId: 31337, epoch: 1, absent: "0x", groups: [[0]] }),
  vector(2, { chainId: 31337, epoch: 2, absent: "0x03", groups: [[0, 1], [1]] }),
  vector(3, { chainId: 1, epoch: 7, absent: "0x0005", groups: [[0, 2], [2], [0, 1, 2]] }),
  vector(7, { chainId: 1, epoch: 0x0102030405060, absent: "0x0104", groups: [[0, 3, 6], [1, 2], [4, 5], [6]] }),
  vector(8, { chainId: 1, epoch: 3, absent: "0xff", groups: [[1, 4, 5], [0, 7]] }),
  vector(100, { chainId: 11155111, epoch: 12, absent: "0x", groups: [[3, 4, 50, 97, 99], range(10, 40), range(0, 100)] }),
];
/** Lists that are no bundle, and why. */
const [a, b, c] = [0x11, 0x22, 0x33].map((byte) => hex(Buffer.alloc(32, byte)));
const refused = [
  { why: "empty", digests: [] },
  { why: "duplicate", index: 2, digests: [a, b, b] },
  { why: "not ascending", index: 2, digests: [a, c, b] },
];
const file = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "vectors", "bundle-v1.json");
writeFileSync(file, JSON.stringify({ vectors, refused }, null, 1) + "\n");
