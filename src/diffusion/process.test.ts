import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { CounterRandom, Stream } from "../random/index.js";
import { DiffusionProcess, diffuse, noiseFromX0, type ProcessOptions, x0FromNoise } from "./process.js";

const variants: ProcessOptions[] = [
  { schedule: "sqrt", absorbRate: 0, gaussian: true, noiseScale: 1 },
  { schedule: "sqrt", absorbRate: 0.5, gaussian: true, noiseScale: 3 },
  { schedule: "sqrt", absorbRate: 0.5, gaussian: true, noiseScale: 3, startDeviation: 0 },
  { schedule: "cosine", absorbRate: 1, gaussian: true, noiseScale: 2 },
  { schedule: "linear", absorbRate: 0.3, gaussian: true, noiseScale: 0.5 },
];
const masked = new DiffusionProcess({ schedule: "linear", absorbRate: 1, gaussian: false, noiseScale: 3 });
const time = fc.double({ min: 0, max: 1, noNaN: true });
const pair = fc.tuple(time, time).map(([a, b]) => (a < b ? ([a, b] as const) : ([b, a] as const)));

describe.each(variants)("Gaussian branch %j", (options) => {
  const process = new DiffusionProcess(options);

  it("has the marginals of the equations", () => {
    const { signal, sigma, absorbed, channel } = process.level(0.4);
    const a = process.schedule.signal(0.4);
    const s = process.schedule.deviation(0.4);
    const sigma0 = options.startDeviation ?? options.noiseScale * process.schedule.deviation(0);
    expect(signal).toBe(a);
    expect(sigma ** 2).toBeCloseTo((a * sigma0) ** 2 + (options.noiseScale * s) ** 2, 12);
    expect(absorbed).toBeCloseTo(options.absorbRate * s, 15);
    expect(channel).toBeCloseTo(a / Math.max(sigma ** 2, 0.05), 12);
  });

  it("composes: q(z_s | z_t, x0) over q(z_t | x0) is q(z_s | x0)", () => {
    fc.assert(
      fc.property(pair, ([s, t]) => {
        const from = process.level(t);
        const to = process.level(s);
        const { x0Coefficient, zCoefficient, variance } = process.posterior(s, t);
        expect(Math.abs(x0Coefficient + zCoefficient * from.signal - to.signal)).toBeLessThan(1e-12);
        const composed = zCoefficient ** 2 * from.sigma ** 2 + variance;
        expect(Math.abs(composed - to.sigma ** 2)).toBeLessThan(1e-12 * Math.max(1, to.sigma ** 2));
        expect(variance).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it("absorbs more and more", () => {
    fc.assert(
      fc.property(pair, ([s, t]) => {
        expect(process.absorbed(t)).toBeGreaterThanOrEqual(process.absorbed(s));
      }),
    );
  });

  it("converts x0, eps and z into each other", () => {
    const width = 3;
    const vector = fc
      .array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 2 * width, maxLength: 2 * width })
      .map((values) => Float64Array.from(values));
    fc.assert(
      fc.property(
        vector,
        vector,
        vector,
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        (x0, eps, any, t) => {
          const m = any.slice(0, width);
          const level = process.level(t);
          const z = diffuse(x0, eps, m, level, new Float64Array(2 * width));
          const x0Back = x0FromNoise(z, eps, m, level, new Float64Array(2 * width));
          const epsBack = noiseFromX0(z, x0, m, level, new Float64Array(2 * width));
          for (let i = 0; i < z.length; i++) {
            expect(x0Back[i]).toBeCloseTo(x0[i], 10);
            expect(epsBack[i]).toBeCloseTo(eps[i], 10);
          }
        },
      ),
    );
  });
});

it("Monte Carlo: two sampled steps have the moments of one", () => {
  const process = new DiffusionProcess(variants[1]);
  const n = 60_000;
  const [s, t, x0, m] = [0.3, 0.7, 1.5, -0.8];
  const eps = new Float64Array(n);
  const normal = new Float32Array(n);
  const random = new CounterRandom(5);
  random.fillNormal(normal, Stream.Noise, 0, 0);
  eps.set(normal);
  const z = diffuse(
    new Float64Array(n).fill(x0),
    eps,
    Float64Array.of(m),
    process.level(t),
    new Float64Array(n),
  );
  random.fillNormal(normal, Stream.Noise, 0, 1);
  const { x0Coefficient, zCoefficient, variance } = process.posterior(s, t);
  let mean = 0;
  let square = 0;
  for (let i = 0; i < n; i++) {
    const zs = m + x0Coefficient * (x0 - m) + zCoefficient * (z[i] - m) + Math.sqrt(variance) * normal[i];
    mean += zs / n;
    square += zs ** 2 / n;
  }
  const { signal, sigma } = process.level(s);
  expect(Math.abs(mean - (m + signal * (x0 - m)))).toBeLessThan((4 * sigma) / Math.sqrt(n));
  expect(Math.abs((square - mean ** 2) / sigma ** 2 - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
});

describe("masked limit", () => {
  it("keeps x0 and absorbs t of the positions", () => {
    expect(masked.level(0.3)).toEqual({
      time: 0.3,
      signal: 1,
      sigma: 0,
      absorbed: expect.closeTo(0.3, 15),
      channel: 0,
    });
    expect(masked.absorbed(0)).toBe(0);
    expect(masked.absorbed(1)).toBe(1);
    expect(() => masked.posterior(0.1, 0.2)).toThrow("no Gaussian posterior");
  });

  it("weighs the bound by 1/t when linear, and by -keep'/(1 - keep) else", () => {
    expect(masked.elboWeight(0.2)).toBeCloseTo(5, 12);
    const sqrt = new DiffusionProcess({ schedule: "sqrt", absorbRate: 1, gaussian: false, noiseScale: 1 });
    expect(sqrt.elboWeight(0.2)).toBeCloseTo(2.5, 12);
    expect(() => masked.elboWeight(0)).toThrow("t > 0");
  });

  it("knows the mean share absorbed", () => {
    expect(masked.meanAbsorbed(0)).toBeCloseTo(0.5, 6);
    expect(masked.meanAbsorbed(0.2)).toBeCloseTo(0.6, 6);
  });
});

it("refuses steps forward in time", () => {
  expect(() => new DiffusionProcess(variants[0]).posterior(0.5, 0.4)).toThrow("got t 0.4, s 0.5");
});

it.each([
  [{ absorbRate: 3 }, "absorbRate: expected a number from 0 to 1, got 3"],
  [{ noiseScale: Number.NaN }, "noiseScale: expected a number from 0 on, got NaN"],
  [{ noiseScale: -1 }, "noiseScale: expected a number from 0 on, got -1"],
  [{ startDeviation: Number.POSITIVE_INFINITY }, "startDeviation: expected a number from 0 on"],
])("refuses options that make no process: %o", (options, message) => {
  expect(() => new DiffusionProcess({ ...variants[1], ...options })).toThrow(UserError);
  expect(() => new DiffusionProcess({ ...variants[1], ...options })).toThrow(message);
});
