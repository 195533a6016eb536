import { Command } from "commander";
import { expect, it } from "vitest";
import { commandLine } from "./command-line.js";
import { addOptions } from "./options.js";

const made = () =>
  addOptions(
    new Command("claims")
      .option("--quick")
      .option("--twins <name,...>", "", (text) => text.split(","), ["a", "b"])
      .option("--python <path>")
      .option("--no-baselines"),
    ["set", "data", "out", "threads", "json"],
  );

it("is what was given, as a shell reads it", async () => {
  const line = [
    ...["--quick", "--set", "model.attention.dilation=[1, 2]", "--set", "model.numLayers=2"],
    ...["--data", "my texts", "more", "--python", "it's", "--out", "runs/x", "--no-baselines"],
  ];
  const first = made();
  first.parse(line, { from: "user" });
  const again = commandLine(first, first.opts());
  expect(again).toBe(
    "npx moe-diffuseq claims --quick --twins a,b --python 'it'\\''s' --no-baselines " +
      "--set 'model.attention.dilation=[1, 2]' --set model.numLayers=2 --data 'my texts' --data more --out runs/x",
  );
  expect(
    commandLine(first, first.opts(), {
      without: new Set(["out", "set", "data"]),
      words: { python: "PYTHON" },
    }),
  ).toBe("npx moe-diffuseq claims --quick --twins a,b --python PYTHON --no-baselines");
});
