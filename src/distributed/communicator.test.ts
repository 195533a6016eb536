import { describe, expect, it } from "vitest";
import { allOrNone, alone, broadcastJson, type Communicator, sumOverRanks } from "./communicator.js";
import { inProcessRanks } from "./testing/in-process.js";

const groups: [string, Communicator[]][] = [
  ["alone", [alone]],
  ["two ranks", inProcessRanks(2)],
  ["five ranks", inProcessRanks(5)],
];

describe.each(groups)("%s", (_name, ranks) => {
  const size = ranks.length;

  it("sumOverRanks adds arrays of any kind, empty ones too, and leaves them as they are", async () => {
    const given = (rank: number) => ({
      a: [rank, 0.5],
      none: [],
      b: Float32Array.of(1, 2 ** rank, rank === 0 ? 1e300 : 0),
    });
    const all = await Promise.all(ranks.map((communicator, rank) => sumOverRanks(communicator, given(rank))));
    for (const { a, none, b } of all) {
      expect([...a]).toEqual([(size * (size - 1)) / 2, size / 2]);
      expect(none).toHaveLength(0);
      expect([...b]).toEqual([size, 2 ** size - 1, Number.POSITIVE_INFINITY]);
    }
  });

  it("allOrNone gives everybody the value of his own, or fails for all with what the first one says", async () => {
    const values = ranks.map((communicator, rank) => allOrNone(communicator, async () => rank));
    expect(await Promise.all(values)).toEqual(ranks.map((_, rank) => rank));
    for (const guilty of new Set([0, size - 1])) {
      const failures = ranks.map((communicator, rank) =>
        allOrNone(communicator, async () => {
          if (rank === guilty) throw new TypeError("no ä here");
          return rank;
        }).catch((error: unknown) => String(error)),
      );
      expect(await Promise.all(failures)).toEqual(
        ranks.map((_, rank) =>
          rank === guilty
            ? "TypeError: no ä here"
            : expect.stringMatching(new RegExp(`Error: rank ${guilty}: no ä here$`)),
        ),
      );
    }
  });

  it("broadcastJson gives everybody what rank 0 has", async () => {
    const value = { text: "ä".repeat(1000), list: [1, null, true], nothing: null };
    const all = await Promise.all(
      ranks.map((communicator, rank) => broadcastJson(communicator, rank === 0 ? value : null)),
    );
    for (const received of all) expect(received).toEqual(value);
  });
});
