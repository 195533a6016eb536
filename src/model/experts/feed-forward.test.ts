/** @file The feed-forward half of a layer: gradients through router, experts and losses; parameters; and the promise that rows are alone. */
import * as ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import {
  add,
  concat,
  constant,
  evaluate,
  gradient,
  leavesOf,
  mul,
  NDArray,
  parameter,
  reduceSum,
  reshape,
  sizeOf,
  type Tensor,
  writeOnnx,
} from "../../graph/index.js";
import { array, checkOperator, distance, runOnnx, wave } from "../../graph/testing/check.js";
import { parameterTensors } from "../parameters.js";
import {
  type FeedForwardConfig,
  type FeedForwardResult,
  feedForward,
  feedForwardParameters,
  selectionBiasName,
} from "./feed-forward.js";
import type { RouterKind } from "./router.js";

const [D, E] = [4, 5];
type Changes = Partial<Omit<FeedForwardConfig, "experts">> & {
  experts?: Partial<FeedForwardConfig["experts"]>;
};
const configure = ({ experts, ...changes }: Changes = {}): FeedForwardConfig => ({
  hiddenSize: D,
  numLayers: 2,
  activation: "quick_gelu",
  feedForwardSize: 9,
  ...changes,
  experts: {
    numExperts: E,
    topK: 3,
    intermediateSize: 6,
    router: "top-k",
    topP: 0.7,
    sharedExpertSize: 0,
    balance: "loss-free",
    capacityFactor: null,
    ...experts,
  },
});

/** Every parameter of the layer, with values large enough that routing matters. */
const arrays = (config: FeedForwardConfig): Record<string, NDArray> =>
  Object.fromEntries(
    feedForwardParameters(config, "layers.0").map(({ name, shape }, i) => [
      name,
      array(
        shape,
        wave(sizeOf(shape), i + 20).map((v) => v * 1.5),
      ),
    ]),
  );

const build = (
  config: FeedForwardConfig,
  x: Tensor,
  lookup: (name: string) => Tensor,
  valid: readonly number[],
  sequences: number,
): FeedForwardResult =>
  feedForward(x, lookup, config, "layers.0", {
    sequences,
    length: valid.length / sequences,
    valid: constant(valid, [valid.length]),
  });

const routers: RouterKind[] = ["top-k", "top-p", "expert-choice"];
const sparse: [string, Changes][] = [
  ...routers.map((router): [string, Changes] => [router, { experts: { router } }]),
  ["top-k, shared expert, gelu", { activation: "gelu", experts: { sharedExpertSize: 3 } }],
  ["top-k with capacity", { activation: "silu", experts: { capacityFactor: 0.6, balance: "loss" } }],
  ["expert-choice with capacity", { experts: { router: "expert-choice", capacityFactor: 0.6 } }],
  ["one of two experts", { experts: { numExperts: 2, topK: 1, balance: "none" } }],
];

describe("feedForward", () => {
  it.each([...sparse, ["dense", { experts: { numExperts: 0 } }] as [string, Changes]])(
    "%s: output, losses and all gradients",
    async (_name, changes) => {
      const config = configure(changes);
      const bias = selectionBiasName(config, "layers.0");
      const parameters = { x: array([7, D]), ...arrays(config) };
      await checkOperator(
        parameters,
        (p) => {
          const { output, losses } = build(config, p.x, (name) => p[name], [1, 1, 0, 1, 1, 1, 0], 1);
          const flat = reshape(output, [7 * D]);
          return losses ? concat([flat, losses.balance, losses.z], 0) : flat;
        },
        { differentiable: Object.keys(parameters).filter((name) => name !== bias), tolerance: 4e-6 },
      );
    },
  );

  it.each<[string, Changes["experts"]]>([
    ["top-k, one expert a token", { topK: 1 }],
    ["top-p, the best expert is enough", { router: "top-p", topP: 0 }],
  ])("%s: the router learns from the task alone", (_name, experts) => {
    const config = configure({ experts: { balance: "none", ...experts } });
    const lookup = parameterTensors(feedForwardParameters(config, "layers.0"));
    const { output } = build(config, constant(wave(7 * D), [7, D]), lookup, [1, 1, 0, 1, 1, 1, 0], 1);
    const [router] = gradient(reduceSum(mul(output, output), [0, 1]), [lookup("layers.0.router.weight")]);
    const { data } = evaluate({ name: "task", outputs: { router } }, {}, arrays(config)).router;
    expect(Math.max(...data.map(Math.abs))).toBeGreaterThan(1e-3);
  });

  it("gives padding nothing from routed experts", () => {
    const config = configure();
    const { output } = build(
      config,
      constant(wave(3 * D), [3, D]),
      parameterTensors(feedForwardParameters(config, "layers.0")),
      [1, 0, 1],
      1,
    );
    const value = evaluate({ name: "padding", outputs: { output } }, {}, arrays(config)).output;
    expect([...value.data.slice(D, 2 * D)]).toEqual([0, 0, 0, 0]);
  });

  it("a dense layer has neither losses nor statistics", () => {
    const config = configure({ experts: { numExperts: 1 } });
    const p = parameterTensors(feedForwardParameters(config, "layers.0"));
    expect(build(config, parameter("x", [2, D]), p, [1, 1], 1)).toMatchObject({
      losses: null,
      statistics: null,
    });
  });
});

describe("rows are alone", () => {
  const N = 7;
  const rows = [
    { x: wave(N * D, 1), valid: [1, 1, 1, 1, 1, 1, 1] },
    { x: wave(N * D, 2), valid: [1, 1, 0, 1, 1, 0, 0] },
    { x: wave(N * D, 3), valid: [1, 1, 1, 1, 1, 0, 0] },
  ];
  type Row = (typeof rows)[number];
  const padded = ({ x, valid }: Row): Row => ({
    x: [...x, ...wave(4 * D, 9)],
    valid: [...valid, 0, 0, 0, 0],
  });

  function run(changes: Changes, batch: Row[]): Record<string, NDArray> {
    const config = configure(changes);
    const positions = batch.length * batch[0].valid.length;
    const x = parameter("x", [positions, D]);
    const definitions = feedForwardParameters(config, "layers.0");
    const tensors = parameterTensors(definitions);
    const { output, losses, statistics } = build(
      config,
      x,
      tensors,
      batch.flatMap((r) => r.valid),
      batch.length,
    );
    const values = {
      ...arrays(config),
      x: array(
        [positions, D],
        batch.flatMap((r) => r.x),
      ),
    };
    const module = { name: "rows", outputs: { output, ...losses, ...statistics } };
    return evaluate(module, {}, values, { lowered: true });
  }
  /** What row `index` of a result says about its own N positions. */
  const ofRow = (result: Record<string, NDArray>, index: number, batch: number) =>
    Object.fromEntries(
      Object.entries(result).map(([name, { data }]) => {
        const size = data.length / batch;
        return [name, [...data.slice(index * size, index * size + (name === "output" ? N * D : size))]];
      }),
    );

  it.each(sparse)("%s: alone, in a batch, elsewhere in it and padded, to the last bit", (_name, changes) => {
    const together = run(changes, rows);
    const shuffled = run(changes, [rows[2], rows[0], rows[1]]);
    const extended = run(changes, [padded(rows[1]), padded(rows[2]), padded(rows[0])]);
    for (const [i, row] of rows.entries()) {
      const alone = ofRow(run(changes, [row]), 0, 1);
      expect(ofRow(together, i, 3)).toEqual(alone);
      expect(ofRow(shuffled, (i + 1) % 3, 3)).toEqual(alone);
      expect(ofRow(run(changes, [padded(row)]), 0, 1)).toEqual(alone);
      expect(ofRow(extended, (i + 2) % 3, 3)).toEqual(alone);
    }
  });
});

describe("feedForwardParameters", () => {
  const names = (changes: Changes) =>
    feedForwardParameters(configure(changes), "layers.3").map((d) => d.name);

  it("lists what the configuration uses, under the names of the files", () => {
    expect(names({ experts: { numExperts: 2, topK: 1, sharedExpertSize: 3 } })).toEqual([
      "layers.3.router.weight",
      "layers.3.router.selection_bias",
      ...["experts.0", "experts.1", "shared_expert"].flatMap((block) =>
        ["w1.weight", "w1.bias", "w2.weight", "w2.bias"].map((name) => `layers.3.${block}.${name}`),
      ),
    ]);
    expect(names({ experts: { numExperts: 0 } })).toEqual(
      ["w1.weight", "w1.bias", "w2.weight", "w2.bias"].map((name) => `layers.3.mlp.${name}`),
    );
    expect(names({ experts: { balance: "loss" } })).not.toContain("layers.3.router.selection_bias");
    expect(names({ experts: { router: "expert-choice" } })).not.toContain("layers.3.router.selection_bias");
  });

  it("starts residual outputs small, biases at zero and the selection bias as a buffer", () => {
    const all = new Map(feedForwardParameters(configure(), "layers.3").map((d) => [d.name, d]));
    expect(all.get("layers.3.router.selection_bias")).toEqual({
      name: "layers.3.router.selection_bias",
      shape: [1, E],
      trainable: false,
      averaged: true,
      init: { kind: "zeros" },
    });
    expect(all.get("layers.3.experts.4.w1.weight")).toMatchObject({ shape: [6, D], init: { std: 0.5 } });
    const { shape, init } = all.get("layers.3.experts.4.w2.weight")!;
    expect(shape).toEqual([D, 6]);
    expect(init.kind === "normal" && init.std).toBeCloseTo(1.4 / Math.sqrt(6) / 2, 12);
    expect(all.get("layers.3.router.weight")).toMatchObject({ shape: [E, D], init: { std: 0.25 } });
  });

  it.each([...sparse, ["dense", { experts: { numExperts: 0 } }] as [string, Changes]])(
    "%s: every parameter is used",
    (_name, changes) => {
      const config = configure(changes);
      const definitions = feedForwardParameters(config, "layers.0");
      const { output } = build(
        config,
        constant(wave(3 * D), [3, D]),
        parameterTensors(definitions),
        [1, 1, 1],
        1,
      );
      expect([...leavesOf([output], "parameter").keys()].sort()).toEqual(
        definitions.map((d) => d.name).sort(),
      );
    },
  );
});

it("ONNX Runtime gives a row the same output alone and in a batch, to float tolerance", async () => {
  const config = configure({ hiddenSize: 32, experts: { intermediateSize: 48, sharedExpertSize: 8 } });
  const tensors = parameterTensors(feedForwardParameters(config, "layers.0"));
  const [one, two] = [wave(13 * 32, 1), wave(13 * 32, 2)];
  const run = async (values: number[], sequences: number) => {
    const x = parameter("x", [13 * sequences, 32]);
    const { output } = build(config, x, tensors, new Array<number>(13 * sequences).fill(1), sequences);
    const parameters = { ...arrays(config), x: array([13 * sequences, 32], values) };
    return (await runOnnx({ name: "alone", outputs: { output } }, {}, parameters)).output;
  };
  const alone = await run(one, 1);
  const together = await run([...two, ...one], 2);
  const second = new NDArray("float32", [13, 32], together.data.slice(13 * 32));
  expect(distance(second, alone)).toBeLessThan(1e-6);
});

describe("repeatability", () => {
  const [tokens, width] = [512, 64];

  it.each(routers)("%s: gradients are equal to the last bit in 20 runs on two threads", async (router) => {
    const config = configure({
      hiddenSize: width,
      experts: { numExperts: 8, topK: 2, intermediateSize: 128, router },
    });
    const definitions = feedForwardParameters(config, "layers.0");
    const lookup = parameterTensors(definitions);
    const x = parameter("x", [tokens, width]);
    const valid = Array.from({ length: tokens }, (_, t) => Number(t % 256 < 250));
    const { output, losses } = build(config, x, lookup, valid, 2);
    const loss = add(reduceSum(mul(output, output), [0, 1]), reduceSum(add(losses!.balance, losses!.z), [0]));
    const bias = selectionBiasName(config, "layers.0");
    const names = definitions.map((d) => d.name).filter((name) => name !== bias);
    const gradients = gradient(loss, [x, ...names.map(lookup)]);
    const program = writeOnnx({
      name: "repeat",
      outputs: { loss },
      gradients: Object.fromEntries(["x", ...names].map((n, i) => [n, gradients[i]])),
    });
    const values: Record<string, NDArray> = { ...arrays(config), x: array([tokens, width]) };
    // The last expert is never selected: its gradients must be zeros, whatever its memory held before.
    if (bias) values[bias] = array([1, 8], [0, 0, 0, 0, 0, 0, 0, -1000]);
    const session = await ort.InferenceSession.create(program.bytes, {
      intraOpNumThreads: 2,
      enableMemPattern: false,
      logSeverityLevel: 3,
    });
    const feeds = Object.fromEntries(
      program.parameters.map(({ name }) => {
        const { data, shape } = values[name];
        return [name, new ort.Tensor("float32", Float32Array.from(data), shape)];
      }),
    );
    const run = async () => {
      const results = await session.run(feeds);
      const idle = results["gradient:layers.0.experts.7.w1.weight"].data as Float32Array;
      expect(idle.every((v) => v === 0)).toBe(bias !== null);
      return Object.keys(results)
        .sort()
        .map((n) => Buffer.from((results[n].data as Float32Array).buffer).toString("base64"));
    };
    const first = await run();
    for (let i = 1; i < 20; i++) expect(await run(), `run ${i}`).toEqual(first);
    await session.release();
  });
});
