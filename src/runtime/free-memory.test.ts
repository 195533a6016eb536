import { totalmem } from "node:os";
import { expect, it, vi } from "vitest";
import { freeMemory, wholeMemory } from "./free-memory.js";

it("is what a container leaves", () => {
  expect(freeMemory()).toBeGreaterThan(0);
  expect(freeMemory()).toBeLessThanOrEqual(totalmem());
  const limit = vi.spyOn(process, "constrainedMemory");
  for (const [said, whole] of [
    [1e6, 1e6],
    [0, totalmem()],
    [2 ** 63, totalmem()],
  ]) {
    limit.mockReturnValue(said);
    expect(wholeMemory()).toBe(whole);
  }
  limit.mockRestore();
});
