// Writes what the Rust side embeds: abi/<Contract>.json, interface and creation bytecode, so that
// building Rust needs no Solidity compiler; of an interface, the interface alone.
// `node tools/abi.mjs --check` fails instead when a file differs from what the sources compile to.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const contracts = [
  "CommitteeRegistry",
  "CertificateLog",
  "PaymentsRollup",
  "Groth16Adapter",
  "Sp1Adapter",
  "RiscZeroAdapter",
  "TimelockController",
  "BatchLedger",
  "BatchLedgerFactory",
  "PoseidonT3",
  "PoseidonT4",
  "PoseidonT5",
  "ICommitteeRegistry",
  "ICertificateLog",
  "IBatchSequence",
  "IBatchLedger",
  "IBatchLedgerFactory",
  "ISettlement",
  "IPaymentsRollup",
  "IValidityVerifier",
  "ISP1Verifier",
  "IRiscZeroVerifier",
];
const check = process.argv.includes("--check");
let stale = 0;

for (const name of contracts) {
  const artifact = JSON.parse(readFileSync(join(root, "out", `${name}.sol`, `${name}.json`), "utf8"));
  const isInterface = artifact.bytecode.object === "0x";
  const shown = isInterface ? { abi: artifact.abi } : { abi: artifact.abi, bytecode: artifact.bytecode.object };
  const text = JSON.stringify(shown, null, 2) + "\n";
  const file = join(root, "abi", `${name}.json`);
  if (!check) {
    writeFileSync(file, text);
    continue;
  }
  let committed = "";
  try {
    committed = readFileSync(file, "utf8");
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  if (committed !== text) {
    console.error(`abi/${name}.json is not what the sources compile to: run npm run build`);
    stale = 1;
  }
}
process.exit(stale);
