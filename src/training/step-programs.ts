/**
 * @file The programs of a training step: one, or with several ranks as many as `training.backwardPieces`, run one after the other. When
 * one has finished the gradients of its layers, their sum over the ranks begins, and goes on while the next one runs (see
 * `ParameterStore.gradientsComplete`).
 */
import type { RunConfig } from "../config/index.js";
import { trainingPieces } from "../diffusion/modules.js";
import { type GraphModule, leavesOf, lower, rootsOf, type TensorData } from "../graph/index.js";
import {
  type Device,
  type Executable,
  HELD_PREFIX,
  type HeldTensors,
  type ParameterStore,
  type ProgramInfo,
} from "../runtime/index.js";

export class StepPrograms {
  private constructor(
    /** What is to be fed, by name, in the order of the whole module whatever pieces it is cut into. */
    readonly inputs: ProgramInfo["inputs"],
    private readonly programs: readonly {
      readonly program: Executable;
      readonly gradients: readonly string[];
    }[],
    private readonly held: HeldTensors | null,
  ) {}

  static async create(module: GraphModule, config: RunConfig, device: Device): Promise<StepPrograms> {
    const pieces = device.communicator.size > 1 ? config.training.backwardPieces : 1;
    const cut = pieces > 1;
    const modules = cut
      ? trainingPieces(module, config.model, { pieces, prefix: `${HELD_PREFIX}step.`, target: device.target })
      : [module];
    const programs = [];
    for (const one of modules)
      programs.push({ program: await device.compile(one), gradients: Object.keys(one.gradients ?? {}) });
    const inputs = cut
      ? Array.from(leavesOf(lower(rootsOf(module), device.target), "input"), ([name, { dtype, shape }]) => ({
          name,
          dtype,
          shape,
        }))
      : programs[0].program.program.inputs;
    return new StepPrograms(inputs, programs, cut ? await device.createHeld() : null);
  }

  /**
   * Loss, its terms and gradients of one micro-batch; gradients are added to the store's.
   * @param feeds a value for every input. One program takes their memory over, their arrays are empty afterwards; several, of which each
   *   may want the same feed, copy them
   * Where it fails, all gradients of the step are void: `zeroGradients` comes next.
   *
   * @param last whether it is the step's last: nothing is added to the gradients after it
   */
  async run(
    feeds: Readonly<Record<string, TensorData>>,
    store: ParameterStore,
    last: boolean,
  ): Promise<Record<string, TensorData>> {
    const { programs, held } = this;
    if (!held) return programs[0].program.run(feeds, { parameters: store, transferFeeds: true });
    const running: Promise<Record<string, TensorData>>[] = [];
    for (const { program, gradients } of programs) {
      const wanted = program.program.inputs.filter(({ name }) => Object.hasOwn(feeds, name));
      const own = Object.fromEntries(wanted.map(({ name }) => [name, feeds[name]]));
      // Not awaited one by one: the device takes calls in order, and its thread need not wait for this one.
      running.push(program.run(own, { parameters: store, held }));
      if (last) running.push(store.gradientsComplete(gradients).then(() => ({})));
    }
    try {
      const [outputs] = await Promise.all(running);
      return outputs;
    } catch (error) {
      // Sums may have begun. Not awaited: they may need ranks that are gone, and the error is to be heard.
      void store.abandonStep().catch(() => {});
      throw error;
    }
  }
}
