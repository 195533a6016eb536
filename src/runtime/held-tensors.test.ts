import { expect, it } from "vitest";
import { add, constant, expand, gather, input, mul, reduceSum } from "../graph/index.js";
import { expectClose, float32, int64, numbersOf, onEveryDevice } from "./testing/devices.js";

const xs = [0.5, -1, 2, 1, 0, -0.25];
const x = float32([2, 3], xs);

onEveryDevice((device) => {
  it("leave held tensors on the device and take them from there", async () => {
    const first = input("x", "float32", [2, 3]);
    const writer = await device().compile({
      name: "writer",
      outputs: { sum: reduceSum(first, [0, 1]), "held:a": mul(first, 2), "held:b": add(first, 1) },
    });
    const [a, b] = ["held:a", "held:b"].map((name) => input(name, "float32", [2, 3]));
    const reader = await device().compile({ name: "reader", outputs: { y: add(a, mul(b, first)) } });
    const [held, others] = [await device().createHeld(), await device().createHeld()];
    const expected = xs.map((v) => 2 * v + (v + 1) * v);
    for (let run = 0; run < 2; run++) {
      expect(Object.keys(await writer.run({ x }, { held }))).toEqual(["sum"]);
      await writer.run({ x: float32([2, 3], [9, 9, 9, 9, 9, 9]) }, { held: others });
      for (let again = 0; again < 2; again++)
        expectClose(numbersOf((await reader.run({ x }, { held })).y), expected);
    }
    await expect(reader.run({ x })).rejects.toThrow("expected a place for its 2 held tensors, got none");
    const empty = await device().createHeld();
    await expect(reader.run({ x }, { held: empty })).rejects.toThrow(
      'input "held:a": expected a held float32[2, 3], got none by that name; run the program that leaves it first',
    );
    await Promise.all([held.dispose(), others.dispose(), empty.dispose()]);
    await expect(reader.run({ x }, { held })).rejects.toThrow("disposed");
    await held.dispose();
  });

  it("take feeds as they are when the run is asked for, and held tensors as the runs before leave them", async () => {
    const value = input("x", "float32", [1]);
    const writer = await device().compile({ name: "writer", outputs: { "held:a": mul(value, 1) } });
    const sum = add(input("held:a", "float32", [1]), value);
    const reader = await device().compile({ name: "reader", outputs: { sum } });
    const held = await device().createHeld();
    const feed = float32([1], [0]);
    const runs = [1, 10].flatMap((x) => {
      feed.data.fill(x as never);
      const written = writer.run({ x: feed }, { held });
      feed.data.fill((x + 1) as never);
      return [written, reader.run({ x: feed }, { held })];
    });
    feed.data.fill(99 as never);
    const gone = held.dispose();
    const [, first, , second] = await Promise.all(runs);
    expect([...numbersOf(first.sum), ...numbersOf(second.sum)]).toEqual([3, 21]);
    await gone;
  });

  it("keep what was there when a run fails", async ({ skip }) => {
    skip(device().kind === "webgpu", "nothing checks the indices there, so no run fails");
    const ids = input("ids", "int64", [2]);
    const rows = gather(constant([1, 2, 3], [3, 1]), ids);
    const wide = expand(rows, [2, 4]);
    const writer = await device().compile({ name: "writer", outputs: { "held:a": rows } });
    const other = await device().compile({ name: "other", outputs: { "held:a": wide } });
    const a = input("held:a", "float32", [2, 1]);
    const reader = await device().compile({ name: "reader", outputs: { twice: mul(a, 2) } });
    const held = await device().createHeld();
    const [good, bad] = [
      [0, 2],
      [0, 7],
    ].map((at) => ({ ids: int64([2], at) }));
    const fail = async () => {
      const runs = [other.run(bad, { held }), other.run(bad, { held })];
      for (const { status } of await Promise.allSettled(runs)) expect(status).toBe("rejected");
    };
    await fail();
    await expect(reader.run({}, { held })).rejects.toThrow(
      "expected a held float32[2, 1], got none by that name",
    );
    await writer.run(good, { held });
    await fail();
    expect(numbersOf((await reader.run({}, { held })).twice)).toEqual([2, 6]);
    await held.dispose();
  });

  it("exchange rows of held tensors", async () => {
    const all = await device().compile({
      name: "all",
      outputs: { "held:a": mul(input("x", "float32", [2, 3]), 1) },
    });
    const rows = input("rows", "float32", [3, 3]);
    const a = input("held:a", "float32", [2, 3]);
    const some = await device().compile({
      name: "some",
      outputs: { before: mul(a, 1), "held-rows:a": mul(rows, 10) },
    });
    const feeds = { rows: float32([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]) };
    const held = await device().createHeld();
    await expect(some.run(feeds, { held, heldRows: Int32Array.of(1, -1, -1) })).rejects.toThrow(
      "none by that name",
    );
    await all.run({ x }, { held });
    const run = async (...heldRows: number[]) =>
      numbersOf((await some.run(feeds, { held, heldRows: Int32Array.from(heldRows) })).before);
    expectClose(await run(-1, 1, -1), xs);
    const exchanged = [...xs.slice(0, 3), 40, 50, 60];
    expectClose(await run(-1, -1, 0), exchanged);
    expectClose(await run(-1, -1, -1), [70, 80, 90, 40, 50, 60]);
    await expect(some.run(feeds, { held })).rejects.toThrow("expected heldRows for its 3 rows, got none");
    await expect(run(0, 2, -1)).rejects.toThrow("expected heldRows from -1 to 1, got 2");
    await held.dispose();
  });
});
