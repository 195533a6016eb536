/** @file Reports: pure functions from plain data to one self-contained HTML file, SVG pictures and terminal text. */
export { attentionPicture } from "./charts/attention.js";
export { expertLoadSvg } from "./charts/expert-load.js";
export { type LineChart, lineChartSvg, type ReferenceLine, type Series } from "./charts/line-chart.js";
export { type SvgDocumentOptions, svgDocument } from "./charts/svg-document.js";
export type {
  AttentionHeads,
  AttentionPattern,
  Baseline,
  DenoisingStep,
  DenoisingToken,
  ExpertLoadSnapshot,
  GeneratedText,
  MetricsLine,
  Point,
  ReportData,
  RunFacts,
} from "./data.js";
export { settlingMapSvg } from "./denoising-film.js";
export {
  type FiguresData,
  type FiguresSection,
  type FiguresTable,
  figuresReport,
} from "./figures-report.js";
export { type DenoisingFrame, denoisingFrame, redrawFrame } from "./terminal/denoising-frame.js";
export { type SparklineOptions, sparkline } from "./terminal/sparkline.js";
export { printable } from "./terminal/terminal-text.js";
export { trainingReport } from "./training-report.js";
