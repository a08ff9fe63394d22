// Writes the gas table of README.md from the snapshots; with --check, fails instead when it is not
// current.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundles, committees, hardforks, ledgers, readSnapshots, root, settlements, transactions } from "./snapshots.mjs";

const format = (value) => value.toLocaleString("en-US");

function table(hardfork) {
  const snapshots = readSnapshots(hardfork);
  const rows = committees.flatMap(({ n, third }) =>
    [0, third].map((absent) => {
      const { intrinsic, execution, storage, transaction } = snapshots.record(n, absent);
      const cells = [n, absent, intrinsic, execution, intrinsic + execution, storage, transaction];
      return `| ${cells.map(format).join(" | ")} |`;
    }),
  );
  const opening = committees.map(({ n }) => `${format(snapshots.openEpoch(n))} (n = ${n})`).join(", ");
  const bundling = bundles.map((count) => {
    const gas = snapshots.bundle(count);
    return `| ${[count, gas, Math.floor(gas / count)].map(format).join(" | ")} |`;
  });
  const settling = settlements.map((name) => {
    const { intrinsic, execution, transaction } = snapshots.settle(name);
    return `| ${[name, ...[intrinsic, execution, transaction].map(format)].join(" | ")} |`;
  });
  const others = transactions.map((name) => `| ${name} | ${format(snapshots.rollup(name))} |`);
  const homes = ledgers.map((name) => `| ${name} | ${format(snapshots.ledger(name))} |`);
  const name = hardfork[0].toUpperCase() + hardfork.slice(1);
  return [
    `**${name}**`,
    "",
    "| record: seats | absent | intrinsic | execution | without storage writes | storage writes | whole transaction |",
    "|--:|--:|--:|--:|--:|--:|--:|",
    ...rows,
    "",
    `Registering an operator: ${format(snapshots.register)}. Opening an epoch: ${opening}.`,
    "",
    "| recordBundle: batches | whole transaction | a batch |",
    "|--:|--:|--:|",
    ...bundling,
    "",
    "| settle | intrinsic | execution, storage writes | whole transaction |",
    "|---|--:|--:|--:|",
    ...settling,
    "",
    "| rollup | whole transaction |",
    "|---|--:|",
    ...others,
    "",
    "| ledger | whole transaction |",
    "|---|--:|",
    ...homes,
    "",
  ].join("\n");
}

const file = join(root, "README.md");
const text = readFileSync(file, "utf8");
const [begin, end] = ["<!-- gas table: begin -->", "<!-- gas table: end -->"];
const [before, after] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
if (before < begin.length || after < before) throw new Error("README.md lacks the marks of the gas table");
const current = `${text.slice(0, before)}\n${hardforks.map(table).join("\n")}${text.slice(after)}`;

if (!process.argv.includes("--check")) {
  writeFileSync(file, current);
} else if (current !== text) {
  console.error("README.md's gas table is not that of the snapshots: run npm run snapshot");
  process.exit(1);
}
