/** @file Packs: what stands where, and a program fed and read through them. */
import { describe, expect, it } from "vitest";
import { gradient } from "./gradient.js";
import { writeOnnx } from "./onnx.js";
import { mul, sumOf } from "./operators/elementwise.js";
import { matmul } from "./operators/matmul.js";
import { reduceSum } from "./operators/reduce.js";
import { packsOf } from "./packs.js";
import { webgpuTarget } from "./target.js";
import { parameter } from "./tensor.js";
import { array, distance, runOnnx, wave } from "./testing/check.js";

const spec = (name: string, ...shape: number[]) => ({ name, dtype: "float32" as const, shape });

describe("packs", () => {
  it("hold tensors one after the other, and end where the next would be too many elements", () => {
    const million = 2 ** 20;
    const specs = [
      spec("a", 3, 5),
      spec("b", 32 * million - 15),
      spec("c", 1),
      spec("d", 40 * million),
      spec("e"),
    ];
    expect(packsOf("p", specs)).toEqual([
      {
        name: "p0",
        size: 32 * million,
        parts: [
          { name: "a", start: 0, size: 15 },
          { name: "b", start: 15, size: 32 * million - 15 },
        ],
      },
      { name: "p1", size: 1, parts: [{ name: "c", start: 0, size: 1 }] },
      { name: "p2", size: 40 * million, parts: [{ name: "d", start: 0, size: 40 * million }] },
      { name: "p3", size: 1, parts: [{ name: "e", start: 0, size: 1 }] },
    ]);
    expect(packsOf("p", [])).toEqual([]);
  });

  it("carry every parameter and every gradient of a program", async () => {
    const x = parameter("x", [3, 4]);
    const w = parameter("w", [4, 5]);
    const unused = parameter("scale", [1, 5]);
    const y = mul(matmul(x, w), unused);
    const loss = reduceSum(sumOf([mul(y, y)]), [0, 1]);
    const leaves = { x, w, scale: unused };
    const gradients = gradient(loss, Object.values(leaves));
    const module = {
      name: "packed",
      outputs: { loss },
      gradients: Object.fromEntries(Object.keys(leaves).map((name, i) => [name, gradients[i]])),
    };
    const program = writeOnnx(module, webgpuTarget);
    expect(program.packs!.parameters.map(({ size }) => size)).toEqual([12 + 20 + 5]);
    expect(program.packs!.gradients.map(({ size }) => size)).toEqual([12 + 20 + 5]);
    const values = {
      x: array([3, 4]),
      w: array([4, 5], wave(20, 2)),
      scale: array([1, 5], wave(5, 3)),
    };
    const plain = await runOnnx(module, {}, values);
    const packed = await runOnnx(module, {}, values, webgpuTarget);
    for (const name of Object.keys(plain))
      expect(distance(packed[name], plain[name]), name).toBeLessThan(1e-6);
  });
});
