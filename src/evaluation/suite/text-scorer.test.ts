/** @file The scorer of texts: its perplexity beside the n-gram model's own, its likeness on sets that are plainly alike or not. */
import { beforeAll, describe, expect, it } from "vitest";
import { embeddedCorpus, TokenCorpus, Tokenizer } from "../../data/index.js";
import { NgramModel } from "../ngram.js";
import { seededRandom } from "../statistics.js";
import { LatentSemantics } from "./latent-semantics.js";
import { sentencePairs } from "./pairs.js";
import { TextScorer } from "./text-scorer.js";

describe("TextScorer", () => {
  let codec: Tokenizer;
  let targets: string[];
  let heldOut: string[];
  let scorer: TextScorer;
  beforeAll(async () => {
    const sentences = Array.from(embeddedCorpus("train"))
      .slice(0, 20)
      .flatMap((document) => Array.from(sentencePairs(document), ({ trg }) => trg));
    [targets, heldOut] = [0, 1].map((part) => sentences.filter((_, i) => Number(i % 10 === 9) === part));
    codec = await Tokenizer.train(targets, { vocabSize: 600 });
    scorer = TextScorer.train(targets, codec);
  });
  const shuffled = (text: string) => text.split(" ").toReversed().join(" ");

  it("has the perplexity of the trigram model of its targets", () => {
    const corpusOf = (texts: readonly string[]) => {
      const corpus = new TokenCorpus(codec.vocabSize);
      for (const text of texts) corpus.append(codec.encode(text));
      return corpus;
    };
    const model = NgramModel.train(corpusOf(targets), {
      vocabSize: codec.vocabSize,
      start: codec.special.sep,
    });
    const { trigram } = model.evaluate(corpusOf(heldOut));
    expect(scorer.perplexity(heldOut)).toBeCloseTo(Math.exp(trigram.natsPerToken), 9);
    expect(scorer.perplexity(["", ""])).toBeNull();
  });

  it("finds real text likelier than the same words backwards, and what it has learned from likelier still", () => {
    const [learned, real, backwards] = [targets.slice(0, heldOut.length), heldOut, heldOut.map(shuffled)].map(
      (texts) => scorer.perplexity(texts)!,
    );
    expect(learned).toBeLessThan(real);
    expect(real).toBeLessThan(backwards);
  });

  it("finds other real texts nearer to real ones than texts of one word, and a set like itself", () => {
    const real = heldOut.slice(0, 60);
    const scale = scorer.scale(targets, real);
    const dull = scorer.score(
      real.map(() => "the the the"),
      real,
    );
    expect(scorer.score(real, real).likeness).toBeCloseTo(1, 9);
    const { sets, median, low, high } = scale.real.likeness;
    expect(sets).toBe(40);
    expect([low > 0.1, low < median, median < high, high <= 1]).toEqual([true, true, true, true]);
    expect(median).toBeGreaterThan(0.3);
    expect(dull.likeness).toBeLessThan(low);
    expect(scale.real.perplexity).toBe(scorer.perplexity(real));
    expect(scorer.scale(targets, real)).toEqual(scale);
    expect(scorer.score(["", ""], real.slice(0, 2))).toMatchObject({ perplexity: null, empty: 2 });
    expect(scorer.score([real[0], ""], real.slice(0, 2)).empty).toBe(1);
  });

  it("finds longer texts of words by chance farther from real ones than other real texts are", () => {
    const paragraphs = embeddedCorpus("train")
      .slice(0, 60)
      .flatMap(({ text = "" }) => text.match(/.{1,1000}/gs) ?? []);
    const [learned, real] = [0, 1].map((part) => paragraphs.filter((_, i) => Number(i % 20 === 9) === part));
    const own = TextScorer.train(learned, codec);
    const words = real.flatMap((text) => text.split(" "));
    const random = seededRandom(2);
    const byChance = real.map((text) =>
      text
        .split(" ")
        .map(() => words[Math.floor(random() * words.length)])
        .join(" "),
    );
    const scale = own.scale(learned, real);
    expect(scale.real.likeness.median).toBeGreaterThan(0.8);
    expect(own.score(byChance, real).likeness).toBeLessThan(0.75 * scale.real.likeness.low);
  });
});

describe("LatentSemantics", () => {
  it("finds the singular vectors of texts that fall into two subjects", () => {
    // Tokens 0 to 3 are of one subject, 4 to 7 of the other, which half as many texts have.
    const texts = [
      [0, 1, 2],
      [1, 2, 3],
      [0, 2, 3],
      [0, 1, 3],
      [4, 5, 6],
      [5, 6, 7],
    ];
    const semantics = LatentSemantics.train(texts, 8);
    const own = texts.map((ids) => semantics.vector(ids));
    const cosine = (a: number[], b: number[]) =>
      a.reduce((sum, value, i) => sum + value * b[i], 0) / (Math.hypot(...a) * Math.hypot(...b));
    // All 8 directions are kept of a vocabulary of 8: lengths and angles are those of the weights themselves.
    for (const vector of own) expect(Math.hypot(...vector)).toBeCloseTo(1, 9);
    expect(cosine(own[0], own[4])).toBeCloseTo(0, 9);
    expect(cosine(own[0], own[1])).toBeCloseTo(2 / 3, 9);
    // The first direction is that of the larger subject alone.
    expect(own.map(([first]) => Math.abs(first) > 0.5)).toEqual([true, true, true, true, false, false]);
    expect(semantics.vector([]).every((value) => value === 0)).toBe(true);
  });
});
