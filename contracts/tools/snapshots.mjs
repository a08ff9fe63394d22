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

/** Settlements measured, by a committee of 7 seats with 2 absent, 8 public inputs. */
export const settlements = ["one input, one withdrawal", "no input, no withdrawal", "recorded before, one withdrawal"];

/** Other transactions of a rollup. */
export const transactions = [
  "deposit",
  "requestExit",
  "claimWithdrawal, the only one",
  "claimWithdrawal, one of 20",
  "renewCoverage",
  "freeze",
  "exit",
  "refundDeposit",
];

/** Bundles measured, by a committee of 16 seats with 5 absent: numbers of batches. */
export const bundles = [1, 100, 1000, 2048];

/** Transactions of a ledger over a committee of 7 seats. */
export const ledgers = [
  "accept, with look-ups",
  "acceptBundled, 100 of 1000, without look-ups",
  "acceptBundled, 100 of 1000, with look-ups",
  "renewCoverage",
  "deploy",
];

export function readSnapshots(hardfork) {
  const group = (name) => JSON.parse(readFileSync(join(root, "snapshots", `${name}.${hardfork}.json`), "utf8"));
  const [record, openEpoch, register] = [group("record"), group("openEpoch"), group("register")];
  const [settle, rollup, bundle] = [group("settle"), group("rollup"), group("bundle")];
  const ledger = group("ledger");
  const value = (from, key) => {
    if (!(key in from)) throw new Error(`snapshots of ${hardfork} lack "${key}"`);
    return Number(from[key]);
  };
  const seats = (n) => `n = ${String(n).padStart(3)}`;
  return {
    register: value(register, "one operator"),
    openEpoch: (n) => value(openEpoch, seats(n)),
    rollup: (name) => value(rollup, name),
    ledger: (name) => value(ledger, name),
    bundle: (count) => value(bundle, `${count} ${count === 1 ? "batch" : "batches"}: transaction`),
    settle: (name) => ({
      intrinsic: value(settle, `${name}: intrinsic`),
      execution: value(settle, `${name}: execution and storage`),
      transaction: value(settle, `${name}: transaction`),
    }),
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
