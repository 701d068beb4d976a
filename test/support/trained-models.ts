import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publish } from '../../src/publish/index.ts';

// The models that test/fixtures/tasks/make.py trains, and what Python answers by them.

const fixtures = fileURLToPath(new URL('../fixtures/tasks/', import.meta.url));

const trainedModels = ['wine', 'diabetes', 'topics', 'sounds', 'shapes'] as const;
type TrainedModel = (typeof trainedModels)[number];

/** Publishes them as `nearfar publish --task-spec` does. */
export async function publishTrainedModels(repository: string): Promise<void> {
  for (const name of trainedModels) {
    const folder = join(fixtures, name);
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const path of ['labels.txt', 'tokenizer.json'])
      if ((await readdir(folder)).includes(path)) files.set(path, new Uint8Array(await readFile(join(folder, path))));
    const specs = JSON.parse(await readFile(join(folder, 'tasks.json'), 'utf8'));
    await publish([join(folder, 'model.onnx')], { name, repository, tasks: { specs, files } });
  }
}

/** Rows of a table with the scores of the classes, or the numbers. */
export function tableCases(name: 'wine' | 'diabetes'): { input: Record<string, number>; output: number[] }[] {
  return expected(name).cases as { input: Record<string, number>; output: number[] }[];
}

/** Sentences with the scores of the classes and their vectors. */
export function textCases(): { input: string; output: number[]; vector: number[] }[] {
  return expected('topics').cases as { input: string; output: number[]; vector: number[] }[];
}

/** Sounds with the scores of the classes. */
export function soundCases(): { sampleRate: number; samples: Float64Array; kind: string; output: number[] }[] {
  const cases = expected('sounds').cases as { sampleRate: number; samples: string; kind: string; output: number[] }[];
  return cases.map((sound) => {
    const bytes = new Uint8Array(Buffer.from(sound.samples, 'base64'));
    return { ...sound, samples: Float64Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32767) };
  });
}

export interface ShapeFound {
  readonly index: number;
  readonly score: number;
  readonly box: Readonly<Record<'xmin' | 'ymin' | 'xmax' | 'ymax', number>>;
}

/** Pictures as PNG with what is found in them. */
export function pictureCases(): { name: string; png: Buffer; output: ShapeFound[] }[] {
  const cases = expected('shapes').cases as { input: string; output: ShapeFound[] }[];
  return cases.map(({ input, output }) => ({ name: input, png: readFileSync(join(fixtures, 'shapes', input)), output }));
}

function expected(name: TrainedModel): { readonly cases: readonly unknown[] } {
  return JSON.parse(readFileSync(join(fixtures, name, 'expected.json'), 'utf8'));
}
