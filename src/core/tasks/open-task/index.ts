import { NearfarError } from '../../errors.ts';
import type { Waveform } from '../../preprocess/audio/index.ts';
import type { Pixels, RgbImage } from '../../preprocess/index.ts';
import type { TextInput } from '../../preprocess/text/index.ts';
import type { TopKOptions } from '../classes.ts';
import type { Classification } from '../image-classification.ts';
import type { Detection, DetectionOptions, PreparedPicture, Segmentation } from '../picture/index.ts';
import type { Row } from '../table/index.ts';
import type { OpenedTask, TaskSource } from '../task.ts';

// Not exported by core's door: a bundler that puts dynamic imports into one file would else carry all tasks, or the wrapping of them, into every
// entry that uses core.

/** The tasks that come as code of their own, which is loaded when a model is opened for them. Image classification is always there. */
export interface OpenedTasks {
  readonly 'object-detection': OpenedTask<Pixels | PreparedPicture, DetectionOptions, readonly Detection[]>;
  readonly 'image-segmentation': OpenedTask<Pixels | PreparedPicture, object, Segmentation>;
  readonly 'image-to-image': OpenedTask<Pixels | PreparedPicture, object, RgbImage>;
  readonly 'text-classification': OpenedTask<TextInput, TopKOptions, Classification[]>;
  readonly 'audio-classification': OpenedTask<Waveform, TopKOptions, Classification[]>;
  readonly 'tabular-classification': OpenedTask<Row, TopKOptions, Classification[]>;
  readonly 'tabular-regression': OpenedTask<Row, object, readonly number[]>;
  readonly embeddings: OpenedTask<TextInput | Pixels | PreparedPicture, object, Float32Array>;
}

const openers: { readonly [Name in keyof OpenedTasks]: (source: TaskSource) => Promise<OpenedTasks[Name]> } = {
  'object-detection': async (source) => (await import('../picture/index.ts')).openObjectDetection(source),
  'image-segmentation': async (source) => (await import('../picture/index.ts')).openImageSegmentation(source),
  'image-to-image': async (source) => (await import('../picture/index.ts')).openImageToImage(source),
  'text-classification': async (source) => (await import('../text/index.ts')).openTextClassification(source),
  'audio-classification': async (source) => (await import('../audio/index.ts')).openAudioClassification(source),
  'tabular-classification': async (source) => (await import('../table/index.ts')).openTabularClassification(source),
  'tabular-regression': async (source) => (await import('../table/index.ts')).openTabularRegression(source),
  embeddings: async (source) => (await import('../embeddings/index.ts')).openEmbeddings(source),
};

/**
 * Opens a task of a version: loads its code and reads its files.
 * @throws {NearfarError} `unsupported` when the model does not have the task, or has it with something nearfar does not have;
 * `invalid-argument` when its files or its names do not fit together.
 */
export function openTask<Name extends keyof OpenedTasks>(name: Name, source: TaskSource): Promise<OpenedTasks[Name]> {
  if (Object.hasOwn(openers, name)) return openers[name](source);
  return Promise.reject(new NearfarError('unsupported', `nearfar has no task ${name}; its tasks: ${Object.keys(openers).join(', ')}`));
}
