import { type Activation, activate, parseLabels } from '../postprocess/index.ts';
import { isTensorOf, type TensorMap } from '../tensor/index.ts';
import { type Classification, decodeClassification } from './image-classification.ts';
import { type EncodedBatch, outputOf, type TaskSource, wrongShape } from './task.ts';

export interface TopKOptions {
  /** How many classes per input, the highest scores first. */
  readonly topK: number;
}

interface ClassesSpec {
  readonly name: string;
  readonly activation: Activation;
  readonly labels?: string | undefined;
}

/** The names of classes, where a task has some. */
export async function readLabels({ readFile }: TaskSource, path: string | undefined): Promise<readonly string[] | undefined> {
  return path === undefined ? undefined : parseLabels(await readFile(path));
}

/**
 * The classes of each input. One sigmoid score beside two labels is that of the second: the first has the rest.
 */
export function decodeClasses(
  outputs: TensorMap,
  batch: EncodedBatch,
  { name, activation }: ClassesSpec,
  labels: readonly string[] | undefined,
  { topK }: TopKOptions,
): Classification[][] {
  const tensor = outputOf(outputs, name);
  if (isTensorOf(tensor, 'float32') && activation === 'sigmoid' && labels?.length === 2 && tensor.data.length === batch.count) {
    const scores = activate(tensor.data, 'sigmoid', 1);
    const both = Float32Array.from({ length: 2 * scores.length }, (_, at) => (at % 2 === 1 ? scores[at >> 1]! : 1 - scores[at >> 1]!));
    return decodeClassification(
      { dtype: 'float32', shape: [batch.count, 2], data: both },
      { activation: 'none', labels, topK, output: name },
    );
  }
  const answers = decodeClassification(tensor, { activation, labels, topK, output: name });
  if (answers.length !== batch.count) throw wrongShape(name, `with ${batch.count} rows`, tensor.shape);
  return answers;
}
