import { describe, expect, it } from "vitest";
import {
  add,
  type GraphModule,
  gather,
  gradient,
  input,
  matmul,
  mul,
  parameter,
  reduceSum,
} from "../graph/index.js";
import { CounterRandom } from "../random/index.js";
import { createDevice, type ParameterSpec, type RunOptions } from "./index.js";
import { expectClose, float32, int64, numbersOf, onEveryDevice } from "./testing/devices.js";

/** loss = sum((x W + b)^2), W trainable [3, 5], b a buffer [5]; x float32 [2, 3]. */
function regression(): GraphModule {
  const x = input("x", "float32", [2, 3]);
  const w = parameter("w", [3, 5]);
  const y = add(matmul(x, w), parameter("b", [5]));
  const loss = reduceSum(mul(y, y), [0, 1]);
  const [dw] = gradient(loss, [w]);
  return { name: "regression", outputs: { loss, y }, gradients: { w: dw } };
}
const specs: ParameterSpec[] = [
  { name: "b", shape: [5], trainable: false },
  { name: "w", shape: [3, 5], trainable: true },
];
const values = (() => {
  const w = new Float32Array(15);
  new CounterRandom(3).fillNormal(w, 0, 0, 0);
  return { w, b: Float32Array.of(1, 2, 3, 4, 5) };
})();
const xs = [0.5, -1, 2, 1, 0, -0.25];
const x = float32([2, 3], xs);

/** The same by hand: y [2, 5], loss, dW [3, 5]. */
function byHand(w: ArrayLike<number> = values.w) {
  const y = Array.from({ length: 10 }, (_, k) => {
    const [row, column] = [Math.floor(k / 5), k % 5];
    return [0, 1, 2].reduce((sum, i) => sum + xs[3 * row + i] * w[5 * i + column], values.b[column]);
  });
  const dw = Array.from({ length: 15 }, (_, k) => {
    const [i, column] = [Math.floor(k / 5), k % 5];
    return 2 * (xs[i] * y[column] + xs[3 + i] * y[5 + column]);
  });
  return { y, loss: y.reduce((sum, v) => sum + v * v, 0), dw };
}
const adamw = {
  learningRate: 0.1,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.5,
  maxGradNorm: null,
  step: 1,
  emaDecay: null,
};

onEveryDevice((device) => {
  const training = async (options = { training: true, ema: true }) => {
    const parameters = await device().createParameters(specs, options);
    await parameters.write("value", values);
    return parameters;
  };

  describe("programs", () => {
    it("compute outputs of every dtype, with dimensions known at run time only", async () => {
      const ids = input("ids", "int64", [null]);
      const table = parameter("table", [4, 3]);
      const program = await device().compile({
        name: "lookup",
        outputs: { rows: gather(table, ids, 0), again: gather(ids, ids, 0) },
      });
      const parameters = await device().createParameters([{ name: "table", shape: [4, 3], trainable: true }]);
      await parameters.write("value", { table: Float32Array.from({ length: 12 }, (_, i) => i / 2) });
      for (const chosen of [[2, 0], [1], [3, 3, 0, 1]]) {
        const out = await program.run(
          {
            ids: int64(
              [chosen.length],
              chosen.map((i) => i % chosen.length),
            ),
          },
          { parameters },
        );
        expect(out.rows.shape).toEqual([chosen.length, 3]);
        expect(out.again.dtype).toBe("int64");
      }
      const { rows, again } = await program.run({ ids: int64([3], [2, 0, 1]) }, { parameters });
      expect(numbersOf(rows)).toEqual([3, 3.5, 4, 0, 0.5, 1, 1.5, 2, 2.5]);
      expect(numbersOf(again)).toEqual([1, 2, 0]);
      await Promise.all([program.dispose(), parameters.dispose()]);
    });

    it("add gradients to the parameter store", async () => {
      const program = await device().compile(regression());
      const parameters = await training();
      const expected = byHand();
      for (let run = 0; run < 3; run++) {
        const out = await program.run({ x }, { parameters });
        expect(Object.keys(out).sort()).toEqual(["loss", "y"]);
        expect(out.loss.shape).toEqual([]);
        expectClose(numbersOf(out.y), expected.y);
        expectClose(numbersOf(out.loss), [expected.loss]);
      }
      const { w } = await parameters.read("gradient");
      expectClose(
        w,
        expected.dw.map((g) => 3 * g),
      );
      await parameters.zeroGradients();
      expect(Math.max(...(await parameters.read("gradient")).w.map(Math.abs))).toBe(0);
    });

    it("compute with the average when asked to", async () => {
      const program = await device().compile({ ...regression(), gradients: undefined });
      const parameters = await training({ training: false, ema: true });
      const w = new Float32Array(15).fill(0.5);
      await parameters.write("ema", { w });
      const run = async (slot?: "value" | "ema") =>
        numbersOf((await program.run({ x }, { parameters, slot })).loss);
      expectClose(await run(), [byHand().loss]);
      expectClose(await run("value"), [byHand().loss]);
      expectClose(await run("ema"), [byHand(w).loss]);
    });

    it("leave the caller's feeds alone, views into larger arrays too", async () => {
      const program = await device().compile({
        name: "twice",
        outputs: { y: mul(input("x", "float32", [2]), 2) },
      });
      const large = Float32Array.of(9, 1, 2, 9);
      const feed = { dtype: "float32", shape: [2], data: large.subarray(1, 3) } as const;
      expect(numbersOf((await program.run({ x: feed })).y)).toEqual([2, 4]);
      expect(numbersOf((await program.run({ x: feed }, { transferFeeds: true })).y)).toEqual([2, 4]);
      expect([...large]).toEqual([9, 1, 2, 9]);
      const whole = float32([2], [3, 4]);
      expect(numbersOf((await program.run({ x: whole })).y)).toEqual([6, 8]);
      expect(whole.data.length).toBe(2);
    });

    it("take effect in the order of the calls", async () => {
      const program = await device().compile(regression());
      const parameters = await training();
      const runs = [0, 1, 2].flatMap((k) => {
        const run = program.run({ x }, { parameters });
        const write = parameters.write("value", { w: new Float32Array(15).fill(k) });
        return [run.then(({ loss }) => numbersOf(loss)[0]), write.then(() => Number.NaN)];
      });
      const losses = (await Promise.all(runs)).filter((loss) => !Number.isNaN(loss));
      expectClose(losses, [
        byHand().loss,
        byHand(new Float32Array(15)).loss,
        byHand(new Float32Array(15).fill(1)).loss,
      ]);
    });
  });

  describe("parameters", () => {
    it("step in the order of the calls, over what they were handed then", async () => {
      const parameters = await training();
      await parameters.write("gradient", { w: values.w });
      const stepped = parameters.step(adamw);
      const w = new Float32Array(15).fill(3);
      const written = parameters.write("value", { w });
      w.fill(5);
      const read = parameters.read("value", ["w"]);
      await Promise.all([stepped, written]);
      for (const found of [await read, await parameters.read("value", ["w"])])
        expect(found).toEqual({ w: new Float32Array(15).fill(3) });
    });

    it("read what was written, and zero elsewhere", async () => {
      const parameters = await training();
      expect(parameters.totalParameters).toBe(20);
      expect(await parameters.read("value")).toEqual(values);
      expect(await parameters.read("value", ["b"])).toEqual({ b: values.b });
      expect(await parameters.read("moment2")).toEqual({ w: new Float32Array(15) });
      const w = new Float32Array(15).fill(2);
      await parameters.write("moment1", { w });
      expect(await parameters.read("moment1")).toEqual({ w });
      expect(w.length).toBe(15);
    });

    it("give a buffer's value as its average", async () => {
      const parameters = await training();
      await parameters.write("ema", { w: new Float32Array(15).fill(1) });
      expect(await parameters.read("ema")).toEqual({ b: values.b, w: new Float32Array(15).fill(1) });
    });

    it("step by AdamW as computed in float64", async () => {
      const parameters = await training();
      const w = Float64Array.from(values.w);
      const m = new Float64Array(15);
      const v = new Float64Array(15);
      const ema = new Float64Array(15);
      const maxGradNorm = 1.5;
      for (let step = 1; step <= 3; step++) {
        const g = Float32Array.from({ length: 15 }, (_, i) => Math.sin(i + step));
        await parameters.write("gradient", { w: g });
        const options = { ...adamw, step, maxGradNorm, emaDecay: 0.8 };
        const result = await parameters.step(options);
        const norm = Math.hypot(...g);
        expect(result.applied).toBe(true);
        expect(result.gradNorm).toBeCloseTo(norm, 6);
        for (let i = 0; i < 15; i++) {
          const clipped = g[i] * Math.min(1, maxGradNorm / norm);
          m[i] = 0.9 * m[i] + 0.1 * clipped;
          v[i] = 0.99 * v[i] + 0.01 * clipped ** 2;
          const update = m[i] / (1 - 0.9 ** step) / (Math.sqrt(v[i] / (1 - 0.99 ** step)) + 1e-8);
          w[i] -= 0.1 * (update + 0.5 * w[i]);
          ema[i] = 0.8 * ema[i] + 0.2 * w[i];
        }
      }
      expectClose((await parameters.read("value")).w, w);
      expectClose((await parameters.read("moment1")).w, m);
      expectClose((await parameters.read("moment2")).w, v);
      expectClose((await parameters.read("ema")).w, ema);
      expect((await parameters.read("value")).b).toEqual(values.b);
    });

    it("leave parameters without decay to the gradient alone", async () => {
      const parameters = await training();
      await parameters.step({ ...adamw, noDecay: ["w"] });
      expect((await parameters.read("value")).w).toEqual(values.w);
      await parameters.step({ ...adamw, step: 2 });
      expectClose(
        (await parameters.read("value")).w,
        values.w.map((w) => 0.95 * w),
      );
    });

    it("count gradients as much as they are told to, in the norm too", async () => {
      const state = async (factor: number, gradientScale: number) => {
        const parameters = await training();
        const w = values.w.map((x) => factor * x);
        await parameters.write("gradient", { w });
        const { gradNorm } = await parameters.step({ ...adamw, maxGradNorm: 0.5, gradientScale });
        return {
          gradNorm,
          value: (await parameters.read("value")).w,
          moment2: await parameters.read("moment2"),
        };
      };
      expect(await state(4, 0.25)).toEqual(await state(1, 1)); // powers of two: to the bit
      await expect(state(1, 0)).rejects.toThrow("expected gradientScale to be more than 0, got 0");
    });

    it("touch nothing when a gradient is not finite", async () => {
      for (const bad of [Number.NaN, Number.NEGATIVE_INFINITY]) {
        const parameters = await training();
        const w = new Float32Array(15);
        w[7] = bad;
        await parameters.write("gradient", { w });
        await parameters.write("moment1", { w: new Float32Array(15).fill(1) });
        const { applied, gradNorm } = await parameters.step({ ...adamw, emaDecay: 0.5 });
        expect(applied).toBe(false);
        expect(Number.isFinite(gradNorm)).toBe(false);
        expect(await parameters.read("value")).toEqual(values);
        expect(await parameters.read("moment1")).toEqual({ w: new Float32Array(15).fill(1) });
        expect((await parameters.read("ema")).w).toEqual(new Float32Array(15));
      }
    });

    it("train: the loss falls, the same way each time", async () => {
      const program = await device().compile(regression());
      const curve = async () => {
        const parameters = await training();
        const losses: number[] = [];
        for (let step = 1; step <= 25; step++) {
          await parameters.zeroGradients();
          const { loss } = await program.run({ x }, { parameters });
          await parameters.step({ ...adamw, weightDecay: 0, step });
          losses.push(numbersOf(loss)[0]);
        }
        return losses;
      };
      const [first, second] = [await curve(), await curve()];
      expect(first[24]).toBeLessThan(0.5 * first[0]);
      expect(second).toEqual(first);
    });
  });

  describe("mistakes", () => {
    const refuses = async (
      feeds: Parameters<Awaited<ReturnType<typeof compile>>["run"]>[0],
      message: string,
      options?: RunOptions,
    ) => {
      const program = await compile();
      const parameters = await training();
      await expect(program.run(feeds, options ?? { parameters })).rejects.toThrow(message);
    };
    const compile = () => device().compile(regression());

    it("in feeds are named before anything runs", async () => {
      await refuses({}, 'expected a feed for every input ("x"); missing "x", unknown none');
      const found: Record<string, typeof x> = {};
      await refuses({ x: found.x }, 'missing "x", unknown none');
      await refuses({ x, y: x }, 'missing none, unknown "y"');
      await refuses({ x: float32([3, 2], xs) }, 'input "x": expected float32[2, 3], got float32[3, 2]');
      await refuses({ x: int64([2, 3], [1, 2, 3, 4, 5, 6]) }, "expected float32[2, 3], got int64[2, 3]");
      await refuses({ x: { ...x, data: x.data.slice(1) } }, "expected 6 values for shape [2, 3], got 5");
      await refuses(
        { x: { ...x, data: Int32Array.from(xs) } },
        "expected a Float32Array for float32, got Int32Array",
      );
    });

    it("in parameters are named", async () => {
      await refuses({ x }, "expected a parameter store for its 2 parameters, got none", {});
      const other = await device().createParameters([{ name: "w", shape: [5, 3], trainable: true }]);
      await refuses({ x }, 'parameter "w": expected shape [3, 5], got [5, 3]', { parameters: other });
      const plain = await device().createParameters(specs);
      await refuses({ x }, 'expected a slot among value, got "gradient"', { parameters: plain });
      await refuses({ x }, 'got "ema"; create the parameters with { ema: true }', {
        parameters: plain,
        slot: "ema",
      });
      const parameters = await training();
      await expect(parameters.read("moment1", ["b"])).rejects.toThrow("it is not trainable");
      await expect(parameters.write("value", { c: values.b })).rejects.toThrow(
        'expected one of b, w, got "c"',
      );
      await expect(parameters.write("value", { w: values.b })).rejects.toThrow(
        "expected 15 float32 values for shape [3, 5], got 5",
      );
      const list = [1, 2] as unknown as Float32Array;
      await expect(parameters.write("value", { w: list })).rejects.toThrow(
        "expected 15 float32 values for shape [3, 5], got [object Array]",
      );
      await expect(parameters.step({ ...adamw, step: 0 })).rejects.toThrow(
        "expected step to be an integer from 1 on, got 0",
      );
      await expect(parameters.step({ ...adamw, epsilon: 1e-46 })).rejects.toThrow(
        "expected epsilon to be 1.2e-38 or more, got 1e-46",
      );
      await expect(parameters.step({ ...adamw, noDecay: ["v"] })).rejects.toThrow('got "v"');
      await expect(device().createParameters([specs[0], { ...specs[0], shape: [2] }])).rejects.toThrow(
        'expected every name once, got "b" twice',
      );
      await expect(device().createParameters([{ ...specs[0], shape: [2, 0] }])).rejects.toThrow(
        "expected a shape of positive integers, got [2, 0]",
      );
    });

    it("of using what was disposed are named", async () => {
      const program = await compile();
      const parameters = await training();
      await parameters.dispose();
      await parameters.dispose();
      await expect(parameters.read("value")).rejects.toThrow("the parameters: expected it to be in use");
      await expect(program.run({ x }, { parameters })).rejects.toThrow("it was disposed");
      await program.dispose();
      await program.dispose();
      await expect(program.run({ x })).rejects.toThrow('program "regression": expected it to be in use');
    });
  });
});

describe.each(["reference", "cpu"] as const)("a %s device of its own", (kind) => {
  it("is disposed once, with all it made", async () => {
    const device = await createDevice(kind, { threads: 1 });
    const program = await device.compile(regression());
    const parameters = await device.createParameters(specs, { training: true });
    await Promise.all([device.dispose(), device.dispose()]);
    await device.dispose();
    await expect(device.compile(regression())).rejects.toThrow(
      `the ${kind} device: expected it to be in use`,
    );
    await expect(program.run({ x }, { parameters })).rejects.toThrow("it was disposed");
    await expect(parameters.read("value")).rejects.toThrow("it was disposed");
    await program.dispose();
    await parameters.dispose();
  });

  it("refuses parameters of another", async () => {
    const [one, two] = [await createDevice(kind), await createDevice(kind)];
    const parameters = await one.createParameters(specs, { training: true });
    const program = await two.compile(regression());
    await expect(program.run({ x }, { parameters })).rejects.toThrow(
      "expected parameters made by the same device",
    );
    await Promise.all([one.dispose(), two.dispose()]);
  });
});
