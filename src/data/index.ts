/** @file The data room: documents from files, the tokenizer, tokenized corpora, and the packed rows that training sees. */
export {
  type CorpusCounts,
  TokenCorpus,
  type TokenDocument,
  type TokenizeOptions,
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
export type { TextGlobals } from "./packing.js";
export { type FillReport, packRows, type Row, type RowOptions, RowSource, type Shuffler } from "./rows.js";
export {
  type DecodeOptions,
  type SpecialIds,
  type StreamDecoder,
  Tokenizer,
  type TokenizerJson,
  type TrainOptions,
} from "./tokenizer.js";
