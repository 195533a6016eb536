/**
 * @file Byte-level pre-tokenization: the words that BPE never merges across, and one printable character for each byte.
 * Both are the ones every `tokenizer.json` with a "ByteLevel" pre-tokenizer means (Radford et al. 2019, GPT-2).
 */

/**
 * Contractions, words, numbers and signs with one leading space; a run of white space leaves its last space to the word after it.
 * White space is Unicode's, as in the Rust library: `\s` of JavaScript lacks U+0085 and has U+FEFF.
 */
export const WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Calls `visit` with each pre-token of a text, in order; together they are the text. */
export function forEachWord(text: string, visit: (word: string) => void): void {
  // Bounded pieces, so that the list of matches of a book stays small.
  for (const piece of piecesOf(text)) for (const word of wordsOf(piece)) visit(word);
}

/** The pre-tokens of a piece. @param long UTF-16 units from which on it is not left to one expression, whose stack a word could fill */
export const wordsOf = (piece: string, long = 1 << 20): Iterable<string> =>
  piece.length < long ? (piece.match(WORDS) ?? []) : longWordsOf(piece);

const CONTRACTION = /'(?:s|t|re|ve|m|ll|d)/y;
const RUNS = ["\\p{L}", "\\p{N}", "[^\\p{White_Space}\\p{L}\\p{N}]"].map((kind) => ({
  first: new RegExp(` ?${kind}`, "uy"),
  more: new RegExp(`${kind}{1,4096}`, "uy"),
}));
const SPACES = { first: /\p{White_Space}/uy, more: /\p{White_Space}{1,4096}/uy };

/** Where a match that begins at `at` ends; -1: there is none. */
function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}

/** What `WORDS` matches, in steps of some thousand characters. */
function* longWordsOf(piece: string): Generator<string> {
  for (let start = 0, end = 0; start < piece.length; start = end) {
    end = endOf(CONTRACTION, piece, start);
    if (end < 0) {
      const run = RUNS.find(({ first }) => endOf(first, piece, start) >= 0) ?? SPACES;
      end = endOf(run.first, piece, start);
      for (let more = end; more >= 0; more = endOf(run.more, piece, end)) end = more;
      // The last white space belongs to what follows.
      if (run === SPACES && end < piece.length && end - start > 1) end--;
    }
    yield piece.slice(start, end);
  }
}

/** A text in pieces that no pre-token crosses, each as short as may be with more than `size` UTF-16 units. */
export function* piecesOf(text: string, size = 1 << 16): Generator<string> {
  for (let start = 0; start < text.length; ) {
    let end = start + size;
    do end++;
    while (end < text.length && !ENDS_BETWEEN.test(text.slice(end - 1, end + 1)));
    yield text.slice(start, end);
    start = end;
  }
}

/**
 * Two UTF-16 units that no pre-token has between them: white space behind something else; what is no letter behind a letter, no digit
 * behind a digit. Halves of surrogate pairs (Cs) may be letters or digits. What comes next does not depend on what was before.
 */
const ENDS_BETWEEN = /^(?:\P{White_Space}\p{White_Space}|\p{L}[^\p{L}\p{Cs}]|\p{N}[^\p{N}\p{Cs}])$/u;

/** The same string on memory of its own: a match of 13 units or more would keep the whole text it was found in alive. */
export const detached = (word: string): string =>
  word.length < 13 ? word : (JSON.parse(JSON.stringify(word)) as string);

function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

/** The character that stands for each byte: itself where printable in Latin-1, else U+0100 and up in byte order. */
export const BYTE_TO_CHARACTER: readonly string[] = byteCharacters();

/** The inverse of {@link BYTE_TO_CHARACTER}. */
export const CHARACTER_TO_BYTE: ReadonlyMap<string, number> = new Map(
  BYTE_TO_CHARACTER.map((character, byte) => [character, byte]),
);

/** All 256 byte characters in code point order: the order in which a vocabulary lists them. */
export const BYTE_ALPHABET: readonly string[] = [...BYTE_TO_CHARACTER].sort();

/** The bytes of a token written in byte characters; null when it holds any other character. */
export function tokenBytes(token: string): Uint8Array | null {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHARACTER_TO_BYTE.get(token[i]);
    if (byte === undefined) return null;
    bytes[i] = byte;
  }
  return bytes;
}
