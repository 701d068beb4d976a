import type { DType } from '../tensor/index.ts';

/** An input or output of the graph. */
export interface ModelTensor {
  /** The name by which the graph is fed or asked, with its output index (`Identity:0`). */
  readonly tensor: string;
  readonly dtype: DType;
  /** -1 stands for any size; undefined when not even the rank is said. */
  readonly shape: readonly number[] | undefined;
}
