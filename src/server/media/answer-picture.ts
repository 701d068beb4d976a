import sharp, { type Sharp } from 'sharp';
import type { ClassMask, DetectionOptions, OpenedTasks, PictureTask, RgbImage, Size, TensorMap } from '../../core/index.ts';
import { openSentTask, type SentVersion } from '../sent-task.ts';

/** How a picture is sent as an answer: as PNG inside the JSON or instead of it, or as the pixels behind it. */
export type PictureForm = 'json' | 'png' | 'pixels';

/** The tasks whose answers are laid over a picture, or are one. */
export type AnsweredTask = Exclude<PictureTask, 'embeddings'>;

/** The outputs of a run, with what their answer is made by: plain data, for any thread. */
export interface PictureAnswerJob {
  readonly task: AnsweredTask;
  readonly version: SentVersion;
  readonly outputs: TensorMap;
  readonly picture: Size;
  readonly options: DetectionOptions;
  readonly form: PictureForm;
}

export interface PictureAnswer {
  readonly output: object;
  /** A PNG, or pixels. */
  readonly bytes?: Uint8Array<ArrayBuffer> | undefined;
}

/** The outputs of a run → the answer. @throws {NearfarError} what the task throws; rejects with `signal.reason` when aborted. */
export type AnswerPicture = (job: PictureAnswerJob, options?: { readonly signal?: AbortSignal | undefined }) => Promise<PictureAnswer>;

/** Does it in this thread, which a mask for a picture of 12 megapixels blocks for some hundredths of a second, another picture for more. */
export const answerPictureHere: AnswerPicture = async (job) => {
  switch (job.task) {
    case 'object-detection':
      return { output: await decode(job.task, job) };
    case 'image-segmentation': {
      const { mask, segments } = await decode(job.task, job);
      return packMask(mask, job.form, (described) => ({ mask: described, segments }));
    }
    case 'image-to-image':
      return packImage(await decode(job.task, job), job.form);
  }
};

async function decode<Task extends AnsweredTask>(
  task: Task,
  job: PictureAnswerJob,
): Promise<ReturnType<OpenedTasks[Task]['decode']>[number]> {
  const { decode: decodeOutputs } = await openSentTask(task, job.version);
  const [answer] = decodeOutputs(job.outputs, { tensors: {}, count: 1, pictures: [job.picture] }, job.options);
  return answer as ReturnType<OpenedTasks[Task]['decode']>[number]; // of one picture there is one
}

async function packMask({ width, height, data }: ClassMask, form: PictureForm, describe: (mask: object) => object): Promise<PictureAnswer> {
  const bits = data instanceof Uint16Array ? 16 : 8;
  if (form === 'pixels') return { output: describe({ width, height, bits }), bytes: new Uint8Array(data.buffer as ArrayBuffer) };
  const grey = sharp(data, { raw: { width, height, channels: 1 } }).toColourspace(bits === 16 ? 'grey16' : 'b-w');
  return packPng(grey, form, (png) => describe({ width, height, ...png }));
}

async function packImage({ width, height, data }: RgbImage, form: PictureForm): Promise<PictureAnswer> {
  if (form === 'pixels') return { output: { width, height }, bytes: data };
  return packPng(sharp(data, { raw: { width, height, channels: 3 } }), form, (png) => ({ width, height, ...png }));
}

async function packPng(picture: Sharp, form: 'json' | 'png', describe: (png: { png?: string }) => object): Promise<PictureAnswer> {
  const png = await picture.png().toBuffer();
  return form === 'png' ? { output: describe({}), bytes: new Uint8Array(png) } : { output: describe({ png: png.toString('base64') }) };
}
