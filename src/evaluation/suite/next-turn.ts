/**
 * @file A proxy for coherence: a small classifier that tells the turn that came next from turns of another moment of the talk
 * (which asks what is being said) and of another talk (which asks who speaks about what). Not a judgement of
 * people, and no better than its own accuracy on held-out talk, which is reported beside it.
 *
 *     P(next | talk) = sigmoid(sum of w over hashed features):   pairs (word of the last turns, word of the turn), (last speaker, speaker),
 *                                                               share of the turn's words that were said before, in ten steps
 *
 * Trained by AdaGrad on true pairs and as many wrong ones, of both kinds in turn. No random numbers.
 */
import { mean } from "../../metrics/bootstrap.js";
import type { Pair } from "../accuracy.js";
import type { GroupedPair } from "./pairs.js";

const TABLE = 2 ** 18;
const CONTEXT_WORDS = 40;
const TURN_WORDS = 30;
const RATE = 0.1;
const EPOCHS = 3;

/** FNV-1a, 32 bits, folded into the table. */
function slot(feature: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < feature.length; i++) hash = Math.imul(hash ^ feature.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % TABLE;
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
const speakerOf = (turn: string): string => /^([^:]{1,40}):/.exec(turn)?.[1] ?? "";

function featuresOf({ src, trg }: Pair): Set<number> {
  const context = wordsOf(src);
  const said = new Set(context);
  const turn = wordsOf(trg).slice(0, TURN_WORDS);
  const recent = new Set(context.slice(-CONTEXT_WORDS));
  const features = new Set<number>([slot("bias")]);
  for (const word of new Set(turn)) for (const before of recent) features.add(slot(`${before}>${word}`));
  features.add(slot(`speaker ${speakerOf(src.split("\n").at(-1) ?? "")}>${speakerOf(trg)}`));
  const repeated = turn.filter((word) => said.has(word)).length / Math.max(1, turn.length);
  features.add(slot(`said ${Math.round(10 * repeated)}`));
  return features;
}

export class NextTurnClassifier {
  /** What it is, in results that are kept: another classifier, another result. */
  static readonly kind = "pairs of words, speakers, repeated words, 1";

  private readonly weights = new Float32Array(TABLE);
  private readonly squares = new Float32Array(TABLE).fill(1e-6);

  private constructor() {}

  /** @param pairs grouped by talk */
  static train(pairs: readonly GroupedPair[]): NextTurnClassifier {
    const classifier = new NextTurnClassifier();
    const examples = pairs.map(featuresOf);
    const [near, far] = wrongKinds.map((kind) =>
      wrongTurns(pairs, kind).map((wrong) => wrong && featuresOf(wrong)),
    );
    for (let epoch = 0; epoch < EPOCHS; epoch++)
      for (const [i, features] of examples.entries()) {
        const wrong = (i + epoch) % 2 === 0 ? (near[i] ?? far[i]) : (far[i] ?? near[i]);
        if (!wrong) continue; // as many true ones as wrong ones
        classifier.learn(features, 1);
        classifier.learn(wrong, 0);
      }
    return classifier;
  }

  private learn(features: ReadonlySet<number>, label: number): void {
    const error = label - this.probability(features);
    const gradient = error / Math.sqrt(features.size);
    for (const f of features) {
      this.squares[f] += gradient * gradient;
      this.weights[f] += (RATE * gradient) / Math.sqrt(this.squares[f]);
    }
  }

  private probability(features: ReadonlySet<number>): number {
    let sum = 0;
    for (const f of features) sum += this.weights[f];
    return 1 / (1 + Math.exp(-sum / Math.sqrt(features.size)));
  }

  /** How likely the turn is to have come next, 0 to 1. */
  score(pair: Pair): number {
    return this.probability(featuresOf(pair));
  }

  /**
   * What wrong turns score among held-out pairs, and how often the true one scores above its wrong one (0.5: it knows nothing); null:
   * there are no wrong turns of this kind.
   */
  against(
    pairs: readonly GroupedPair[],
    kind: WrongKind,
  ): { readonly score: number; readonly accuracy: number } | null {
    const compared = wrongTurns(pairs, kind).flatMap((wrong, i) =>
      wrong ? [[this.score(pairs[i]), this.score(wrong)]] : [],
    );
    if (compared.length === 0) return null;
    return {
      score: mean(compared.map(([, other]) => other)),
      accuracy: mean(compared.map(([right, other]) => (right === other ? 0.5 : Number(right > other)))),
    };
  }
}

/** Where a wrong turn is from. */
export const wrongKinds = ["same talk", "other talk"] as const;
export type WrongKind = (typeof wrongKinds)[number];

/** Pairs between a talk and a wrong turn of the same one. */
const NEAR = 5;

/** Every talk with a turn from further on in it, or from another one; null: there is none. @param pairs those of a talk together, in its order */
export const wrongTurns = (pairs: readonly GroupedPair[], kind: WrongKind): (Pair | null)[] =>
  (kind === "same talk" ? furtherOn(pairs) : elsewhere(pairs)).map((other, i) =>
    other === null ? null : { src: pairs[i].src, trg: pairs[other].trg },
  );

/** For each pair the one `NEAR` pairs further on in its talk, at its end from its beginning; null: it is alone. */
function furtherOn(pairs: readonly GroupedPair[]): (number | null)[] {
  const talks = new Map<number, number[]>();
  const places = pairs.map(({ group }, i) => {
    const own = talks.get(group) ?? [];
    talks.set(group, own);
    return own.push(i) - 1;
  });
  return pairs.map(({ group }, i) => {
    const own = talks.get(group)!;
    const shift = Math.min(NEAR, own.length >> 1);
    return shift === 0 ? null : own[(places[i] + shift) % own.length];
  });
}

/** For each pair the first one of another talk from half of the list further on; null: there is one talk only. */
function elsewhere(pairs: readonly GroupedPair[]): (number | null)[] {
  const count = pairs.length;
  if (new Set(pairs.map(({ group }) => group)).size < 2) return pairs.map(() => null);
  // Where the next talk begins behind each place, the list taken twice.
  const next = new Array<number>(2 * count).fill(2 * count);
  for (let i = 2 * count - 2; i >= 0; i--)
    next[i] = pairs[i % count].group === pairs[(i + 1) % count].group ? next[i + 1] : i + 1;
  return pairs.map(({ group }, i) => {
    const start = (i + (count >> 1)) % count;
    return pairs[start].group !== group ? start : next[start] % count;
  });
}
