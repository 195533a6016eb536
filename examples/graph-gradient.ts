/** The graph language alone: a least-squares fit on ONNX Runtime. Run: npx tsx examples/graph-gradient.ts */
import { gradient, input, linear, mul, parameter, reduceMean, sub } from "moe-diffuseq/graph";
import { createDevice } from "moe-diffuseq/runtime";

const [x, y] = [input("x", "float32", [64, 3]), input("y", "float32", [64, 1])];
const weight = parameter("weight", [1, 3]);
const error = sub(linear(x, weight), y);
const loss = reduceMean(mul(error, error), [0, 1]);
const slope = gradient(loss, [weight])[0]!; // gradients are graphs like any other

const device = await createDevice("cpu");
const specs = [{ name: "weight", shape: [1, 3], trainable: true }];
const store = await device.createParameters(specs, { training: true });
const fit = await device.compile({ name: "fit", outputs: { loss }, gradients: { weight: slope } });
const xs = Float32Array.from({ length: 192 }, (_, i) => Math.sin(i * i));
const ys = Float32Array.from({ length: 64 }, (_, i) => 2 * xs[3 * i]! - xs[3 * i + 1]!);
const feeds = {
  x: { dtype: "float32", shape: [64, 3], data: xs },
  y: { dtype: "float32", shape: [64, 1], data: ys },
} as const;
const adamW = { learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 };
for (let step = 1; step <= 200; step++) {
  await store.zeroGradients();
  const outputs = await fit.run(feeds, { parameters: store });
  await store.step({ ...adamW, maxGradNorm: null, step, emaDecay: null });
  if (step % 50 === 0) console.log(step, outputs.loss?.data[0]);
}
console.log(await store.read("value")); // close to [2, -1, 0]
await device.dispose();
