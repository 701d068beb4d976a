import type { GraphDType, GraphNode, PartialShape } from '../../graph/index.ts';

/** What is known of a tensor before the graph runs. */
export interface Known {
  /** `variant` also where it cannot be told. */
  readonly dtype: GraphDType;
  readonly shape: PartialShape;
  /** The elements of a small tensor of whole numbers, row by row; undefined ones are not known. */
  readonly values?: readonly (number | undefined)[];
}

export const unknown: Known = { dtype: 'variant', shape: undefined };

/** The inputs of one node, as its rule reads them. */
export class RuleInputs {
  readonly all: readonly Known[];
  constructor(all: readonly Known[]) {
    this.all = all;
  }

  at(index: number): Known {
    return this.all.at(index) ?? unknown;
  }

  shape(index: number): PartialShape {
    return this.at(index).shape;
  }

  /** The elements, when each of them is known. */
  values(index: number): readonly number[] | undefined {
    const { values } = this.at(index);
    return values?.every((value) => value !== undefined) ? (values as readonly number[]) : undefined;
  }

  /** As a shape: elements that are not known are -1. */
  sizes(index: number): PartialShape {
    const { values, shape } = this.at(index);
    if (values) return values.map((value) => value ?? -1);
    // A vector of known length still tells the rank.
    const length = shape?.length === 1 ? shape[0] : undefined;
    return length === undefined || length < 0 ? undefined : new Array<number>(length).fill(-1);
  }

  scalar(index: number): number | undefined {
    const values = this.values(index);
    return values?.length === 1 ? values[0] : undefined;
  }
}

/** Tells the outputs of a node from its inputs. */
export type Rule = (node: GraphNode, inputs: RuleInputs) => readonly Known[];

export type Rules = Readonly<Record<string, Rule>>;

/** One rule for several operators, named with spaces between. */
export function rulesOf(ops: string, rule: Rule): Rules {
  return Object.fromEntries(
    ops
      .trim()
      .split(/\s+/)
      .map((op) => [op, rule]),
  );
}
