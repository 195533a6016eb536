/** @file Suites: twins of one model, trained for the same budget and judged on the same texts. */
export { formatGaps, formatSuite } from "./format.js";
export {
  checkGeneration,
  runSuite,
  type SuiteOptions,
  type SuiteReport,
  type TaskReport,
  trainSuite,
} from "./run-suite.js";
export { ownedSettings, quickOptions, quickSettings, suiteSettings } from "./settings.js";
export { requireFiles, type SuiteTask, tasksOf } from "./suites.js";
export { LEAST_SCORE, type RatioInterval } from "./summary.js";
export type { TwinRun } from "./twin-run.js";
export { type TwinName, twinNames, twins } from "./twins.js";
