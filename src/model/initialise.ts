/** @file Starting values of parameters, drawn from the counter-based generator: equal seeds give equal models, whatever the order. */
import type { ParameterDefinition } from "./parameters.js";

/** The part of the generator that is needed: standard normals, addressed by (stream, sequence, step). */
export interface NormalSource {
  fillNormal(out: Float32Array, stream: number, sequence: number, step: number): void;
}

/** Values by name. Each definition has its own counter (its place in the list), so that one's size never shifts another's numbers. */
export function initialParameters(
  definitions: readonly ParameterDefinition[],
  random: NormalSource,
  stream: number,
): Record<string, Float32Array> {
  return Object.fromEntries(
    definitions.map(({ name, shape, init }, index) => {
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
      switch (init.kind) {
        case "normal":
          random.fillNormal(values, stream, index, 0);
          for (let i = 0; i < values.length; i++) values[i] *= init.std;
          break;
        case "ones":
          values.fill(1);
          break;
        case "constant":
          values.fill(init.value);
          break;
        case "zeros":
          break;
      }
      return [name, values];
    }),
  );
}
