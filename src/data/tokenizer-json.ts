/**
 * @file The content of `tokenizer.json` and `tokenizer_config.json` as Hugging Face defines them: made here, checked here.
 */
import { UserError } from "../errors.js";
import type { TrainedMerges } from "./bpe-trainer.js";
import { BYTE_ALPHABET } from "./byte-level.js";

/** Ids of the special tokens: padding, start of a condition, end of a part or document. */
export interface SpecialIds {
  readonly pad: number;
  readonly cls: number;
  readonly sep: number;
}

export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** The parts of `tokenizer.json` used here. */
export interface TokenizerJson {
  readonly version: string;
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedTokenJson[];
  readonly normalizer: null;
  readonly pre_tokenizer: Record<string, unknown>;
  readonly post_processor: null;
  readonly decoder: Record<string, unknown>;
  readonly model: {
    readonly type: "BPE";
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (readonly [string, string])[];
    readonly [option: string]: unknown;
  };
}

/** Names of the special tokens in the order of their ids, from 0. */
export const SPECIAL_TOKENS = ["[PAD]", "[CLS]", "[SEP]"] as const;

const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };

/** Special tokens, then all 256 bytes, then the merged tokens. */
export function tokenizerJson({ merges, tokens }: TrainedMerges): TokenizerJson {
  const strings = [...SPECIAL_TOKENS, ...BYTE_ALPHABET, ...tokens];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: BYTE_LEVEL,
    post_processor: null,
    decoder: BYTE_LEVEL,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(strings.map((string, id) => [string, id])),
      merges,
    },
  };
}

/** The content of `tokenizer_config.json`: tells transformers which tokens pad, start and end. */
export const tokenizerConfig = (): Record<string, unknown> => ({
  tokenizer_class: "PreTrainedTokenizerFast",
  pad_token: "[PAD]",
  cls_token: "[CLS]",
  sep_token: "[SEP]",
  clean_up_tokenization_spaces: false,
  added_tokens_decoder: Object.fromEntries(
    SPECIAL_TOKENS.map((content, id) => [
      id,
      { content, lstrip: false, normalized: false, rstrip: false, single_word: false, special: true },
    ]),
  ),
});

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The special ids of a tokenizer of the kind made here: byte-level BPE, every byte in the vocabulary, ids without gaps.
 * @param where named in the messages. @throws UserError that says what does not fit.
 */
export function checkTokenizerJson(json: unknown, where = "tokenizer.json"): SpecialIds {
  const refuse = (got: string): never => {
    throw new UserError(
      `${where}: expected byte-level BPE with [PAD], [CLS], [SEP] and all 256 bytes, got ${got}; ` +
        "train one with `npx moe-diffuseq tokenizer train`",
    );
  };
  if (!isRecord(json) || !isRecord(json.model)) return refuse("something that is not a tokenizer");
  const { model, pre_tokenizer: pre } = json;
  if (model.type !== "BPE") return refuse(`model type ${JSON.stringify(model.type)}`);
  if (!isRecord(pre) || pre.type !== "ByteLevel" || pre.add_prefix_space === true || pre.use_regex === false)
    return refuse(`pre-tokenizer ${JSON.stringify(pre)}`);
  if (json.normalizer) return refuse("a normalizer, which would change the text");
  if (!isRecord(model.vocab) || !Array.isArray(model.merges)) return refuse("no vocabulary or no merges");
  const added = json.added_tokens;
  if (!Array.isArray(added) || !added.every((token) => isRecord(token) && typeof token.id === "number"))
    return refuse("no list of added_tokens with their ids");
  const { vocab } = model;
  const ids = new Set(Object.values(vocab));
  for (let id = 0; id < ids.size; id++) if (!ids.has(id)) return refuse(`no token with id ${id}`);
  if (ids.size !== Object.keys(vocab).length) return refuse("two tokens with one id");
  const lost = [...SPECIAL_TOKENS, ...BYTE_ALPHABET].find((token) => vocab[token] === undefined);
  if (lost !== undefined) return refuse(`a vocabulary without ${JSON.stringify(lost)}`);
  const idOf = (token: string): number => vocab[token] as number;
  return { pad: idOf("[PAD]"), cls: idOf("[CLS]"), sep: idOf("[SEP]") };
}
