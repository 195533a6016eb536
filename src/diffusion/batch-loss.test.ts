import { expect, it } from "vitest";
import type { TensorData } from "../graph/index.js";
import { lossOfRows } from "./batch-loss.js";

const float32 = (shape: number[], ...values: number[]): TensorData => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});
const experts = { balanceLossWeight: 0.5, zLossWeight: 0.25 };

it("two texts in a batch of two, and filled up to a batch of four, have one loss", () => {
  /** Rows' balance 2 and 4, z 8 and 16; ce 1. */
  const outputs = (rows: number) => ({
    ce: float32([], 1),
    balance: float32([], (2 + 4) / rows),
    z: float32([], (8 + 16) / rows),
    loss: float32([], 1 + (0.5 * 6) / rows + (0.25 * 24) / rows),
    nll: float32([rows, 1], ...new Array<number>(rows).fill(0)),
  });
  const expected = { loss: 1 + 0.5 * 3 + 0.25 * 12, terms: { ce: 1, balance: 3, z: 12 } };
  for (const rows of [2, 4]) expect(lossOfRows({ experts } as never, outputs(rows), 2)).toEqual(expected);
});
