/**
 * @file The plain sampling loop as a model: float32, the vocabulary's products at every position in every step, all logits returned to
 * the host. Everything else is the product's own code, so that texts must be equal to the last token.
 */
import { denoisingGraph } from "../src/diffusion/modules.js";
import {
  add,
  argMax,
  constant,
  type GraphModule,
  gather,
  input,
  matmul,
  reduceMax,
  reshape,
  softmax,
  type Tensor,
  type TensorData,
  tiedLogits,
} from "../src/graph/index.js";
import { DiffusionModel } from "../src/sampling/index.js";
import type { Program } from "../src/sampling/program-cache.js";

export class PlainModel extends DiffusionModel {
  #programs = new Map<string, Promise<Program>>();

  override get keeps(): boolean {
    return false;
  }

  override async denoiser(batchSize: number, length: number): Promise<Program> {
    const key = `${batchSize}x${length}`;
    const compile = async (): Promise<Program> => ({
      executable: await this.device.compile(this.#module(batchSize, length)),
      release: async () => {},
    });
    const program = this.#programs.get(key) ?? compile();
    this.#programs.set(key, program);
    return program;
  }

  override async run(
    program: Program,
    feeds: Readonly<Record<string, TensorData>>,
  ): Promise<Record<string, TensorData>> {
    const outputs = await super.run(program, feeds);
    if (!outputs.logits) return outputs;
    const [, vocabulary] = outputs.logits.shape;
    const rows = Array.from(feeds.draw.data, Number);
    const drawn = new Float32Array(rows.length * vocabulary);
    const logits = outputs.logits.data as Float32Array;
    for (const [r, row] of rows.entries())
      drawn.set(logits.subarray(row * vocabulary, (row + 1) * vocabulary), r * vocabulary);
    return {
      ...outputs,
      drawLogits: { dtype: "float32", shape: [rows.length, vocabulary], data: drawn },
    };
  }

  #module(batchSize: number, length: number): GraphModule {
    const { model } = this.config;
    const shape = { batchSize, length, globalSlots: this.globalSlots };
    const {
      logits: ownLogits,
      tokens,
      gaussian: moving,
      embedding,
      outputs,
    } = denoisingGraph(this.config, shape);
    const penalties = new Float32Array(2 * model.vocabSize);
    for (const id of this.forbidden.inside) penalties[id] = -1e9;
    for (const id of this.forbidden.ending) penalties[model.vocabSize + id] = -1e9;
    const positions = batchSize * length;
    const ending = input("ending", "int64", [positions]);
    const logits = add(tiedLogits(ownLogits), gather(constant(penalties, [2, model.vocabSize]), ending));
    const p = softmax(logits);
    const all: Record<string, Tensor> = {
      ...outputs,
      logits,
      likeliest: argMax(p),
      probability: reshape(reduceMax(p, [-1]), [positions]),
    };
    const wide = [batchSize, length, model.embeddingSize];
    if (moving)
      all.x0 = reshape(model.prediction === "mixture" ? matmul(p, tokens.codebook) : embedding, wide);
    return { name: "plain sampling", outputs: all };
  }
}
