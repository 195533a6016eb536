/** @file Suites: twins of one model, trained for the same budget and judged on the same texts. */
export { formatGaps, formatRatio, formatSuite } from "./format.js";
export { NextTurnClassifier } from "./next-turn.js";
export {
  runSuite,
  type SuiteOptions,
  type SuiteReport,
  type TaskReport,
} from "./run-suite.js";
export { ownedSettings, quickOptions, quickSettings, suiteSettings } from "./settings.js";
export {
  requireFiles,
  type SuiteName,
  type SuiteTask,
  suiteMetrics,
  suiteNames,
  suiteTasks,
  tasksOf,
} from "./suites.js";
export type { RatioInterval, TaskSummary, TwinSummary } from "./summary.js";
export type { SuiteBudget, TwinRun } from "./twin-run.js";
export { learningParameters, type TwinName, twin, twinDefinitions, twinNames, twins } from "./twins.js";
