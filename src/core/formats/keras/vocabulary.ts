import type { Config } from './config.ts';
import { damaged, unsupported } from './problems.ts';
import type { Variables } from './variables.ts';

/** Name of the vocabulary file of a layer. */
export const VOCABULARY = 'vocabulary.txt';

/**
 * The terms of a layer that looks them up: those of its config, else those of the archive's file.
 * @throws {NearfarError} `unsupported` when the file holds none.
 */
export function vocabularyOf(config: Config, variables: Variables, keyType: 'string' | 'int64'): readonly (string | number)[] {
  const given = config.get('vocabulary');
  const isTerm = keyType === 'string' ? (term: unknown) => typeof term === 'string' : Number.isSafeInteger;
  if (given === undefined) {
    const text = variables.text(VOCABULARY);
    if (text === undefined) throw unsupported(`${config.where} has no vocabulary in the file: save the adapted model as a .keras archive`);
    const lines = linesOf(text);
    return keyType === 'string' ? lines : lines.map((line) => integer(line, config));
  }
  if (Array.isArray(given) && given.length > 0 && given.every(isTerm)) return given;
  throw unsupported(
    `${config.where} has a vocabulary that is no list of ${keyType === 'string' ? 'strings' : 'whole numbers'} in its config`,
  );
}

function integer(line: string, config: Config): number {
  const value = Number(line);
  if (Number.isSafeInteger(value) && line.trim() !== '') return value;
  throw damaged(`the vocabulary of ${config.where} has the line ${JSON.stringify(line.slice(0, 80))}, expected a whole number`);
}

/** As Python's `str.splitlines`, without empty lines at the end (Keras' `load_assets`). */
function linesOf(text: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Python ends lines at them.
  const lines = text.split(/\r\n|[\n\r\v\f\u001c-\u001e\u0085\u2028\u2029]/);
  while (lines.at(-1) === '') lines.pop();
  return lines;
}
