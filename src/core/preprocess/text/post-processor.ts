import { NearfarError } from '../../errors.ts';
import type { Piece, PostProcessorJson } from './tokenizer-json.ts';

/** Tokens and which of two texts each belongs to. */
export interface Encoding {
  readonly ids: readonly number[];
  readonly typeIds: readonly number[];
}

/** Puts special tokens around one text or two. */
export interface PostProcessor {
  /** How many tokens it adds. */
  readonly added: (hasPair: boolean) => number;
  readonly process: (first: readonly number[], second: readonly number[] | undefined) => Encoding;
}

export function createPostProcessor(json: PostProcessorJson | null | undefined): PostProcessor {
  const { single, pair, special } = templateOf(json);
  const idsOf = (name: string): readonly number[] => {
    const ids = Object.hasOwn(special, name) ? special[name] : undefined;
    if (ids) return ids;
    throw new NearfarError('invalid-argument', `the tokenizer's template has no token ${name}`, { details: { token: name } });
  };
  return {
    added: (hasPair) =>
      (hasPair ? pair : single).reduce((sum, piece) => sum + ('SpecialToken' in piece ? idsOf(piece.SpecialToken.id).length : 0), 0),
    process: (first, second) => {
      const ids: number[] = [];
      const typeIds: number[] = [];
      for (const piece of second === undefined ? single : pair) {
        const isSpecial = 'SpecialToken' in piece;
        const type = isSpecial ? piece.SpecialToken.type_id : piece.Sequence.type_id;
        for (const id of isSpecial ? idsOf(piece.SpecialToken.id) : ((piece.Sequence.id === 'A' ? first : second) ?? [])) {
          ids.push(id);
          typeIds.push(type);
        }
      }
      return { ids, typeIds };
    },
  };
}

interface Template {
  readonly single: readonly Piece[];
  readonly pair: readonly Piece[];
  readonly special: Readonly<Record<string, readonly number[]>>;
}

function templateOf(json: PostProcessorJson | null | undefined): Template {
  switch (json?.type) {
    case undefined:
    // Moves offsets only.
    case 'ByteLevel':
      return { single: [text('A', 0)], pair: [text('A', 0), text('B', 1)], special: {} };
    case 'TemplateProcessing': {
      const special = Object.fromEntries(Object.entries(json.special_tokens).map(([name, { ids }]) => [name, ids]));
      return { single: json.single, pair: json.pair, special };
    }
    case 'BertProcessing': {
      const { cls, sep } = json;
      const single = [token(cls[0], 0), text('A', 0), token(sep[0], 0)];
      return { single, pair: [...single, text('B', 1), token(sep[0], 1)], special: { [cls[0]]: [cls[1]], [sep[0]]: [sep[1]] } };
    }
    case 'RobertaProcessing': {
      const { cls, sep } = json;
      const single = [token(cls[0], 0), text('A', 0), token(sep[0], 0)];
      const pair = [...single, token(sep[0], 0), text('B', 0), token(sep[0], 0)];
      return { single, pair, special: { [cls[0]]: [cls[1]], [sep[0]]: [sep[1]] } };
    }
    case 'Sequence': {
      const adding = json.processors.filter(({ type }) => type !== 'ByteLevel');
      if (adding.length > 1) throw new NearfarError('unsupported', 'the tokenizer has a sequence of post-processors that each add tokens');
      return templateOf(adding[0]);
    }
  }
}

function text(id: 'A' | 'B', type: number): Piece {
  return { Sequence: { id, type_id: type } };
}

function token(id: string, type: number): Piece {
  return { SpecialToken: { id, type_id: type } };
}
