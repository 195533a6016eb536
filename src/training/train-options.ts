/** @file What a training run is asked for. */
import type { RunConfig } from "../config/index.js";
import type { Communicator } from "../distributed/index.js";
import type { DeviceKind } from "../runtime/index.js";
import type { TrainEvent } from "./train-events.js";

export interface TrainOptions {
  readonly config: RunConfig;
  /** The run's directory. */
  readonly out: string;
  /** Continue the run in `out` from its latest checkpoint. */
  readonly resume?: boolean | undefined;
  /** When the latest checkpoint is damaged, use the newest whole one. Default: say so and stop. */
  readonly fallback?: boolean | undefined;
  /**
   * Aborting saves a checkpoint and ends the run within a step (of several ranks: a step or a validation). Before the first step `train` rejects with the signal's reason instead, and a
   * new run's directory is taken back.
   */
  readonly signal?: AbortSignal | undefined;
  /** Profile a step before the first one, and report it as an event. Default: false. */
  readonly profile?: boolean | undefined;
  /** Threads of the arithmetic. Default: the processors this process may use; with several ranks on a machine, its share of them. */
  readonly threads?: number | undefined;
  /** The processes that train together. Default: those that mpirun started with this one. */
  readonly communicator?: Communicator | undefined;
  /** Default "cpu". */
  readonly device?: DeviceKind | undefined;
  /** Called at once, in the order of events. What it throws ends the run without a checkpoint. */
  readonly onEvent?: ((event: TrainEvent) => void) | undefined;
}
