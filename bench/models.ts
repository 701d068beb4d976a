import type { LockFile, Variant } from '../src/core/index.ts';
import { builtInEveryday10, type ParityModel, publishMobileNetV2 } from '../test/support/parity-models.ts';

export type BenchModel = ParityModel & { readonly lock: LockFile };

export async function everyday10(): Promise<BenchModel> {
  return locked(await builtInEveryday10());
}

/** MobileNetV2 where the shared data is, and the built-in model in any case; the larger one first. */
export async function allModels(): Promise<readonly BenchModel[]> {
  const large = await publishMobileNetV2();
  return [...(large ? [locked(large)] : []), await everyday10()];
}

export function locked(model: ParityModel): BenchModel {
  return { ...model, lock: { lockfileVersion: 1, models: { [model.manifest.name]: { ...model.pin } } } };
}

/** What a page needs to run a variant by hand, without nearfar. */
export interface HandModel {
  readonly engine: 'tfjs' | 'onnx';
  readonly entry: HandFile;
  /** Weights beside the entry. */
  readonly weights: HandFile | undefined;
  /** The variant's own input and the output that `classify` reads. */
  readonly input: string;
  readonly output: string;
  /** Of one picture, in the variant's own layout. */
  readonly shape: readonly number[];
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

interface HandFile {
  readonly url: string;
  readonly digest: string;
}

export function byHand({ manifest, pin }: BenchModel, engine: HandModel['engine']): HandModel {
  const variant = manifest.variants.find(({ format }) => format.startsWith(engine));
  const task = manifest.tasks?.['image-classification'];
  if (!variant || !task) throw new Error(`${manifest.name} has no ${engine} variant or no task`);
  const bindings = variant.bindings?.[task.signature];
  const input = bindings?.inputs?.[task.input.name];
  const output = bindings?.outputs?.[task.output.name];
  const [height, width] = task.input.crop;
  const layout = input?.layout ?? task.input.layout;
  const file = (path: string): HandFile => ({
    url: `/models/${manifest.name}/${pin.version}/${path}`,
    digest: manifest.files[path]?.digest ?? '',
  });
  const weights = otherFile(variant);
  return {
    engine,
    entry: file(variant.entry),
    weights: weights === undefined ? undefined : file(weights),
    input: input?.tensor ?? task.input.name,
    output: output?.tensor ?? task.output.name,
    shape: layout === 'NHWC' ? [1, height, width, 3] : [1, 3, height, width],
    mean: task.input.mean,
    std: task.input.std,
  };
}

function otherFile({ entry, files }: Variant): string | undefined {
  return files.find((file) => file !== entry);
}

/** The call of the task, as the processes take it. */
export function callOf({ manifest }: BenchModel) {
  const task = manifest.tasks?.['image-classification'];
  if (!task) throw new Error(`${manifest.name} classifies no images`);
  const { signature, input, output } = task;
  const shape = (manifest.signatures[signature]?.inputs[input.name]?.shape ?? []).map((size) => (size === -1 ? 1 : size));
  return { name: manifest.name, signature, input: input.name, output: output.name, shape };
}
