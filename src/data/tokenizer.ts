/**
 * @file The tokenizer: byte-level BPE in the `tokenizer.json` format. Ids 0, 1, 2 are [PAD], [CLS], [SEP], then the 256 bytes,
 * then the merges; decode(encode(text)) = text for every text that UTF-8 can write (a lone surrogate becomes U+FFFD).
 */
import { Tokenizer as Encoder } from "@huggingface/tokenizers";
import { UserError } from "../errors.js";
import { trainMerges, WordCounter } from "./bpe-trainer.js";
import { BYTE_ALPHABET, detached, forEachWord, tokenBytes } from "./byte-level.js";
import { LongWordEncoder } from "./long-word.js";
import {
  checkTokenizerJson,
  type SpecialIds,
  type TokenizerJson,
  tokenizerConfig,
  tokenizerJson,
} from "./tokenizer-json.js";
import { takeTurns } from "./turns.js";

export type { SpecialIds, TokenizerJson } from "./tokenizer-json.js";

export interface DecodeOptions {
  /** Leave special tokens out (default true); else they are written by name. Ids beyond the vocabulary never have a text. */
  readonly skipSpecial?: boolean;
  /** Stop at the first [SEP], the end token (default false). */
  readonly cutAtEnd?: boolean;
}

export interface TrainOptions {
  /** Size of the vocabulary, special tokens and bytes included: exactly what comes out. At least 259. */
  readonly vocabSize: number;
  /** Most distinct words held while counting; the rarest are forgotten where there are more. Default: 2^20. */
  readonly maxWords?: number;
  /** Aborting rejects with its reason, soon. */
  readonly signal?: AbortSignal | undefined;
}

/** Decodes ids that come in pieces: the pieces of text, put together, are the text of all ids (see `streamDecoder`). */
export interface StreamDecoder {
  /** The text of these ids; half a character at their end waits for the next ones. */
  push(ids: Ids): string;
  /** What is left: U+FFFD where the last ids have cut a character in two, else nothing. */
  end(): string;
}

type Ids = ArrayLike<number>;

const MAX_CACHED_WORDS = 1 << 16;
const MAX_CACHED_LENGTH = 64;
/** UTF-16 units of a word from which on the encoder of long ones is used. */
const LONG_WORD = 4096;

export class Tokenizer {
  /** Number of token ids, specials included. Learned global tokens of a model follow after it and have no text. */
  readonly vocabSize: number;
  readonly special: SpecialIds;
  /** Bytes of text that each id stands for; 0 for special tokens. [vocabSize] */
  readonly byteLengths: Uint16Array;

  private readonly bytes: readonly Uint8Array[];
  private readonly names: ReadonlyMap<number, string>;
  private readonly encoder: Encoder;
  /** undefined: no long word has come yet. */
  private longWords: LongWordEncoder | null | undefined;
  private words = new Map<string, Ids>();
  private olderWords = new Map<string, Ids>();

  private constructor(private readonly json: TokenizerJson) {
    this.special = checkTokenizerJson(json);
    const { vocab } = json.model;
    this.names = new Map(Object.entries(vocab).map(([token, id]) => [id, token]));
    this.vocabSize = this.names.size;
    const specials = new Set([...json.added_tokens.map(({ id }) => id), ...Object.values(this.special)]);
    this.bytes = Array.from({ length: this.vocabSize }, (_, id) =>
      specials.has(id) ? new Uint8Array(0) : (tokenBytes(this.names.get(id)!) ?? new Uint8Array(0)),
    );
    this.byteLengths = Uint16Array.from(this.bytes, (bytes) => bytes.length);
    // Without added tokens: a text that holds the characters "[SEP]" is a text that holds these characters.
    // The library asks for keys that other writers leave out.
    const unused = { normalizer: null, post_processor: null, decoder: null, added_tokens: [] };
    // It is given words, and would split them again where JavaScript sees white space.
    const pre_tokenizer = { ...json.pre_tokenizer, use_regex: false };
    this.encoder = new Encoder({ ...json, ...unused, pre_tokenizer }, {});
  }

  /**
   * Learns a vocabulary. The same texts in the same order give the same tokenizer.
   * @throws UserError when `vocabSize` is below 259 or above 2^24, or the texts hold too little for it.
   */
  static async train(
    texts: Iterable<string> | AsyncIterable<string>,
    { vocabSize, maxWords, signal }: TrainOptions,
  ): Promise<Tokenizer> {
    const merges = vocabSize - SPECIAL_COUNT - BYTE_ALPHABET.length;
    if (!Number.isInteger(vocabSize) || merges < 0 || vocabSize > 2 ** 24)
      throw new UserError(
        `expected a vocabulary size of at least ${SPECIAL_COUNT + BYTE_ALPHABET.length} (256 bytes and ${SPECIAL_COUNT} special tokens), ` +
          `got ${vocabSize}; give another, 8192 say`,
      );
    const counter = new WordCounter(maxWords);
    const { pause } = takeTurns(signal);
    for await (const text of texts) {
      counter.add(text);
      await pause();
    }
    return Tokenizer.fromJSON(tokenizerJson(await trainMerges(counter, merges, pause)));
  }

  /**
   * From the content of a `tokenizer.json`.
   * @throws UserError unless it is byte-level BPE with [PAD], [CLS] and [SEP], the kind this project trains.
   */
  static fromJSON(json: TokenizerJson): Tokenizer {
    return new Tokenizer(json);
  }

  /** The content of `tokenizer.json`, loadable by Hugging Face tokenizers and transformers in every language. */
  toJSON(): TokenizerJson {
    return this.json;
  }

  /** @param path a `tokenizer.json`, or the folder that holds one. @throws UserError when there is none or it does not fit. */
  static async load(path: string): Promise<Tokenizer> {
    const { loadTokenizerJson } = await import("./tokenizer-files.js");
    return Tokenizer.fromJSON(await loadTokenizerJson(path));
  }

  /** Writes `tokenizer.json` and `tokenizer_config.json` into a folder, which is made if need be. */
  async save(folder: string): Promise<void> {
    const { saveTokenizerJson } = await import("./tokenizer-files.js");
    await saveTokenizerJson(folder, this.json, tokenizerConfig());
  }

  /** The ids of a text, no special tokens added; "[SEP]" in the text is text. Ids equal those of Hugging Face's tokenizers. */
  encode(text: string): Int32Array {
    let ids = new Int32Array(Math.max(16, text.length >> 1));
    let length = 0;
    forEachWord(text, (word) => {
      const found = this.words.get(word) ?? this.encodeWord(word);
      if (length + found.length > ids.length) {
        const grown = new Int32Array(Math.max(2 * ids.length, length + found.length));
        grown.set(ids.subarray(0, length));
        ids = grown;
      }
      for (let i = 0; i < found.length; i++) ids[length++] = found[i];
    });
    return ids.slice(0, length);
  }

  /** One pre-token. Texts repeat their words, so the cache answers 95 times of 100 and the encoder the rest. */
  private encodeWord(word: string): Ids {
    if (word.length >= LONG_WORD) {
      if (this.longWords === undefined) this.longWords = LongWordEncoder.of(this.json);
      if (this.longWords) return this.longWords.encode(word);
    }
    const known = this.olderWords.get(word);
    const ids = known ?? this.encoder.encode(word, { add_special_tokens: false }).ids;
    if (word.length > MAX_CACHED_LENGTH) return ids;
    // A full cache becomes the older one: what is still in use comes back from there, the rest goes with it.
    if (this.words.size >= MAX_CACHED_WORDS) {
      this.olderWords = this.words;
      this.words = new Map();
    }
    this.words.set(detached(word), ids);
    return ids;
  }

  /**
   * The text of some ids. Never throws: bytes that are not UTF-8 (a character cut in two) become U+FFFD, ids beyond the
   * vocabulary (learned global tokens) stand for nothing.
   */
  decode(ids: Ids, { skipSpecial = true, cutAtEnd = false }: DecodeOptions = {}): string {
    const parts: Uint8Array[] = [];
    let size = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (cutAtEnd && id === this.special.sep) break;
      const named = !skipSpecial && this.isSpecial(id);
      const bytes = named ? new TextEncoder().encode(this.names.get(id)!) : this.bytes[id];
      if (bytes === undefined || bytes.length === 0) continue;
      parts.push(bytes);
      size += bytes.length;
    }
    const joined = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      joined.set(part, at);
      at += part.length;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(joined);
  }

  /** A decoder for ids that come in pieces: however they are cut, all pieces of text together are `decode` of all ids. */
  streamDecoder(): StreamDecoder {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (ids) => {
        let text = "";
        for (let i = 0; i < ids.length; i++) {
          const bytes = this.bytes[ids[i]];
          if (bytes !== undefined) text += decoder.decode(bytes, { stream: true });
        }
        return text;
      },
      end: () => decoder.decode(),
    };
  }

  /** Bytes of text that some ids stand for, special tokens counting nothing: the denominator of bits per byte. */
  countBytes(ids: Ids): number {
    let sum = 0;
    for (let i = 0; i < ids.length; i++) sum += this.byteLengths[ids[i]] ?? 0;
    return sum;
  }

  /** Whether an id is one of [PAD], [CLS], [SEP]. */
  isSpecial(id: number): boolean {
    return id === this.special.pad || id === this.special.cls || id === this.special.sep;
  }
}

const SPECIAL_COUNT = 3;
