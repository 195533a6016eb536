/** @file What a run leaves behind: its log and its checkpoints. Of several ranks, rank 0 writes; the others hand over what is theirs. */
import type { Communicator } from "../distributed/index.js";
import type { FolderLock } from "../hub/folder-lock.js";
import type { ParameterStore } from "../runtime/index.js";
import { saveCheckpoint } from "./checkpoint.js";
import type { CheckpointState } from "./checkpoint-state.js";
import { MetricsLog, type MetricsRecord } from "./metrics-log.js";
import { onRankZero } from "./rank-store.js";
import { lastingSettings } from "./resume-config.js";
import type { RunDirectory } from "./run-directory.js";

export class RunRecord {
  private constructor(
    private readonly communicator: Communicator,
    /** null on all ranks but 0. */
    private readonly files: {
      readonly directory: RunDirectory;
      readonly log: MetricsLog;
      readonly lock: FolderLock;
    } | null,
  ) {}

  /** @param lastStep lines of later steps are dropped from the log; -1: all of them */
  static async open(
    communicator: Communicator,
    directory: RunDirectory | null,
    lock: FolderLock,
    lastStep: number,
  ): Promise<RunRecord> {
    const log = directory && (await MetricsLog.open(directory.metricsPath, lastStep));
    return new RunRecord(communicator, log && { directory, log, lock });
  }

  /** @throws UserError where another process has taken the directory */
  append(record: MetricsRecord): void {
    this.files?.lock.check();
    this.files?.log.append(record);
  }

  /** Forces the log to the disk. */
  sync(): void {
    this.files?.log.sync();
  }

  /**
   * Writes a checkpoint and the weights to use. Collective. Returns the checkpoint's folder; null on all ranks but 0.
   * @throws UserError where another process has taken the directory
   */
  save(
    state: CheckpointState,
    store: ParameterStore,
    { keep, ema, sharded }: { keep: number; ema: boolean; sharded: boolean },
  ): Promise<string | null> {
    return onRankZero(this.communicator, store, sharded, async (whole) => {
      const { directory, log, lock } = this.files!;
      lock.check();
      log.sync();
      const settings = lastingSettings(directory.config);
      const folder = await saveCheckpoint(directory.path, { ...state, settings }, whole, { keep, ema });
      await directory.saveModel(whole, { ema });
      return folder;
    });
  }

  close(): void {
    this.files?.log.close();
  }
}
