import type { TextInput } from '../../preprocess/text/index.ts';
import { decodeClasses, readLabels, type TopKOptions } from '../classes.ts';
import type { Classification } from '../image-classification.ts';
import { parseTask } from '../parse-task.ts';
import type { OpenedTask, TaskSource } from '../task.ts';
import { openTextEncoder } from './encode-texts.ts';

export { openTextEncoder } from './encode-texts.ts';

/** Text classification: a text, or two that belong together → its classes. */
export async function openTextClassification(source: TaskSource): Promise<OpenedTask<TextInput, TopKOptions, Classification[]>> {
  const { signature, input, output } = parseTask(source.manifest, 'text-classification');
  const labels = await readLabels(source, output.labels);
  const encode = await openTextEncoder(source, signature, input);
  const outputs = [output.name];
  return { signature, outputs, encode, decode: (tensors, batch, options) => decodeClasses(tensors, batch, output, labels, options) };
}
