import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { it } from "vitest";

it("the committed WebAssembly is what its AssemblyScript sources give", () => {
  const script = fileURLToPath(new URL("../../../scripts/build-wasm.mjs", import.meta.url));
  execFileSync(process.execPath, [script, "--check"], { stdio: "pipe" }); // throws with the script's message
});
