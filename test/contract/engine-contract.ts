import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AnyTensor,
  checkGolden,
  createTensor,
  type Engine,
  type LoadedVariant,
  NearfarError,
  softmax,
  toOwnInputs,
  type VariantSource,
} from '../../src/core/index.ts';
import { everyday10, everyday10Sample, mobileNetV2 } from '../support/engine-models.ts';
import { sharedData } from '../support/shared-data.ts';

export interface EngineContractOptions {
  readonly library: 'tfjs' | 'onnx';
  /** Opens the engine under test; the suite closes it. */
  readonly open: () => Promise<Engine>;
  /** Pictures of the held-back sample to classify, up to 200: slow backends take fewer. */
  readonly pictures: number;
  /** Runs in flight at once. */
  readonly inFlight: number;
  /** Whether MobileNetV2 (0.3 GFLOP) can be run in seconds. */
  readonly runsMobileNet: boolean;
}

const SIGNATURE = 'serving_default';
const model = await everyday10();
const sample = await everyday10Sample();

/** What every engine promises, whatever runs inside. */
export function describeEngineContract(name: string, { library, open, pictures, inFlight, runsMobileNet }: EngineContractOptions): void {
  describe(`engine contract: ${name}`, () => {
    let engine: Engine;
    let loaded: LoadedVariant;
    const source = model.source(library);

    beforeAll(async () => {
      engine = await open();
      loaded = await engine.load(source);
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    test('names the backend that runs', () => {
      expect(engine.backend).toBe(name);
    });

    test('reproduces the golden examples of the published model', async () => {
      const agreement = await checkGolden(loaded, source);

      expect(agreement.isWithin).toBe(true);
    });

    test.skipIf(!sample)(`answers as TensorFlow did on ${pictures} held-back pictures, in batches`, async () => {
      const { probabilities, labels } = sample!;
      const step = labels.length / pictures;
      const batch = Math.min(pictures, 20);
      let right = 0;
      let rightInTensorFlow = 0;
      let largest = 0;
      for (let start = 0; start < pictures; start += batch) {
        const indices = Array.from({ length: batch }, (_, offset) => Math.floor((start + offset) * step));
        const { probabilities: got } = await loaded.run({ signature: SIGNATURE, inputs: { image: imagesOf(indices) } });
        expect(got!.shape).toEqual([batch, 10]);
        for (const [row, index] of indices.entries()) {
          const scores = numbersOf(got!).slice(row * 10, row * 10 + 10);
          const truth = probabilities[index]!;
          for (const [label, score] of scores.entries()) largest = Math.max(largest, Math.abs(score - truth[label]!));
          if (argMax(scores) === labels[index]) right++;
          if (argMax(truth) === labels[index]) rightInTensorFlow++;
        }
      }

      expect(largest).toBeLessThan(1e-4); // the record is rounded to 1e-7
      expect(right).toBe(rightInTensorFlow);
      if (pictures === 200) expect(right / pictures).toBe(0.895);
    });

    test(`gives each of ${inFlight} runs in flight its own answer`, async () => {
      const inputs = Array.from({ length: inFlight }, (_, index) =>
        createTensor('float32', [1, 32, 32, 3], new Float32Array(3072).fill(index / inFlight)),
      );
      const alone: number[][] = [];
      for (const image of inputs) alone.push(await classify(loaded, image));

      const together = await Promise.all(inputs.map((image) => classify(loaded, image)));

      expect(together).toEqual(alone);
      expect(new Set(alone.map((scores) => scores.join())).size).toBe(inFlight);
    });

    test('leaves the inputs as they were and gives outputs away', async () => {
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072).fill(0.5));

      const first = await loaded.run({ signature: SIGNATURE, inputs: { image } });
      const again = await loaded.run({ signature: SIGNATURE, inputs: { image } });
      const buffer = (first['probabilities']!.data as Float32Array).buffer;
      const moved = structuredClone(buffer, { transfer: [buffer] });

      expect(image.data.every((value) => value === 0.5)).toBe(true);
      expect([...new Float32Array(moved)]).toEqual(numbersOf(again['probabilities']!));
    });

    test('takes an input in another layout than the signature says', async () => {
      const image = createTensor(
        'float32',
        [1, 32, 32, 3],
        Float32Array.from({ length: 3072 }, (_, index) => (index % 97) / 97),
      );
      const toNchw = { name: 'image', tensor: 'image', layout: 'NHWC', ownLayout: 'NCHW', activation: 'none' } as const;
      const inputs = toOwnInputs({ inputs: [toNchw], outputs: [] }, { image });

      const { probabilities } = await loaded.run({ signature: SIGNATURE, inputs, layouts: { image: 'NCHW' } });

      expect(inputs['image']?.shape).toEqual([1, 3, 32, 32]);
      expect(numbersOf(probabilities!)).toEqual(await classify(loaded, image));
    });

    test('refuses what the signature does not say, naming it', async () => {
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));

      await expect(loaded.run({ signature: 'nope', inputs: { image } })).rejects.toMatchObject({
        code: 'invalid-argument',
        message: expect.stringMatching(/"nope".*serving_default/),
      });
      await expect(loaded.run({ signature: SIGNATURE, inputs: { picture: image } })).rejects.toMatchObject({
        code: 'invalid-argument',
        details: { missing: ['image'], unknown: ['picture'] },
      });
      await expect(loaded.run({ signature: SIGNATURE, inputs: { image }, outputs: ['classes'] })).rejects.toMatchObject({
        code: 'invalid-argument',
        details: { unknown: ['classes'] },
      });
      await expect(
        loaded.run({ signature: SIGNATURE, inputs: { image: createTensor('int32', [1, 32, 32, 3], new Int32Array(3072)) } }),
      ).rejects.toMatchObject({ code: 'dtype-mismatch', details: { name: 'image', want: 'float32', got: 'int32' } });
      await expect(
        loaded.run({ signature: SIGNATURE, inputs: { image: createTensor('float32', [32, 32, 3], new Float32Array(3072)) } }),
      ).rejects.toMatchObject({ code: 'shape-mismatch', details: { name: 'image', want: [-1, 32, 32, 3], got: [32, 32, 3] } });
      await expect(
        loaded.run({ signature: SIGNATURE, inputs: { image: { dtype: 'float32', shape: [1, 32, 32, 3], data: new Float32Array(5) } } }),
      ).rejects.toMatchObject({ code: 'shape-mismatch' });
    });

    test('rejects with the reason of an abort before the run and before the load', async () => {
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));
      const reason = new Error('changed my mind');
      const signal = AbortSignal.abort(reason);

      await expect(loaded.run({ signature: SIGNATURE, inputs: { image } }, { signal })).rejects.toBe(reason);
      await expect(engine.load(source, { signal })).rejects.toBe(reason);
    });

    test('drops a run that is aborted while it waits', async () => {
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));
      const controller = new AbortController();
      const reason = new Error('too late');

      const first = loaded.run({ signature: SIGNATURE, inputs: { image } });
      const second = loaded.run({ signature: SIGNATURE, inputs: { image } }, { signal: controller.signal });
      controller.abort(reason);

      const [, late] = await Promise.allSettled([first, second]);
      // ONNX Runtime in Node takes every run at once; it may then answer, never fail otherwise.
      if (late.status === 'rejected') expect(late.reason).toBe(reason);
    });

    test('memory is where it began after 20 loads and unloads, and after failed runs', async () => {
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));
      const before = engine.memory();

      for (let round = 0; round < 20; round++) {
        await using another = await engine.load(source);
        if (round === 0) await another.run({ signature: SIGNATURE, inputs: { image } });
        await expect(another.run({ signature: SIGNATURE, inputs: {} })).rejects.toBeInstanceOf(NearfarError);
      }

      expect(engine.memory()).toEqual(before);
      expect(before.variants).toBe(1);
    });

    test('a variant closes once, after its runs, and is then refused', async () => {
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));
      const another = await engine.load(source);

      const running = another.run({ signature: SIGNATURE, inputs: { image } });
      await Promise.all([another[Symbol.asyncDispose](), another[Symbol.asyncDispose]()]);

      expect((await running)['probabilities']!.shape).toEqual([1, 10]);
      await expect(another.run({ signature: SIGNATURE, inputs: { image } })).rejects.toMatchObject({ code: 'failed-precondition' });
    });

    test('refuses a variant of another format and one that binds missing tensors', async () => {
      const other = model.source(library === 'tfjs' ? 'onnx' : 'tfjs');
      const bindings = { [SIGNATURE]: { outputs: { probabilities: { tensor: 'no/such:0' } } } };
      const unbound: VariantSource = { ...source, variant: { ...source.variant, bindings } };
      const before = engine.memory();

      await expect(engine.load(other)).rejects.toMatchObject({ code: 'unsupported' });
      await expect(engine.load(unbound)).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining('no/such:0') });

      expect(engine.memory()).toEqual(before);
    });

    test('closes with what is loaded, twice without harm, and can be opened again', async () => {
      const second = await open();
      const onSecond = await second.load(source);

      await second[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();

      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));
      await expect(onSecond.run({ signature: SIGNATURE, inputs: { image } })).rejects.toMatchObject({ code: 'failed-precondition' });
      await expect(second.load(source)).rejects.toMatchObject({ code: 'failed-precondition' });
      await expect(classify(loaded, image)).resolves.toHaveLength(10);
    });

    const mobileNet = runsMobileNet ? mobileNetV2() : undefined;
    if (!runsMobileNet) console.warn(`${name}: skipping MobileNetV2, a software GPU takes minutes for it`);
    test.skipIf(!mobileNet)('MobileNetV2 answers as TensorFlow did, all outputs or the named ones, in either layout', async () => {
      const { tensor, logits } = await photo('cat');
      await using variant = await engine.load(mobileNet!.source(library));

      const all = await variant.run({ signature: SIGNATURE, inputs: { input: tensor } });
      const named = await variant.run({ signature: SIGNATURE, inputs: { input: tensor }, outputs: ['probabilities'] });

      expect(Object.keys(all).sort()).toEqual(['logits', 'probabilities']);
      expect(Object.keys(named)).toEqual(['probabilities']);
      const expected = softmax(logits, 1000);
      expect(argMax(numbersOf(all['probabilities']!))).toBe(argMax([...expected]));
      expect(largestDifference(numbersOf(all['logits']!), logits)).toBeLessThan(1e-3);
      expect(largestDifference(numbersOf(all['probabilities']!), expected)).toBeLessThan(1e-4);
      expect(numbersOf(named['probabilities']!)).toEqual(numbersOf(all['probabilities']!));
    });

    test('a lost device is told, fails the runs under way, and another engine opens', async ({ skip }) => {
      const doomed = await open();
      if (!doomed.loseDevice) {
        await doomed[Symbol.asyncDispose]();
        return skip(`${name} has no device that can be lost from JavaScript`);
      }
      const variant = await doomed.load(source);
      const image = createTensor('float32', [1, 32, 32, 3], new Float32Array(3072));

      const running = variant.run({ signature: SIGNATURE, inputs: { image } });
      doomed.loseDevice();

      await expect(running).rejects.toMatchObject({ code: 'device-lost' });
      await expect(doomed.lost).resolves.toEqual(expect.any(String));
      await expect(variant.run({ signature: SIGNATURE, inputs: { image } })).rejects.toMatchObject({ code: 'device-lost' });
      await expect(doomed.load(source)).rejects.toMatchObject({ code: 'device-lost' });
      await doomed[Symbol.asyncDispose]();
      await using next = await open();
      await using reloaded = await next.load(source);
      expect(await classify(reloaded, image)).toEqual(await classify(loaded, image));
    });
  });
}

function imagesOf(indices: readonly number[]): AnyTensor {
  const data = new Float32Array(indices.length * 3072);
  for (const [row, index] of indices.entries()) data.set(sample!.images(index, index + 1), row * 3072);
  return createTensor('float32', [indices.length, 32, 32, 3], data);
}

async function classify(loaded: LoadedVariant, image: AnyTensor): Promise<number[]> {
  const { probabilities } = await loaded.run({ signature: SIGNATURE, inputs: { image } });
  return numbersOf(probabilities!);
}

/** A prepared photo as ImageNet models take it, NHWC, with the logits TensorFlow gave (data/README.md). */
async function photo(name: string): Promise<{ tensor: AnyTensor; logits: Float32Array }> {
  const pixels = await sharp(await readFile(sharedData(`prepared/224/${name}.png`)!))
    .removeAlpha()
    .raw()
    .toBuffer();
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ] as const;
  const data = Float32Array.from(pixels, (pixel, index) => (pixel / 255 - mean[index % 3]!) / std[index % 3]!);
  const about: { images: string[] } = JSON.parse(await readFile(sharedData('expected/savedmodel-mobilenetv2_dq.json')!, 'utf8'));
  const bytes = await readFile(sharedData('expected/savedmodel-mobilenetv2_dq.logits.f32')!);
  const rows = new Float32Array(new Uint8Array(bytes).buffer);
  const row = about.images.indexOf(name);
  return { tensor: createTensor('float32', [1, 224, 224, 3], data), logits: rows.slice(row * 1000, row * 1000 + 1000) };
}

function numbersOf(tensor: AnyTensor): number[] {
  return Array.from(tensor.data as ArrayLike<number>);
}

function argMax(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

function largestDifference(a: readonly number[], b: ArrayLike<number>): number {
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0);
}
