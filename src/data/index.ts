/** @file The data room: documents from files, the tokenizer, tokenized corpora and caches, and the packed rows that training sees. */
export { readTextFile } from "./bytes.js";
export { CacheCorpus, checkTokenizer, type OpenedCaches, openCaches } from "./cache/cache-corpus.js";
export { isTokenCache, type PartName } from "./cache/manifest.js";
export {
  type PartSummary,
  type PrepareOptions,
  type PrepareProgress,
  type PrepareSummary,
  prepareCache,
} from "./cache/prepare.js";
export {
  type Corpus,
  type CorpusCounts,
  type Ids,
  TokenCorpus,
  type TokenDocument,
  tokenizeDocuments,
} from "./corpus.js";
export {
  type Document,
  DocumentReader,
  type ReadCounts,
  type ReadOptions,
  readDocuments,
} from "./documents.js";
export { embeddedCorpus } from "./embedded.js";
export { refuseInside } from "./folders.js";
export type { GapOptions } from "./gaps.js";
export type { LayoutOptions } from "./layout.js";
export type { TextGlobals } from "./packing.js";
export { packRows, type Row, type RowOptions, RowSource, type Shuffler } from "./rows.js";
export { CorpusPart, heldOutDocuments, isAmong } from "./split.js";
export { modifiedAt, type TextRecord } from "./text-record.js";
export {
  type DecodeOptions,
  type SpecialIds,
  type StreamDecoder,
  Tokenizer,
  type TokenizerJson,
  type TrainOptions,
} from "./tokenizer.js";
export { takeTurns } from "./turns.js";
