/** @file Suites: twins of one model, trained for the same budget and judged on the same texts. */
export { formatGap, formatRatio, formatSuite } from "./format.js";
export { NextTurnClassifier } from "./next-turn.js";
export {
  runSuite,
  type SuiteBudget,
  type SuiteOptions,
  type SuiteReport,
  type TaskReport,
  type TwinRun,
} from "./run-suite.js";
export { quickOptions, quickSettings, suiteSettings } from "./settings.js";
export { type SuiteName, type SuiteTask, suiteMetrics, suiteNames, suiteTasks, tasksOf } from "./suites.js";
export type { RatioInterval, TaskSummary, TwinSummary } from "./summary.js";
export { learningParameters, type TwinName, twin, twinDefinitions, twinNames, twins } from "./twins.js";
