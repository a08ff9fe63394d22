// Sends the measured transactions to a real anvil, under both hardforks, and compares what their
// receipts say with the snapshots of test/Gas.t.sol. Signatures cover the registry's address, which
// differs here: so intrinsic gas is compared by the calldata that was sent, and execution may
// differ by a few branches.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bundles, committees, hardforks, readSnapshots, root } from "./snapshots.mjs";

const TOLERANCE = 100;
const OWNER = "0x00000000000000000000000000000000000a11ce";
const START = 1_800_000_000;

const built = (name) => JSON.parse(readFileSync(join(root, "out", `${name}.sol`, `${name}.json`), "utf8"));
const [driver, settleDriver] = [built("AnvilDriver"), built("SettleDriver")];
const bytecode = (name) => JSON.parse(readFileSync(join(root, "abi", `${name}.json`), "utf8")).bytecode;
const word = (value) => BigInt(value).toString(16).padStart(64, "0");
const intrinsicGas = (data) =>
  Buffer.from(data.slice(2), "hex").reduce((gas, byte) => gas + (byte === 0 ? 4 : 16), 21_000);

/** Starts anvil on a free port; resolves when it listens. */
function start(hardfork) {
  const flags = ["--port", "0", "--hardfork", hardfork, "--timestamp", String(START), "--auto-impersonate"];
  const fees = ["--gas-price", "0", "--base-fee", "0", "--no-priority-fee"];
  const child = spawn(join(root, "node_modules", ".bin", "anvil"), [...flags, ...fees], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let output = "";
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`anvil exited with ${code}: ${output}`)));
    child.stdout.on("data", (data) => {
      if (output.length < 65_536) output += data;
      const match = /Listening on (\S+)/.exec(output);
      if (match) resolve({ child, url: `http://${match[1]}` });
    });
  });
}

function stop(child) {
  return new Promise((resolve) => {
    child.removeAllListeners("exit");
    child.on("exit", resolve);
    child.kill("SIGTERM");
  });
}

class Chain {
  constructor(url) {
    this.url = url;
    this.id = 0;
  }

  async rpc(method, ...params) {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: ++this.id, method, params }),
      signal: AbortSignal.timeout(60_000),
    });
    const { result, error } = await response.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** The receipt of a transaction that must succeed. */
  async send(from, to, data, value = "0x0") {
    const hash = await this.rpc("eth_sendTransaction", { from, to, data, value, gas: "0x1000000", gasPrice: "0x0" });
    for (let tries = 0; tries < 600; tries++) {
      const receipt = await this.rpc("eth_getTransactionReceipt", hash);
      if (receipt) {
        if (receipt.status !== "0x1") throw new Error(`transaction ${hash} failed`);
        return receipt;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`no receipt of ${hash}`);
  }

  async deploy(code, ...args) {
    return (await this.send(OWNER, undefined, code + args.map(word).join(""))).contractAddress;
  }

  /** Asks a driver for calldata, a single `bytes`. */
  async calldata(address, signature, ...args) {
    const selector = driver.methodIdentifiers[signature] ?? settleDriver.methodIdentifiers[signature];
    const data = "0x" + selector + args.map(word).join("");
    const output = (await this.rpc("eth_call", { to: address, data }, "latest")).slice(2);
    const length = parseInt(output.slice(64, 128), 16);
    return "0x" + output.slice(128, 128 + 2 * length);
  }

  async operator(address, number) {
    const data = "0x" + driver.methodIdentifiers["operator(uint256)"] + word(number);
    return "0x" + (await this.rpc("eth_call", { to: address, data }, "latest")).slice(26);
  }
}

let failures = 0;

function compare(what, got, expected, tolerance = TOLERANCE) {
  const far = Math.abs(got - expected) > tolerance;
  if (far) failures++;
  console.log(`${far ? "DIFFERS" : "ok     "} ${what}: receipt ${got}, snapshot ${expected}`);
}

/** A committee of seven, a rollup over it with the Groth16 adapter, and the settlement that test/SettlementGas.t.sol measures. */
async function settle(hardfork, chain) {
  const registry = await chain.deploy(bytecode("CommitteeRegistry"), OWNER, 7 * 86_400, 2 * 86_400);
  const log = await chain.deploy(bytecode("CertificateLog"), registry);
  const helper = await chain.deploy(driver.bytecode.object, registry);
  for (let i = 0; i < 7; i++) {
    const call = await chain.calldata(helper, "registerCall(uint256)", i);
    await chain.send(await chain.operator(helper, i), registry, call);
  }
  await chain.send(OWNER, registry, await chain.calldata(helper, "openCall(uint256)", 7));

  const settler = await chain.deploy(settleDriver.bytecode.object, registry, 1);
  const adapterArguments = await chain.calldata(settler, "adapterArguments()");
  const adapter = await chain.deploy(bytecode("Groth16Adapter") + adapterArguments.slice(2));
  const hashers = [];
  for (const name of ["PoseidonT3", "PoseidonT4", "PoseidonT5"]) hashers.push(await chain.deploy(bytecode(name)));
  const delays = [2, 4, 8].map((days) => days * 86_400);
  const rollup = await chain.deploy(bytecode("PaymentsRollup"), OWNER, log, adapter, ...delays, ...hashers);

  await chain.rpc("anvil_setBalance", OWNER, "0xde0b6b3a7640000");
  const deposit = built("PaymentsRollup").methodIdentifiers["deposit(bytes32)"];
  for (let i = 0; i < 2; i++) await chain.send(OWNER, rollup, "0x" + deposit + word(i + 1), "0x3b9aca00");
  const settleCall = (...args) => chain.calldata(settler, "settleCall(address,uint256,uint256)", rollup, ...args);
  await chain.send(OWNER, rollup, await settleCall(0, 0));
  for (const [name, ...args] of [["no input, no withdrawal", 0, 0], ["one input, one withdrawal", 1, 1]]) {
    const call = await settleCall(...args);
    const receipt = await chain.send(OWNER, rollup, call);
    const { intrinsic, execution } = readSnapshots(hardfork).settle(name);
    compare(`${hardfork}, settle, ${name}`, Number(receipt.gasUsed), intrinsicGas(call) + execution);
    if (Math.abs(intrinsicGas(call) - intrinsic) > 12 * 16) throw new Error("calldata of another shape");
  }
}

async function crosscheck(hardfork) {
  const snapshots = readSnapshots(hardfork);
  const { child, url } = await start(hardfork);
  try {
    const chain = new Chain(url);
    for (const { n, third } of committees) {
      const registry = await chain.deploy(bytecode("CommitteeRegistry"), OWNER, 7 * 86_400, 2 * 86_400);
      const log = await chain.deploy(bytecode("CertificateLog"), registry);
      const helper = await chain.deploy(driver.bytecode.object, registry);
      for (let i = 0; i < n; i++) {
        const call = await chain.calldata(helper, "registerCall(uint256)", i);
        await chain.send(await chain.operator(helper, i), registry, call);
      }
      const opened = await chain.send(OWNER, registry, await chain.calldata(helper, "openCall(uint256)", n));
      compare(`${hardfork}, open an epoch, n = ${n}`, Number(opened.gasUsed), snapshots.openEpoch(n));
      for (const absent of [0, third]) {
        const call = await chain.calldata(helper, "recordCall(uint256,uint256,uint256)", 1, n, absent);
        const receipt = await chain.send(OWNER, log, call);
        const { intrinsic, execution, storage } = snapshots.record(n, absent);
        const expected = intrinsicGas(call) + execution + storage;
        compare(`${hardfork}, record, n = ${n}, ${absent} absent`, Number(receipt.gasUsed), expected);
        if (Math.abs(intrinsicGas(call) - intrinsic) > 12 * 16) throw new Error("calldata of another shape");
      }
      for (const count of n === 16 ? bundles : []) {
        const call = await chain.calldata(helper, "bundleCall(uint256,uint256,uint256,uint256)", 1, n, third, count);
        const receipt = await chain.send(OWNER, log, call);
        compare(`${hardfork}, bundle of ${count}`, Number(receipt.gasUsed), snapshots.bundle(count), 12 * 40);
      }
    }
    await settle(hardfork, chain);
  } finally {
    await stop(child);
  }
}

for (const hardfork of hardforks) await crosscheck(hardfork);
process.exit(failures === 0 ? 0 : 1);
