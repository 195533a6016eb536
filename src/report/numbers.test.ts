import { expect, it } from "vitest";
import { count, decimal, duration, exact, percent } from "./numbers.js";

it("prints numbers as people read them", () => {
  expect([0, 950, 12_345, 4_567_890, 1.2e9, Number.NaN, null].map(count)).toEqual([
    "0",
    "950",
    "12.3k",
    "4.57M",
    "1.2B",
    "–",
    "–",
  ]);
  expect([0, 0.00023, 0.0123, 0.1234, 6.4159, 1234.5, 2e7, Number.POSITIVE_INFINITY].map(decimal)).toEqual([
    "0",
    "2.3e-4",
    "0.012",
    "0.123",
    "6.42",
    "1,235",
    "2.0e7",
    "–",
  ]);
  expect(exact(1_234_567)).toBe("1,234,567");
  expect([0, 0.004, 0.0999, 0.37, 1].map(percent)).toEqual(["0 %", "0.4 %", "10 %", "37 %", "100 %"]);
  expect([0.75, 1, 2.0833, 59.999, 60, 119.7, 187].map(duration)).toEqual([
    "45 s",
    "1 min",
    "2 min 5 s",
    "1 h",
    "1 h",
    "2 h",
    "3 h 7 min",
  ]);
});
