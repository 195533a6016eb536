import { describe, expect, it } from "vitest";
import { rowShare } from "./row-share.js";

describe("the rows of a step", () => {
  it.each([
    { batchSize: 4, gradientAccumulation: 1, size: 1, expected: { batchSize: 4, batches: 1 } },
    { batchSize: 4, gradientAccumulation: 1, size: 4, expected: { batchSize: 1, batches: 1 } },
    { batchSize: 4, gradientAccumulation: 4, size: 2, expected: { batchSize: 4, batches: 2 } },
    { batchSize: 3, gradientAccumulation: 4, size: 6, expected: { batchSize: 2, batches: 1 } },
    { batchSize: 4, gradientAccumulation: 5, size: 2, expected: { batchSize: 2, batches: 5 } },
    { batchSize: 2, gradientAccumulation: 7, size: 2, expected: { batchSize: 1, batches: 7 } },
  ])("$batchSize x $gradientAccumulation over $size ranks: each once", ({ size, expected, ...config }) => {
    const shares = Array.from({ length: size }, (_, rank) => rowShare(config, { rank, size }));
    const taken = shares.flatMap(({ first, batchSize, batches }) =>
      Array.from({ length: batchSize * batches }, (_, i) => first + i),
    );
    expect(taken).toEqual(Array.from({ length: shares[0].rows }, (_, i) => i));
    for (const share of shares) expect(share).toMatchObject(expected);
  });

  it("must be shared evenly", () => {
    expect(() => rowShare({ batchSize: 4, gradientAccumulation: 2 }, { rank: 0, size: 3 })).toThrow(
      "Expected sequences that 3 ranks can share evenly, got 8 a step (training.batchSize 4 times training.gradientAccumulation 2): " +
        "make that a multiple of 3, or start another number of ranks.",
    );
  });
});
