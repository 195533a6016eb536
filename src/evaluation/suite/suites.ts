/** @file The suites: which pairs of which files, how long they are, and by what their texts are judged. docs/protocol.md describes them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Document, embeddedCorpus, readDocuments } from "../../data/index.js";
import { UserError } from "../../errors.js";
import { chrf, distinctN, editSimilarity, exactMatch, nltkSentenceBleu, rouge } from "../../metrics/index.js";
import type { Pair } from "../accuracy.js";
import { inSpreadOrder, takeInTurns } from "../spread.js";
import {
  type GroupedPair,
  givenPairs,
  linePairs,
  piecePairs,
  sentencePairs,
  titlePairs,
  turnPairs,
} from "./pairs.js";

export const suiteNames = ["addresses", "science", "code", "dialogue", "seq2seq"] as const;
export type SuiteName = (typeof suiteNames)[number];

/** Scores of one text, 0 to 1, higher is better. */
export const suiteMetrics = {
  bleu: nltkSentenceBleu,
  rougeL: (text: string, target: string) => rouge(text, target).rougeL.fmeasure,
  chrf: (text: string, target: string) => chrf(text, target) / 100,
  exactMatch: (text: string, target: string) => exactMatch(text.trim(), target.trim()),
  editSimilarity: (text: string, target: string) => editSimilarity(text, target),
  /** Of one text. Greater for shorter texts, so no ratio is made of it. */
  distinctWords: (text: string) => (text.trim() === "" ? 0 : distinctN([text], 1)),
} as const satisfies Record<string, (text: string, target: string) => number>;
export type SuiteMetric = keyof typeof suiteMetrics;

export interface SuiteTask {
  readonly name: string;
  readonly suite: SuiteName;
  readonly description: string;
  /** `<files>.train.jsonl` and `<files>.valid.jsonl` in the data folder, each perhaps with .gz; null: the embedded corpus. */
  readonly files: string | null;
  readonly pairs: (document: Document) => Iterable<Pair>;
  /** Tokens of a pair, [PAD] up to there included. */
  readonly length: number;
  /** Share of them that is left for the target to write, however long its source. */
  readonly targetShare: number;
  /** The target goes on where its source ends: of a source that is too long the end is shown. Default: its beginning. */
  readonly continues?: boolean;
  readonly metrics: readonly SuiteMetric[];
  /** Also: coherence with what was said, by the next-turn classifier. */
  readonly coherence?: boolean;
  /** Also: free texts, judged by repetition and distinct words. */
  readonly free?: boolean;
  /** Also: words missing in the middle of a target, written between what stands before and behind (`infill.ts`). */
  readonly infill?: boolean;
  /** Texts for every source, of which the one is taken that agrees most with the others (minimum Bayes risk). */
  readonly candidates: number;
}

const seq2seq = (name: string, length: number, targetShare: number): SuiteTask => ({
  name: `seq2seq.${name}`,
  suite: "seq2seq",
  description: name.replace("-", " "),
  files: `seq2seq.${name}`,
  pairs: givenPairs,
  length,
  targetShare,
  metrics: ["bleu", "rougeL", "chrf", "exactMatch", "distinctWords"],
  candidates: 3,
});

export const suiteTasks: readonly SuiteTask[] = [
  {
    name: "addresses",
    suite: "addresses",
    description: "the next sentence of a State of the Union address (embedded: needs no data)",
    files: null,
    pairs: sentencePairs,
    length: 128,
    targetShare: 0.375,
    continues: true,
    metrics: ["bleu", "rougeL", "chrf"],
    free: true,
    infill: true,
    candidates: 1,
  },
  {
    name: "science",
    suite: "science",
    description: "title to abstract, abstracts from nothing, gaps in abstracts",
    files: "science.abstracts",
    pairs: titlePairs,
    length: 384,
    targetShare: 0.5,
    metrics: ["bleu", "rougeL", "chrf", "distinctWords"],
    free: true,
    infill: true,
    candidates: 1,
  },
  {
    name: "code.pieces",
    suite: "code",
    description: "how TypeScript code goes on, gaps in it",
    files: "code.typescript",
    pairs: piecePairs,
    length: 192,
    targetShare: 0.5,
    continues: true,
    metrics: ["editSimilarity", "bleu"],
    infill: true,
    candidates: 1,
  },
  {
    name: "code.lines",
    suite: "code",
    description: "the line missing in TypeScript code",
    files: "code.typescript",
    pairs: linePairs,
    length: 160,
    targetShare: 0.2,
    metrics: ["exactMatch", "editSimilarity", "bleu"],
    candidates: 1,
  },
  {
    name: "dialogue",
    suite: "dialogue",
    description: "the next turn of a meeting",
    files: "dialogue.meetings",
    pairs: turnPairs,
    length: 160,
    targetShare: 0.35,
    continues: true,
    metrics: ["bleu", "rougeL", "chrf"],
    coherence: true,
    candidates: 1,
  },
  seq2seq("question-generation", 128, 0.25),
  seq2seq("sentence-splitting", 128, 0.5),
  seq2seq("summaries", 384, 0.25),
];

/** The tasks of a suite, or the one task of that name. @throws UserError for a name that is none */
export function tasksOf(name: string): SuiteTask[] {
  const found = suiteTasks.filter((task) => task.suite === name || task.name === name);
  if (found.length === 0) {
    const parts = suiteTasks.filter((task) => task.name !== task.suite).map((task) => task.name);
    throw new UserError(
      `There is no suite "${name}"; there are ${suiteNames.join(", ")}, and parts of them: ${parts.join(", ")}.`,
    );
  }
  return found;
}

export interface TaskPairs {
  readonly train: readonly GroupedPair[];
  /** Those to be judged, from all over what is held out. */
  readonly valid: readonly GroupedPair[];
  /** All that are held out, in the order of the file. */
  readonly heldOut: readonly GroupedPair[];
}

/**
 * The pairs of a task: the first ones to train on; of those held out one of each document, then a second of each, and so on, each from
 * another part of its document, and documents from all over the file, as those that stand together may be alike (questions about one
 * article, sentences in alphabetical order). Fewer of them are the beginning of more.
 * @param folder where the files lie; not needed for the embedded corpus
 * @param onBadRecord broken lines of the files: stop there (default), or skip them
 * @throws UserError when a file is missing, or gives no pair
 */
export async function readPairs(
  task: SuiteTask,
  folder: string | undefined,
  limits: { readonly train: number; readonly valid: number },
  onBadRecord: "stop" | "skip" = "stop",
): Promise<TaskPairs> {
  async function* read(part: Part): AsyncGenerator<GroupedPair[]> {
    const groups = new Map<string | number, number>();
    let documents = 0;
    for await (const document of documentsOf(task, folder, part, onBadRecord)) {
      const shared = document.src ?? documents++;
      const group = groups.get(shared) ?? groups.size;
      groups.set(shared, group);
      yield Array.from(task.pairs(document), (pair) => ({ ...pair, group }));
    }
  }
  const train: GroupedPair[] = [];
  for await (const pairs of read("train")) {
    train.push(...pairs.slice(0, limits.train - train.length));
    if (train.length === limits.train) break;
  }
  const held = new Map<number, GroupedPair[]>();
  for await (const pairs of read("valid")) {
    for (const pair of pairs) {
      const known = held.get(pair.group);
      if (known) known.push(pair);
      else held.set(pair.group, [pair]);
    }
  }
  const documents = inSpreadOrder([...held.values()]);
  const valid = takeInTurns(documents.map(inSpreadOrder), limits.valid);
  for (const [part, pairs] of Object.entries({ train, valid }))
    if (pairs.length === 0)
      throw new UserError(`${task.name}: the ${part} documents give no pair (${task.description}).`);
  return { train, valid, heldOut: [...held.values()].flat() };
}

type Part = "train" | "valid";

/** @throws UserError when a file of the tasks is missing: said at once, not after hours of what comes before */
export function requireFiles(tasks: readonly SuiteTask[], folder: string | undefined): void {
  for (const task of tasks)
    if (task.files !== null)
      for (const part of ["train", "valid"] as const) fileOf(task.name, task.files, folder, part);
}

function fileOf(name: string, files: string, folder: string | undefined, part: Part): string {
  const wanted = `${files}.${part}.jsonl`;
  if (folder === undefined)
    throw new UserError(`${name}: pass --data with a folder that holds ${wanted} (or ${wanted}.gz).`);
  const path = [wanted, `${wanted}.gz`].map((file) => join(folder, file)).find((file) => existsSync(file));
  if (path === undefined) throw new UserError(`${name}: expected ${wanted} or ${wanted}.gz in ${folder}.`);
  return path;
}

const documentsOf = (
  { name, files }: SuiteTask,
  folder: string | undefined,
  part: Part,
  onBadRecord: "stop" | "skip",
): Iterable<Document> | AsyncIterable<Document> =>
  files === null
    ? embeddedCorpus(part === "valid" ? "validation" : "train")
    : readDocuments([fileOf(name, files, folder, part)], { onBadRecord });
