/** @file How a run begins: rank 0 makes or opens its directory, and all ranks learn what is in it and hold their texts against rank 0's. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import type { RunConfig } from "../config/index.js";
import { type Corpus, refuseInside, Tokenizer } from "../data/index.js";
import { fingerprintOf } from "../data/tokenizer-fingerprint.js";
import { broadcastJson, type Communicator, sumOverRanks } from "../distributed/index.js";
import { UserError } from "../errors.js";
import { makeFolder, removeMadeFolders, removeTemporaryFiles } from "../hub/durable-file.js";
import { type FolderLock, lockFolder } from "../hub/folder-lock.js";
import { latestCheckpoint, type OnNotice, removeStaleCheckpoints } from "./checkpoint.js";
import type { CheckpointState } from "./checkpoint-state.js";
import { recordTexts } from "./data-record.js";
import { checkBudget, checkResumable, checkUnchanged } from "./resume-config.js";
import { NOTHING_TO_RESUME, RunDirectory } from "./run-directory.js";
import type { TrainingData } from "./training-data.js";

interface Opening {
  readonly config: RunConfig;
  readonly out: string;
  readonly resume?: boolean;
  readonly fallback?: boolean;
  readonly onNotice?: OnNotice;
}

/** What all ranks know of a run. */
interface Start {
  readonly config: RunConfig;
  /** The vocabulary and the state it continues from; null at a new run. */
  readonly tokenizer: ReturnType<Tokenizer["toJSON"]> | null;
  readonly state: CheckpointState | null;
}

export interface OpenedRun extends Start {
  /** null on all ranks but 0. It holds the new configuration, which is not written yet when the run is resumed. */
  readonly directory: RunDirectory | null;
  /** The checkpoint to continue from; null at a new run, and on all ranks but 0. */
  readonly checkpointFolder: string | null;
  /** The directory's; of ranks but 0, which write nothing, one that does nothing. */
  readonly lock: FolderLock;
  /** After a start that failed: takes back what a new run has written, and leaves. A resumed one has written nothing yet. */
  readonly withdraw: () => Promise<void>;
}

/** A directory that no other process is at work in. */
type Held = Pick<OpenedRun, "lock" | "withdraw"> & {
  readonly directory: RunDirectory;
  /** The configuration that a resumed run had. */
  readonly before?: RunConfig;
};

const nothing = async () => {};
const noLock: FolderLock = { release: nothing, held: () => true, check: () => {} };

/** Collective. @throws UserError on rank 0 for whatever is wrong with the directory */
export async function openRun(opening: Opening, communicator: Communicator): Promise<OpenedRun> {
  if (communicator.rank > 0) {
    const start = await broadcastJson<Start>(communicator, null);
    return { ...start, directory: null, checkpointFolder: null, lock: noLock, withdraw: nothing };
  }
  const held = await (opening.resume ? storedDirectory(opening) : newDirectory(opening));
  const { directory } = held;
  try {
    const checkpoint = opening.resume ? await checkpointToContinue(held, opening) : null;
    const tokenizer = checkpoint ? (await Tokenizer.load(directory.tokenizerPath)).toJSON() : null;
    const start: Start = { config: directory.config, tokenizer, state: checkpoint?.state ?? null };
    await broadcastJson(communicator, start);
    return { ...start, ...held, checkpointFolder: checkpoint?.folder ?? null };
  } catch (error) {
    await held.withdraw();
    throw error;
  }
}

/** The folder is taken before anything in it is looked at or written: of two starts at once, one finds it taken and touches nothing. */
async function newDirectory({ config, out, onNotice }: Opening): Promise<Held> {
  await refuseInside(out, [...config.data.train, ...config.data.valid]);
  const made = await makeFolder(out);
  const removeFolder = () => removeMadeFolders(out, made);
  const lock = await lockFolder(out).catch(async (error: unknown) => {
    await removeFolder();
    throw error;
  });
  try {
    const anew = (await RunDirectory.untrained(out)) !== null;
    const directory = await RunDirectory.create(out, config, { anew });
    if (anew) onNotice?.(`${out} held a run that was stopped before its first checkpoint: it is begun anew.`);
    const withdraw = async () => {
      if (lock.held()) await directory.withdraw();
      await lock.release();
      await removeFolder();
    };
    return { directory, lock, withdraw };
  } catch (error) {
    await lock.release();
    await removeFolder();
    throw error;
  }
}

async function storedDirectory({ config, out }: Opening): Promise<Held> {
  const stored = await RunDirectory.open(out, NOTHING_TO_RESUME);
  const anew = "or leave out --resume: it was stopped before its first checkpoint, and begins anew";
  checkResumable(stored.config, config, (await RunDirectory.untrained(out)) ? anew : undefined);
  const lock = await lockFolder(out);
  const directory = stored.withConfig(config);
  return { directory, before: stored.config, lock, withdraw: () => lock.release() };
}

/** The newest whole checkpoint; null: the run was stopped before its first. */
async function checkpointToContinue(
  { directory, before }: Pick<Held, "directory" | "before">,
  { fallback = false, onNotice }: Opening,
) {
  const { path, modelPath, config, configPath } = directory;
  await removeStaleCheckpoints(path, onNotice);
  await removeTemporaryFiles(path);
  const checkpoint = await latestCheckpoint(path, { fallback });
  if (checkpoint) {
    checkUnchanged(checkpoint.state, config, configPath);
    checkBudget(before ?? config, config, checkpoint.state);
    const { tokenizer } = config.data;
    if (tokenizer !== null && tokenizer !== before?.data.tokenizer)
      await requireOwnVocabulary(tokenizer, directory);
  }
  // A model is written after a checkpoint: without one, starting over would put an untrained model in its place.
  if (!checkpoint && existsSync(modelPath))
    throw new UserError(
      `${path} has a trained model but no checkpoint to continue from (checkpoints/ is empty or gone). ` +
        `Bring its checkpoints back, remove ${modelPath} to start over here, or start a new run with another --out.`,
    );
  return checkpoint;
}

/** A resumed run keeps its vocabulary. @throws UserError where another is asked for */
async function requireOwnVocabulary(path: string, { tokenizerPath }: RunDirectory): Promise<void> {
  const [asked, own] = [await Tokenizer.load(path), await Tokenizer.load(tokenizerPath)];
  if (fingerprintOf(asked) !== fingerprintOf(own))
    throw new UserError(
      `data.tokenizer: ${path} has another vocabulary than ${tokenizerPath}, which the run began with and keeps; leave --tokenizer out.`,
    );
}

/**
 * Keeps the configuration, a new run's vocabulary, and what the texts are.
 * @throws UserError where another process has taken the directory
 */
export async function keepStart(
  run: Pick<OpenedRun, "state" | "lock">,
  directory: RunDirectory,
  data: TrainingData,
): Promise<void> {
  run.lock.check();
  if (!run.state) await directory.writeTokenizer(data.tokenizer);
  await directory.writeConfig();
  await recordTexts(directory.dataPath, data.texts);
}

/** @throws UserError where conditions are to be left out, and no text gives any */
export function requireConditions(
  { diffusion, data }: RunConfig,
  { texts }: Pick<TrainingData, "texts">,
): void {
  if (diffusion.conditionDropout > 0 && data.gapRate === 0 && !texts.pairs)
    throw new UserError(
      `diffusion.conditionDropout: expected 0, got ${diffusion.conditionDropout}; it leaves out what is given, and these texts give nothing: ` +
        'train on pairs {"src", "trg"}, or with gaps (data.gapRate), or leave it out',
    );
}

type SameTexts = Pick<TrainingData, "trainCorpus" | "validCorpus"> & Partial<Pick<TrainingData, "texts">>;

/**
 * Ranks take turns at rows of one text: they must have read the same, with one vocabulary. Collective.
 *
 * @throws UserError on all ranks, naming those that differ from rank 0
 */
export async function requireSameTexts(
  { trainCorpus, validCorpus, texts }: SameTexts,
  communicator: Communicator,
): Promise<void> {
  if (communicator.size === 1) return;
  // Where the texts come from files, their checksums were taken when these were read; a cache is not read again for it.
  const read = texts?.train.length
    ? [...texts.train, ...texts.valid].map(({ bytes, sha256 }) => [bytes, sha256])
    : digest([trainCorpus, validCorpus]);
  const own = JSON.stringify([read, texts?.tokenizer]);
  const first = await broadcastJson(communicator, own);
  const differs = new Float64Array(communicator.size);
  if (own !== first) differs[communicator.rank] = 1;
  const all = await sumOverRanks(communicator, { differs });
  const ranks = [...all.differs.keys()].filter((rank) => all.differs[rank] > 0);
  if (ranks.length > 0)
    throw new UserError(
      `Expected the same texts and vocabulary (data.tokenizer) on every rank, but rank ${ranks.join(", ")} read others than rank 0. ` +
        "Put them on a file system that all machines share, or copy the same files to the same place on each.",
    );
}

function digest(corpora: readonly Corpus[]): string {
  const hash = createHash("sha256");
  for (const corpus of corpora)
    for (let document = 0; document < corpus.size; document++) {
      hash.update(`${corpus.length(document)};`);
      hash.update(corpus.ids(document));
      hash.update(corpus.given(document));
    }
  return hash.digest("hex");
}
