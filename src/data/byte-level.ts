/**
 * @file Byte-level pre-tokenization: the words that BPE never merges across, and one printable character for each byte.
 * Both are the ones every `tokenizer.json` with a "ByteLevel" pre-tokenizer means (Radford et al. 2019, GPT-2).
 */

/** Contractions, words, numbers and signs with one leading space; a run of white space leaves its last space to the word after it. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Calls `visit` with each pre-token of a text, in order; together they are the text. */
export function forEachWord(text: string, visit: (word: string) => void): void {
  // Bounded pieces, so that the list of matches of a book stays small.
  let start = 0;
  while (start < text.length) {
    const end = pieceEnd(text, start);
    for (const word of text.slice(start, end).match(WORDS) ?? []) visit(word);
    start = end;
  }
}

const PIECE = 1 << 16;

/**
 * The end of the next piece: just before a space or newline that stands between two characters that are not white space, where
 * no word crosses and no white space run is split. Without such a place within the piece the next one is looked for.
 */
function pieceEnd(text: string, start: number): number {
  for (let end = start + PIECE; end < text.length - 1; end++) {
    const code = text.charCodeAt(end);
    if (code !== 0x20 && code !== 0x0a) continue;
    if (isPlain(text.charCodeAt(end - 1)) && isPlain(text.charCodeAt(end + 1))) return end;
  }
  return text.length;
}

/** ASCII letters and digits: surely neither white space nor half of a surrogate pair. */
const isPlain = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39);

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
