import { expect, it } from "vitest";
import { UserError } from "../config/index.js";
import { resolveConfig } from "../config/resolve.js";
import { alone } from "../distributed/index.js";
import { checkTrainOptions } from "./check-options.js";
import type { TrainOptions } from "./train-options.js";

const config = resolveConfig({ preset: "masked" });
const whole: TrainOptions = {
  config,
  out: "runs/mine",
  resume: false,
  fallback: undefined,
  signal: new AbortController().signal,
  profile: true,
  threads: 1,
  communicator: alone,
  device: "cpu",
  onEvent: () => {},
};

it("takes what a run can be asked for", () => {
  checkTrainOptions(whole);
  checkTrainOptions({ config, out: "runs/mine" });
});

it.each<[string, unknown, string]>([
  ["nothing", undefined, "train: expected an object such as { config:"],
  [
    "no configuration",
    { out: "a" },
    "train: config: expected a configuration, as resolveConfig makes it, got none",
  ],
  ["no folder", { config }, "train: out: expected the path of the run's directory, got none"],
  ["an empty path", { config, out: "" }, 'out: expected the path of the run\'s directory, got ""'],
  [
    "settings that there are not",
    { config: { ...config, model: { layers: 2 } }, out: "a" },
    'unknown key "model.layers"',
  ],
  ["a word for a flag", { ...whole, resume: "yes" }, 'train: resume: expected true or false, got "yes"'],
  ["a controller", { ...whole, signal: new AbortController() }, "pass controller.signal"],
  ["a word for a function", { ...whole, onEvent: "x" }, 'train: onEvent: expected a function, got "x"'],
  ["no communicator", { ...whole, communicator: null }, "train: communicator: expected what joinRanks gives"],
  ["a number for a device", { ...whole, device: 5 }, "train: device: expected the name of a device, got 5"],
  ["another key", { ...whole, onEvents: () => {} }, 'train: unknown key "onEvents"; did you mean "onEvent"?'],
])("refuses %s", (_, asked, message) => {
  const check = () => checkTrainOptions(asked as TrainOptions);
  expect(check).toThrow(UserError);
  expect(check).toThrow(message);
});
