import { NearfarError } from '../../errors.ts';
import { bertAccents, bertControls, ideographs, skipSpaceBefore, skipSpaceBehind } from './code-points.ts';
import type { NormalizerJson } from './tokenizer-json.ts';

/** What a tokenizer does to a text before it looks for words. */
export type Normalize = (text: string) => string;

export function createNormalizer(json: NormalizerJson | null | undefined): Normalize {
  if (!json) return (text) => text;
  switch (json.type) {
    case 'Sequence': {
      const steps = json.normalizers.map(createNormalizer);
      return (text) => steps.reduce((sofar, step) => step(sofar), text);
    }
    case 'BertNormalizer':
      return bertNormalizer(json);
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(json.type);
    case 'Lowercase':
      return lowerCase;
    case 'StripAccents':
      return (text) => text.replace(/\p{M}+/gu, '');
    case 'Strip':
      return (text) => {
        const start = json.strip_left ? skipSpaceBehind(text, 0) : 0;
        return text.slice(start, json.strip_right ? Math.max(start, skipSpaceBefore(text, text.length)) : text.length);
      };
    case 'Replace': {
      const { pattern, content } = json;
      if ('String' in pattern) return (text) => (pattern.String === '' ? text : text.replaceAll(pattern.String, () => content));
      const found = whiteSpacePattern(pattern.Regex);
      return (text) => text.replace(found, () => content);
    }
    case 'Prepend':
      return (text) => (text === '' ? text : json.prepend + text);
  }
}

/** The order of google-research/bert, `BasicTokenizer.tokenize`: clean, set ideographs apart, strip accents, lower case. */
function bertNormalizer(json: Extract<NormalizerJson, { type: 'BertNormalizer' }>): Normalize {
  const strips = json.strip_accents ?? json.lowercase;
  return (given) => {
    let text = given;
    // Tab, line feed and carriage return are white space here, though controls by their category; the class leaves them out.
    if (json.clean_text) text = text.replace(bertControls, '').replace(/\p{White_Space}/gu, ' ');
    if (json.handle_chinese_chars) text = text.replace(ideographs, ' $& ');
    if (strips) text = text.normalize('NFD').replace(bertAccents, '');
    return json.lowercase ? lowerCase(text) : text;
  };
}

/** Code point by code point, as Rust's `char::to_lowercase`: that of strings has another sigma at the end of a word. */
function lowerCase(text: string): string {
  return text.includes('Σ') ? text.replaceAll('Σ', 'σ').toLowerCase() : text.toLowerCase();
}

/** The only patterns in use with the models nearfar has are runs of white space (CLIP); any other might mean something else in JavaScript. */
function whiteSpacePattern(regex: string): RegExp {
  if (regex === '\\s+' || regex === '\\s') return new RegExp(regex.replace('\\s', '\\p{White_Space}'), 'gu');
  throw new NearfarError('unsupported', `the tokenizer replaces by the pattern ${regex}, which is not supported`, { details: { regex } });
}
