/**
 * @file The metrics room: scores of texts against references and against each other, as plain numbers. BLEU and chrF by sacrebleu's
 * convention go from 0 to 100, everything else from 0 to 1. Needs nothing else of this package and runs in a browser.
 *
 *     import { corpusBleu, rouge } from "moe-diffuseq/metrics";
 *     corpusBleu(["the cat sat"], ["the cat sat down"]);
 */
export { UserError } from "../errors.js";
export { type BleuOptions, type BleuReport, bleuReport, corpusBleu, sentenceBleu } from "./bleu.js";
export {
  type BootstrapOptions,
  bootstrapInterval,
  bootstrapRuns,
  type Interval,
  type PairedDifference,
  pairedBootstrap,
  type Random,
  type RunScores,
} from "./bootstrap.js";
export { type ChrfOptions, chrf, corpusChrf } from "./chrf.js";
export { dist1, distinctN, div4, type SelfBleuOptions, selfBleu } from "./diversity.js";
export { type EditOptions, editSimilarity } from "./edit-similarity.js";
export { exactMatch, exactTokens, type MatchOptions, normaliseSquad, tokenF1 } from "./exact.js";
export { type FrontierOptions, frontierArea, type MauveOptions, mauve, type TextVector } from "./mauve.js";
export { type MbrChoice, mbrSelect } from "./minimum-bayes-risk.js";
export { nltkSentenceBleu } from "./nltk-bleu.js";
export { repetition, windowRepetition } from "./repetition.js";
export { type PrecisionRecall, type RougeOptions, type RougeScores, rouge, rougeTokens } from "./rouge.js";
export { type References, type Text, type Token, words } from "./text.js";
export { tokenize13a } from "./tokenize-13a.js";
