/**
 * @file What may change when a run is resumed: its budget, how often it reports and saves, where its files and its moments
 * lie, and how text is drawn. Everything else is what the checkpoint was made with, and a change would silently make another run:
 * one that is asked for is refused, and so is one that was made in `config.json` by hand.
 */
import { type RunConfig, runConfigSchema } from "../config/index.js";
import { isTree, show } from "../config/layers.js";
import { UserError } from "../errors.js";
import type { CheckpointState } from "./checkpoint-state.js";
import { budgetUsed } from "./learning-rate.js";

const changeable = [
  "preset",
  "generation",
  "data.train",
  "data.valid",
  "data.tokenizer",
  "data.onBadRecord",
  "training.shardOptimizer",
  // The same numbers, to the bit.
  "training.activationCheckpointing",
  "training.backwardPieces",
  "training.maxSteps",
  "training.maxMinutes",
  "training.maxTokens",
  "training.evalEvery",
  "training.evalSequences",
  "training.checkpointEvery",
  "training.keepCheckpoints",
  "training.logEvery",
];

const mayChange = (path: string): boolean =>
  changeable.some((open) => path === open || path.startsWith(`${open}.`));

function differences(before: unknown, after: unknown, path: string): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (!isTree(before) || !isTree(after)) return [path];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) => differences(before[key], after[key], path ? `${path}.${key}` : key));
}

/** Paths of the settings that differ and may not. */
const lastingDifferences = (before: RunConfig, after: RunConfig): string[] =>
  differences(before, after, "").filter((path) => !mayChange(path));

/**
 * Throws a UserError that names every setting of `wanted` that may not differ from the run's own, `stored`.
 * @param instead what else can be done. Default: a new run
 */
export function checkResumable(
  stored: RunConfig,
  wanted: RunConfig,
  instead = "or start a new run with another --out",
): void {
  const refused = lastingDifferences(runConfigSchema.parse(stored), runConfigSchema.parse(wanted));
  if (refused.length === 0) return;
  throw new UserError(
    `A resumed run keeps its settings, but these differ: ${refused.join(", ")}. ` +
      `Leave them out to continue, ${instead}.`,
  );
}

/**
 * Refuses a budget that is asked for and used up already: no step would be taken, and it would stay the run's. The run's own may be used up:
 * what a kill left undone at the end is done then.
 *
 * @throws UserError naming it, and what the run has trained
 */
export function checkBudget(
  { training: before }: RunConfig,
  { training: wanted }: RunConfig,
  { step, tokens, seconds }: Pick<CheckpointState, "step" | "tokens" | "seconds">,
): void {
  const minutes = seconds / 60;
  const budgets = [
    ["maxSteps", step, "steps", "--max-steps"],
    ["maxTokens", tokens, "tokens", "--max-tokens"],
    ["maxMinutes", Number(minutes.toFixed(minutes < 1 ? 4 : 1)), "minutes", "--max-minutes"],
  ] as const;
  if (budgets.every(([name]) => before[name] === wanted[name])) return;
  const used = { steps: step, tokens, seconds };
  const none = { maxSteps: null, maxTokens: null, maxMinutes: null };
  const spent = budgets.filter(([name]) => budgetUsed({ ...none, [name]: wanted[name] }, used) >= 1);
  if (spent.length === 0) return;
  const all = spent.map(([name, done, unit, flag]) => `${done} of the ${wanted[name]} ${unit} of ${flag}`);
  throw new UserError(
    `The run has trained ${all.join(" and ")} already: a budget counts from the beginning of the run, what came before a resume included. ` +
      `Give a larger ${spent.map(([, , , flag]) => flag).join(" and ")} to go on; nothing has been changed.`,
  );
}

/** The settings that may not change, for a checkpoint to remember. */
export const lastingSettings = (config: RunConfig): NonNullable<CheckpointState["settings"]> =>
  JSON.parse(JSON.stringify(lasting(runConfigSchema.parse(config), "")));

function lasting(tree: object, prefix: string): object {
  const entries = Object.entries(tree).filter(([name]) => !mayChange(prefix + name));
  return Object.fromEntries(
    entries.map(([name, value]) => [name, isTree(value) ? lasting(value, `${prefix}${name}.`) : value]),
  );
}

/**
 * Holds the configuration in the file at `path` against what a checkpoint was made with. A setting that the version which wrote the
 * checkpoint had not has its default; checkpoints of older versions know their seed alone.
 *
 * @throws UserError naming the settings that were changed
 */
export function checkUnchanged(
  { step, seed, settings }: Pick<CheckpointState, "step" | "seed" | "settings">,
  config: RunConfig,
  path: string,
): void {
  const stored = runConfigSchema.safeParse(settings ?? { ...config, training: { ...config.training, seed } });
  if (!stored.success) return; // another version's
  const now = runConfigSchema.parse(config);
  const changed = lastingDifferences(stored.data, now).map(
    (name) => `${name} was ${show(valueAt(stored.data, name))} and is ${show(valueAt(now, name))}`,
  );
  if (changed.length === 0) return;
  throw new UserError(
    `${path} was changed since the checkpoint of step ${step} was made with it: ${changed.join(", ")}. ` +
      "Bring back the file as it was to continue, or start a new run with another --out.",
  );
}

const valueAt = (tree: unknown, path: string): unknown =>
  path.split(".").reduce((inner, name) => (isTree(inner) ? inner[name] : undefined), tree);
