// Measures gas again under both hardforks and fails when anything differs from the committed
// snapshots: a figure, or a figure too many or too few.
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./snapshots.mjs";

const folder = join(root, "snapshots");
const read = () => new Map(readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name), "utf8")]));
const committed = read();

for (const profile of ["default", "osaka"]) {
  const run = spawnSync(join(root, "node_modules", ".bin", "forge"), ["test", "--match-contract", "GasTest"], {
    cwd: root,
    env: { ...process.env, FOUNDRY_PROFILE: profile, FORGE_SNAPSHOT_EMIT: "true" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (run.status !== 0) process.exit(run.status ?? 1);
}

const measured = read();
for (const [name, text] of committed) writeFileSync(join(folder, name), text);

let drifted = false;
for (const name of new Set([...committed.keys(), ...measured.keys()])) {
  const before = JSON.parse(committed.get(name) ?? "{}");
  const now = JSON.parse(measured.get(name) ?? "{}");
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    if (before[key] === now[key]) continue;
    drifted = true;
    console.error(`${name}: "${key}" is ${now[key] ?? "gone"}, the snapshot says ${before[key] ?? "nothing"}`);
  }
}
if (drifted) {
  console.error("Gas has changed: look why, then run npm run snapshot.");
  process.exit(1);
}
