import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSchedule, MIN_ALPHA_BAR, type ScheduleName } from "./schedule.js";

const names: ScheduleName[] = ["sqrt", "cosine", "linear"];
const time = fc.double({ min: 0, max: 1, noNaN: true });

describe("closed forms", () => {
  it("sqrt", () => {
    const schedule = createSchedule("sqrt");
    expect(schedule.alphaBar(0)).toBeCloseTo(0.99, 15);
    expect(schedule.alphaBar(0.2499)).toBeCloseTo(0.5, 15);
    expect(schedule.deviation(0)).toBeCloseTo(0.1, 14);
    expect(schedule.alphaBar(1)).toBe(MIN_ALPHA_BAR);
    expect(schedule.keep(0.25)).toBe(0.5);
  });
  it("cosine", () => {
    const schedule = createSchedule("cosine");
    const f = (t: number) => Math.cos(((t + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    expect(schedule.alphaBar(0)).toBe(1);
    expect(schedule.alphaBar(0.5)).toBeCloseTo(f(0.5) / f(0), 14);
    expect(schedule.alphaBar(1)).toBe(MIN_ALPHA_BAR);
  });
  it("linear", () => {
    const schedule = createSchedule("linear");
    expect(schedule.alphaBar(0.3)).toBeCloseTo(0.7, 15);
    expect(schedule.alphaBar(1)).toBe(MIN_ALPHA_BAR);
    expect(schedule.logSnr(0.5)).toBe(0);
    expect(schedule.logSnr(0)).toBe(Infinity);
  });
});

describe.each(names)("%s", (name) => {
  const schedule = createSchedule(name);

  it("never rises and stays in [1e-4, 1]", () => {
    fc.assert(
      fc.property(time, time, (a, b) => {
        const [s, t] = a < b ? [a, b] : [b, a];
        expect(schedule.alphaBar(t)).toBeLessThanOrEqual(schedule.alphaBar(s));
        expect(schedule.alphaBar(t)).toBeGreaterThanOrEqual(MIN_ALPHA_BAR);
        expect(schedule.alphaBar(s)).toBeLessThanOrEqual(1);
        expect(schedule.keep(t)).toBeLessThanOrEqual(schedule.keep(s));
        expect(schedule.signal(t) ** 2 + schedule.deviation(t) ** 2).toBeCloseTo(1, 14);
      }),
    );
  });

  it("timeOf is the inverse of alphaBar", () => {
    for (const t of [0, 0.001, 0.25, 0.5, 0.9, 0.99]) {
      expect(schedule.timeOf(schedule.alphaBar(t))).toBeCloseTo(t, 10);
    }
    expect(schedule.timeOf(0)).toBeGreaterThan(0.999);
    expect(schedule.timeOf(1)).toBe(0);
  });

  it("keep has exact ends and the slope it says", () => {
    expect(schedule.keep(0)).toBe(1);
    expect(schedule.keep(1)).toBe(0);
    const h = 1e-6;
    for (const t of [0.05, 0.3, 0.77, 0.95]) {
      const slope = (schedule.keep(t + h) - schedule.keep(t - h)) / (2 * h);
      expect(schedule.keepSlope(t)).toBeCloseTo(slope, 7);
    }
  });

  it("refuses times outside [0, 1]", () => {
    for (const t of [-0.1, 1.1, Number.NaN]) expect(() => schedule.alphaBar(t)).toThrow("[0, 1]");
  });
});

it("names the schedules there are", () => {
  expect(() => createSchedule("quadratic" as ScheduleName)).toThrow("sqrt, cosine or linear");
});
