// The gas snapshots that test/Gas.t.sol writes, as numbers.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
export const hardforks = ["prague", "osaka"];

/** Committees measured: seats, and the absent third. */
export const committees = [
  { n: 4, third: 1 },
  { n: 16, third: 5 },
  { n: 64, third: 21 },
  { n: 256, third: 85 },
];

export function readSnapshots(hardfork) {
  const group = (name) => JSON.parse(readFileSync(join(root, "snapshots", `${name}.${hardfork}.json`), "utf8"));
  const [record, openEpoch, register] = [group("record"), group("openEpoch"), group("register")];
  const value = (from, key) => {
    if (!(key in from)) throw new Error(`snapshots of ${hardfork} lack "${key}"`);
    return Number(from[key]);
  };
  const seats = (n) => `n = ${String(n).padStart(3)}`;
  return {
    register: value(register, "one operator"),
    openEpoch: (n) => value(openEpoch, seats(n)),
    record: (n, absent) => {
      const part = (name) => value(record, `${seats(n)}, ${absent} absent: ${name}`);
      return {
        intrinsic: part("intrinsic"),
        execution: part("execution"),
        storage: part("storage writes"),
        transaction: part("transaction"),
      };
    },
  };
}
