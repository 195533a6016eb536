/**
 * @file Synthetic tasks that tell whether a condition is obeyed: the target is the source itself, or the source backwards. The sources
 * are random words, so nothing but the source helps.
 *
 *     await writeFile("copy.train.jsonl", taskLines(copyTask({ documents: 20_000 })));
 *     await writeFile("copy.valid.jsonl", taskLines(copyTask({ documents: 200, first: 1_000_000 })));
 *
 * Words are one consonant and one vowel with a space before them, and a byte-level vocabulary of `taskVocabSize()` tokens trained on
 * the pairs has one token for each: a source of 64 words is 64 tokens, a pair 132 with [CLS] and three [SEP].
 */
import { UserError } from "../errors.js";
import { CounterRandom, Stream } from "../random/index.js";

export interface TaskOptions {
  /** How many pairs. */
  readonly documents: number;
  /** Words of a source, at most 2^24. Default 64. */
  readonly words?: number;
  /** Different words there are, at most 105. Default 64. */
  readonly vocabulary?: number;
  /** Default 1. Copy and reverse tasks of one seed have the same sources. */
  readonly seed?: number;
  /** Number of the first pair, in [0, 2^32): pairs of other numbers are other draws. Default 0. */
  readonly first?: number;
}

/** One pair, as data files hold it. */
export interface TaskDocument {
  readonly src: string;
  readonly trg: string;
}

/** A pair is one line, and so one string. */
const MOST_WORDS = 2 ** 24;
const CONSONANTS = [..."bcdfghjklmnpqrstvwxyz"];
const VOWELS = [..."aeiou"];
const WORDS = CONSONANTS.flatMap((consonant) => VOWELS.map((vowel) => consonant + vowel));

/** model.vocabSize for a task of so many different words: bytes and special tokens, a merge for each first letter, one for each word. */
export const taskVocabSize = (vocabulary = 64): number =>
  259 + Math.ceil(vocabulary / VOWELS.length) + vocabulary;

/** Targets by the names of the tasks, as the command line has them. */
const targets = {
  copy: (words: readonly string[]) => [...words],
  reverse: (words: readonly string[]) => words.toReversed(),
} as const satisfies Record<string, (words: readonly string[]) => string[]>;
export type TaskName = keyof typeof targets;

/**
 * The pairs of a task, drawn when they are asked for and not kept: there may be more than fit in memory.
 * @throws UserError for what it cannot make, before the first pair
 */
export function taskDocuments(task: TaskName, options: TaskOptions): Iterable<TaskDocument> {
  const { documents, words = 64, vocabulary = 64, seed = 1, first = 0 } = options;
  for (const [name, value, most] of [
    ["documents", documents, 2 ** 31],
    ["words", words, MOST_WORDS],
    ["vocabulary", vocabulary, WORDS.length],
  ] as const)
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw new UserError(`${name}: expected an integer from 1 to ${most}, got ${value}`);
  if (!Number.isInteger(first) || first < 0 || first + documents > 2 ** 32)
    throw new UserError(
      `first: expected an integer from 0 to ${2 ** 32 - documents} (2^32 less the documents), got ${first}`,
    );
  return drawn(new CounterRandom(seed), { documents, words, vocabulary, first }, targets[task]);
}

function* drawn(
  random: CounterRandom,
  { documents, words, vocabulary, first }: Required<Omit<TaskOptions, "seed">>,
  targetOf: (words: readonly string[]) => string[],
): Generator<TaskDocument> {
  const text = (list: readonly string[]) => list.map((word) => ` ${word}`).join("");
  for (let number = first; number < first + documents; number++) {
    const source = Array.from(
      { length: words },
      (_, position) => WORDS[Math.floor(random.uniform(Stream.Synthetic, number, 0, position) * vocabulary)],
    );
    yield { src: text(source), trg: text(targetOf(source)) };
  }
}

/** Pairs whose target is the source. */
export const copyTask = (options: TaskOptions): TaskDocument[] => [...taskDocuments("copy", options)];

/** Pairs whose target is the source with its words in reverse order. */
export const reverseTask = (options: TaskOptions): TaskDocument[] => [...taskDocuments("reverse", options)];

const PIECE = 1 << 18; // characters

/** As JSON Lines in UTF-8, which `--data` reads: in pieces, as one text of them all may be longer than a string can be. */
export function* taskLines(documents: Iterable<TaskDocument>): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let lines = "";
  for (const document of documents) {
    lines += `${JSON.stringify(document)}\n`;
    if (lines.length < PIECE) continue;
    yield encoder.encode(lines);
    lines = "";
  }
  if (lines !== "") yield encoder.encode(lines);
}
