/** @file What `train` is asked for, held against what can be, before anything is made of it. */
import { checkObject, checkSignal } from "../config/check-object.js";
import { configFromLayers } from "../config/index.js";
import { show } from "../config/layers.js";
import { UserError } from "../errors.js";
import type { TrainOptions } from "./train-options.js";

/** Each option by its name: what it must be, and whether a value that was given is so. */
const options: Readonly<
  Record<keyof TrainOptions, readonly [expected: string, is: (value: unknown) => boolean]>
> = {
  config: ["a configuration, as resolveConfig makes it", () => true], // checked by itself, setting by setting
  out: ["the path of the run's directory", (value) => typeof value === "string" && value !== ""],
  resume: ["true or false", isFlag],
  fallback: ["true or false", isFlag],
  profile: ["true or false", isFlag],
  signal: ["an AbortSignal", () => true], // by checkSignal
  threads: ["a number of threads", (value) => typeof value === "number"], // how many, the device says
  communicator: ["what joinRanks gives", hasFunction("allReduce")],
  device: ["the name of a device", (value) => typeof value === "string"], // which, createDevice says
  onEvent: ["a function", (value) => typeof value === "function"],
};
const REQUIRED: readonly string[] = ["config", "out"];

function isFlag(value: unknown): boolean {
  return typeof value === "boolean";
}

function hasFunction(name: string) {
  return (value: unknown): boolean =>
    typeof value === "object" &&
    value !== null &&
    typeof (value as Record<string, unknown>)[name] === "function";
}

/** @throws UserError for anything that `train` cannot be asked for */
export function checkTrainOptions(asked: TrainOptions): void {
  checkObject(
    "train",
    asked,
    Object.keys(options),
    '{ config: resolveConfig({ preset: "masked" }), out: "runs/mine" }',
  );
  for (const [name, [expected, is]] of Object.entries(options)) {
    const value = asked[name as keyof TrainOptions];
    if (value === undefined ? REQUIRED.includes(name) : !is(value))
      throw new UserError(
        `train: ${name}: expected ${expected}, got ${value === undefined ? "none" : show(value)}`,
      );
  }
  checkSignal(asked.signal);
  configFromLayers([{ name: "train: config", config: asked.config }]);
}
