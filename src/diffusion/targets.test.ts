import { expect, it } from "vitest";
import type { Row } from "../data/rows.js";
import { PADDING_SEGMENT, padRows } from "./padding.js";
import { forEachTarget, isTarget } from "./targets.js";

const row: Row = {
  sequence: 4,
  ids: Int32Array.of(1, 2, 3, 4, 5),
  given: Uint8Array.of(1, 0, 0, 0, 1),
  segment: Int32Array.of(0, 0, PADDING_SEGMENT, 1, 1),
  position: Int32Array.of(0, 1, 0, 0, 1),
  globals: Int32Array.of(),
};

it("a target is what is not given, in a document", () => {
  const flags = Array.from(row.given, (given, p) => isTarget(given, row.segment[p]));
  expect(flags).toEqual([false, true, false, true, false]);
});

it("targets of a batch are visited in order, with their places in it", () => {
  const rows = padRows([row, row], 6, 3);
  const data = Float32Array.from({ length: 18 }, (_, at) => Number(at === 3 || at === 7));
  const visited: unknown[] = [];
  forEachTarget({ rows, feeds: { absorbed: { dtype: "float32", shape: [3, 6], data } } }, (...place) =>
    visited.push(place),
  );
  expect(visited).toEqual([
    [0, 1, 1, false],
    [0, 3, 3, true],
    [1, 1, 7, true],
    [1, 3, 9, false],
  ]);
});
