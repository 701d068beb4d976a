import { NearfarError } from '../../errors.ts';
import type { AudioInput } from '../../manifest/index.ts';
import { meanOfRows } from '../../postprocess/index.ts';
import { extractFeatures, fitLength, mixToMono, resample, type Waveform } from '../../preprocess/audio/index.ts';
import { createTensor, type Tensor } from '../../tensor/index.ts';
import { decodeClasses, readLabels, type TopKOptions } from '../classes.ts';
import type { Classification } from '../image-classification.ts';
import { parseTask } from '../parse-task.ts';
import { assertNotEmpty, declaredInput, floatOutput, type OpenedTask, type TaskSource } from '../task.ts';

/** Audio classification: a sound → its classes. */
export async function openAudioClassification(source: TaskSource): Promise<OpenedTask<Waveform, TopKOptions, Classification[]>> {
  const { signature, input, output } = parseTask(source.manifest, 'audio-classification');
  const labels = await readLabels(source, output.labels);
  const declared = declaredInput(source.manifest, signature, input.name).shape;
  return {
    signature,
    outputs: [output.name],
    encode: (sounds) => {
      assertNotEmpty(sounds);
      return { tensors: { [input.name]: encodeSounds(sounds, input, declared) }, count: sounds.length };
    },
    decode: (outputs, batch, options) => {
      const tensors =
        output.pooling === 'mean' ? { [output.name]: averageRows(floatOutput(outputs, output.name, [2, 3]), batch.count) } : outputs;
      return decodeClasses(tensors, batch, output, labels, options);
    },
  };
}

interface Example {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

function encodeSounds(sounds: readonly Waveform[], input: AudioInput, declared: readonly number[]): Tensor<'float32'> {
  const { mean = 0, std = 1 } = input;
  const examples = sounds.map((sound) => exampleOf(sound, input));
  const [first] = examples as [Example, ...Example[]];
  const other = examples.find(({ shape }) => String(shape) !== String(first.shape));
  if (other) {
    throw new NearfarError(
      'shape-mismatch',
      `sounds of one batch have one length, got [${first.shape}] and [${other.shape}]; the task names no samples`,
      {
        details: { name: input.name, want: [...first.shape], got: [...other.shape] },
      },
    );
  }
  const data = new Float32Array(examples.length * first.data.length);
  for (const [index, example] of examples.entries()) {
    const offset = index * first.data.length;
    for (let at = 0; at < example.data.length; at++) data[offset + at] = (example.data[at]! - mean) / std;
  }
  return createTensor('float32', batchShape(input.name, declared, examples.length, first.shape), data);
}

function exampleOf(sound: Waveform, { sampleRate, samples, features, order }: AudioInput): Example {
  const resampled = resample(mixToMono(sound), sound.sampleRate, sampleRate);
  const fitted = samples === undefined ? resampled : fitLength(resampled, samples);
  if (!features) return { shape: [fitted.length], data: fitted };
  const { frames, bins, data } = extractFeatures(fitted, sampleRate, features);
  if (order !== 'bins-frames') return { shape: [frames, bins], data };
  const turned = new Float64Array(data.length);
  for (let frame = 0, from = 0; frame < frames; frame++)
    for (let bin = 0; bin < bins; bin++, from++) turned[bin * frames + frame] = data[from]!;
  return { shape: [bins, frames], data: turned };
}

/** The declared shape tells whether there is a batch, and where dimensions of 1 stand, such as a channel's. */
function batchShape(name: string, declared: readonly number[], count: number, example: readonly number[]): number[] {
  if (declared.length === example.length && count === 1) return [...example];
  const [, ...rest] = declared;
  const shape: number[] = [count];
  let left = rest.length - example.length;
  let at = example.length;
  // From the back: a channel stands last where both the last and another dimension are 1.
  for (const size of rest.reverse()) {
    if (size === 1 && left > 0) {
      shape.splice(1, 0, 1);
      left--;
    } else if (at > 0) {
      shape.splice(1, 0, example[--at]!);
    }
  }
  if (left === 0 && at === 0) return shape;
  throw new NearfarError('shape-mismatch', `input "${name}" is declared as [${declared}], which ${count} of [${example}] do not fit`, {
    details: { name, want: [...declared], got: [count, ...example] },
  });
}

/** The rows of each sound, one per stretch of it, as one. */
function averageRows({ shape, data }: Tensor<'float32'>, count: number): Tensor<'float32'> {
  const classes = shape.at(-1)!;
  const length = data.length / count;
  const means = Array.from({ length: count }, (_, index) => [...meanOfRows(data.subarray(index * length, (index + 1) * length), classes)]);
  return createTensor('float32', [count, classes], Float32Array.from(means.flat()));
}
