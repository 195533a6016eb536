/** @file What a run leaves behind: its log and its checkpoints. Of several ranks, rank 0 writes; the others hand over what is theirs. */
import type { Communicator } from "../distributed/index.js";
import type { FolderLock } from "../hub/folder-lock.js";
import type { ParameterStore } from "../runtime/index.js";
import { type OnNotice, saveCheckpoint } from "./checkpoint.js";
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
    private readonly onNotice: OnNotice,
  ) {}

  /** @param lastStep lines of later steps are dropped from the log; -1: all of them */
  static async open(
    communicator: Communicator,
    directory: RunDirectory | null,
    lock: FolderLock,
    lastStep: number,
    onNotice: OnNotice,
  ): Promise<RunRecord> {
    const log = directory && (await MetricsLog.open(directory.metricsPath, lastStep));
    return new RunRecord(communicator, log && { directory, log, lock }, onNotice);
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
      const { onNotice } = this;
      const options = { keep, ema, onNotice };
      const folder = await saveCheckpoint(directory.path, { ...state, settings }, whole, options);
      await directory.saveModel(whole, { ema });
      return folder;
    });
  }

  /** Writes the weights to use anew from those of the checkpoint of `step`, which the store has, where they are missing or damaged. Collective. */
  async mendModel(
    step: number,
    store: ParameterStore,
    { ema, sharded }: { ema: boolean; sharded: boolean },
  ): Promise<void> {
    await onRankZero(this.communicator, store, sharded, async (whole) => {
      const { directory, lock } = this.files!;
      const damage = await directory.damageOfModel(`It is written anew from the checkpoint of step ${step}.`);
      if (damage === null) return;
      lock.check();
      await directory.saveModel(whole, { ema });
      this.onNotice(damage);
    });
  }

  close(): void {
    this.files?.log.close();
  }
}
