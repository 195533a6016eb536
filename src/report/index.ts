/** @file Reports: pure functions from plain data to one self-contained HTML file, SVG pictures and terminal text. */
export { attentionPicture } from "./charts/attention.js";
export { type LineChart, lineChartSvg, type Series } from "./charts/line-chart.js";
export { svgDocument } from "./charts/svg-document.js";
export type {
  AttentionHeads,
  AttentionPattern,
  DenoisingStep,
  DenoisingToken,
  ReportData,
} from "./data.js";
export { type FiguresSection, figuresReport } from "./figures-report.js";
export { denoisingFrame, redrawFrame } from "./terminal/denoising-frame.js";
export { printable } from "./terminal/terminal-text.js";
export { trainingReport } from "./training-report.js";
