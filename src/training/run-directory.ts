/**
 * @file A run is a directory. What is where:
 *
 *     config.json             the whole configuration
 *     tokenizer.json          the vocabulary, and tokenizer_config.json (written by the data room's `Tokenizer.save`)
 *     data.json               size and checksum of the texts, checksum of the vocabulary (see `data-record.ts`)
 *     model.safetensors       the weights to use: averaged ones where weights are averaged
 *     generation_config.json  defaults for drawing text, laid over those of config.json; may be edited
 *     metrics.jsonl           what training measured
 *     profile.txt .svg .json  where the time of a step goes (train --profile)
 *     checkpoints/            everything needed to continue
 */
import { existsSync, realpathSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type GenerationConfig, mergeConfig, type RunConfig } from "../config/index.js";
import { explainReadError, isMissing, UserError } from "../errors.js";
import { makeFolder, removeTemporaryFiles, writeFileAtomic } from "../hub/durable-file.js";
import { readGenerationConfig, readRunConfig, requireRunConfig } from "../hub/run-config.js";
import { RUN_FILES, STARTING_FILES } from "../hub/run-files.js";
import { readSafetensorsHeader, writeSafetensors } from "../hub/safetensors.js";
import { version } from "../version.js";
import {
  type CheckpointStore,
  listCheckpoints,
  removeStaleCheckpoints,
  shapedTensors,
} from "./checkpoint.js";
import { readMetrics } from "./metrics-log.js";

const VOCABULARY = ["tokenizer.json", "tokenizer_config.json"];

/** The settings of generation of a run that is on the disk. */
interface StoredGeneration {
  /** Those of config.json, without what was edited beside it. */
  readonly before: GenerationConfig;
  /** What is to become different. */
  readonly changes: Partial<GenerationConfig>;
}

/** What stood under the names that a start writes, and is brought back where it fails; null: nothing. */
type Replaced = ReadonlyMap<string, string | null>;
const NOTHING: Replaced = new Map(STARTING_FILES.map((name) => [name, null]));

/** What helps where there is no run to resume. */
export const NOTHING_TO_RESUME = "To begin a new run there, leave out --resume.";

export class RunDirectory {
  readonly configPath: string;
  readonly generationConfigPath: string;
  readonly tokenizerPath: string;
  readonly modelPath: string;
  readonly metricsPath: string;
  readonly dataPath: string;
  /** Files that were there before the run and stay as they are: a vocabulary that it uses. */
  private readonly kept: readonly string[];

  private constructor(
    readonly path: string,
    readonly config: RunConfig,
    /** null: a new run's, which is written whole. */
    private readonly stored: StoredGeneration | null = null,
    private readonly replaced = NOTHING,
  ) {
    this.kept = usesVocabularyIn(path, config) ? VOCABULARY : [];
    this.configPath = join(path, "config.json");
    this.generationConfigPath = join(path, "generation_config.json");
    this.tokenizerPath = join(path, "tokenizer.json");
    this.modelPath = join(path, "model.safetensors");
    this.metricsPath = join(path, "metrics.jsonl");
    this.dataPath = join(path, "data.json");
  }

  /** Whether there is a run in `path`: a configuration or a checkpoint. */
  static async holdsRun(path: string): Promise<boolean> {
    return existsSync(join(path, "config.json")) || (await listCheckpoints(path)).length > 0;
  }

  /**
   * The configuration of a run that was killed before its first checkpoint, so that nothing of its training is kept: it may be begun anew.
   * null: there is no run, or one with something to lose, such as a log that goes on beyond where its first checkpoint was.
   */
  static async untrained(path: string): Promise<RunConfig | null> {
    if (existsSync(join(path, "model.safetensors")) || (await listCheckpoints(path)).length > 0) return null;
    const config = await readRunConfig(path, { edited: false }).catch(() => null); // damaged: it says nothing
    const late = config && readMetrics(join(path, "metrics.jsonl")).at(-1);
    return late && late.step > config.training.checkpointEvery ? null : config;
  }

  /**
   * Makes the directory of a new run and writes its configuration.
   * @param options.anew over a run in which nothing is trained (`untrained`), begin anew. Default: refuse it as any other
   * Throws a UserError when there is a run already, or a file that a run would write over, or the place may not be written.
   */
  static async create(path: string, config: RunConfig, { anew = false } = {}): Promise<RunDirectory> {
    const before = anew ? await RunDirectory.untrained(path) : null;
    if (!before && (await RunDirectory.holdsRun(path))) {
      throw new UserError(
        `${path} holds a run already. Pass --resume to continue it, or another --out for a new one.`,
      );
    }
    const run = new RunDirectory(path, config, null, before ? await ownConfig(path) : undefined);
    // Of a run that is begun anew, all are its own but the vocabulary that it used.
    const others = !before ? RUN_FILES : usesVocabularyIn(path, before) ? VOCABULARY : [];
    const taken = others.find((name) => !run.kept.includes(name) && existsSync(join(path, name)));
    if (taken)
      throw new UserError(
        `${path} holds a file ${taken}, which is no run's and which a run would write over. ` +
          "Give --out a folder of its own, or take the file away.",
      );
    await makeFolder(path);
    if (before) {
      await removeTemporaryFiles(path);
      await removeStaleCheckpoints(path);
    }
    await run.writeConfig().catch(async (error: unknown) => {
      await run.withdraw();
      throw error;
    });
    return run;
  }

  /**
   * Takes back what a start wrote: after one that failed, the same command with the mistake mended must not find a run. Never throws: the
   * error of the start says more.
   */
  async withdraw(): Promise<void> {
    for (const [name, text] of this.replaced) {
      const path = join(this.path, name);
      if (this.kept.includes(name)) continue;
      await (text === null ? rm(path, { force: true }) : writeFileAtomic(path, text)).catch(() => {});
    }
  }

  /** Writes the vocabulary, unless the run uses one that is there. */
  async writeTokenizer(tokenizer: { save(folder: string): Promise<void> }): Promise<void> {
    if (this.kept.length === 0) await tokenizer.save(this.path);
  }

  /** Opens the directory of a run. Throws a UserError when there is none, with `instead` (a sentence) after it, or its configuration is broken. */
  static async open(path: string, instead?: string): Promise<RunDirectory> {
    const before = await requireRunConfig(path, { edited: false, instead });
    const config = await requireRunConfig(path);
    return new RunDirectory(path, config, { before: before.generation, changes: {} });
  }

  /**
   * The same run with another configuration (a larger budget, say), which `writeConfig` makes its own. What was edited in
   * generation_config.json stays, but for settings that are other than in config.json: those were asked for.
   */
  withConfig(config: RunConfig): RunDirectory {
    const before = this.stored?.before ?? this.config.generation;
    const asked = Object.entries(config.generation).filter(
      ([name, value]) => value !== before[name as keyof GenerationConfig],
    );
    const changes: Partial<GenerationConfig> = Object.fromEntries(asked);
    const generation = { ...this.config.generation, ...changes };
    return new RunDirectory(this.path, { ...config, generation }, { before, changes });
  }

  /** Writes the configuration, and the settings of generation once more by themselves. */
  async writeConfig(): Promise<void> {
    const { stored, config } = this;
    // What was edited is not taken into config.json, or it would count as asked for another setting where the same is asked for again.
    const own = stored ? { ...config, generation: { ...stored.before, ...stored.changes } } : config;
    // A new run is one from its config.json on. Of a stored one, what was asked for must not be in config.json alone, as a kill could
    // leave it: it would count as known, and what was edited would stay.
    if (stored) await this.writeGeneration();
    await writeFileAtomic(this.configPath, `${JSON.stringify(own, null, 2)}\n`);
    if (!stored) await this.writeGeneration();
  }

  /** A file that is there stays as it is, but for what is to become different. */
  private async writeGeneration(): Promise<void> {
    const there = this.stored ? await readGenerationConfig(this.path) : undefined;
    const changes = this.stored?.changes ?? {};
    if (there !== undefined && Object.keys(changes).length === 0) return;
    const generation = there === undefined ? this.config.generation : mergeConfig(there, changes);
    await writeFileAtomic(this.generationConfigPath, `${JSON.stringify(generation, null, 2)}\n`);
  }

  /**
   * Writes `model.safetensors`: averaged weights where the store averages (`ema`, default true), else the values; of
   * buffers without an average the values.
   */
  async saveModel(store: CheckpointStore, { ema = true }: { ema?: boolean } = {}): Promise<void> {
    const weights = await store.read("value");
    if (ema) Object.assign(weights, await store.read("ema"));
    await writeSafetensors(this.modelPath, shapedTensors(store, weights), {
      format: "moe-diffuseq",
      version,
    });
  }

  /** How `model.safetensors` is damaged, in a sentence, with `mend` after it; null: it is whole. */
  async damageOfModel(mend: string): Promise<string | null> {
    if (!existsSync(this.modelPath)) return `${this.modelPath} is missing. ${mend}`;
    try {
      await readSafetensorsHeader(this.modelPath, mend);
      return null;
    } catch (error) {
      if (error instanceof UserError) return error.message;
      throw error;
    }
  }
}

/** The configuration of a run in which nothing is trained: its other files are made anew whenever it is resumed. */
async function ownConfig(path: string): Promise<Replaced> {
  const read = (name: string) =>
    readFile(join(path, name), "utf8").catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw explainReadError(error, join(path, name));
    });
  const names = ["config.json", "generation_config.json"];
  return new Map(await Promise.all(names.map(async (name) => [name, await read(name)] as const)));
}

/** Whether `data.tokenizer` is the tokenizer.json of this folder (`tokenizer train --out` of the same folder). */
function usesVocabularyIn(path: string, { data: { tokenizer } }: RunConfig): boolean {
  const own = join(path, "tokenizer.json");
  if (tokenizer === null || !existsSync(own)) return false;
  return [tokenizer, join(tokenizer, "tokenizer.json")].some(
    (file) => existsSync(file) && realpathSync(file) === realpathSync(own),
  );
}
