import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { type AnyTensor, type BackendId, compareOutputs, createTensor, type RgbImage, type Tensor } from '../../src/core/index.ts';
import { startServer } from '../../src/server/index.ts';
import type {} from './page/main.ts';
import type { ParityModel } from './parity-models.ts';

/** An answer with every class of the model. */
export interface FullAnswer {
  /** Scores by class index. */
  readonly scores: Tensor<'float32'>;
  readonly top: { readonly label: string; readonly index: number };
  readonly version: string;
  readonly digest: string;
  /** Engine and backend that ran, as one id. */
  readonly backend: string;
  readonly leg: 'on-device' | 'server';
  readonly variant: string;
  readonly hasFallback: boolean;
}

/** Where a page's client answers: on the device by one backend, or on a server. */
export type Leg = { readonly backend: BackendId } | { readonly server: string };

/** A version opened in a page through the public API, on one leg. */
export interface OpenedLeg extends AsyncDisposable {
  /** Classifies pictures one after the other and asks for all classes. */
  classify(urls: readonly string[]): Promise<FullAnswer[]>;
  /** Runs the default signature. @returns the output that is named. */
  predict(inputs: Readonly<Record<string, Tensor<'float32'>>>, output: string): Promise<Tensor<'float32'>>;
}

export async function openLeg(page: Page, model: ParityModel, leg: Leg): Promise<OpenedLeg> {
  const opened = await page.evaluateHandle(
    async ({ name, options, mode }) => {
      const client = window.nearfar.createClient({ models: '/models', allowSoftwareAdapter: true, ...options });
      return { client, model: await client.open(name, { mode }) };
    },
    openingOf(model, leg),
  );
  return {
    async classify(urls) {
      const answers = await opened.evaluate(async ({ model }, urls) => {
        const answers = [];
        for (const url of urls) {
          const { predictions, run } = await model.classify(url, { topK: 1_000_000 });
          const [top] = predictions;
          const scores = new Float32Array(predictions.length);
          for (const { index, score } of predictions) scores[index] = score;
          const bytes = new Uint8Array(scores.buffer);
          let text = '';
          for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
          answers.push({ top: { label: top?.label ?? '', index: top?.index ?? -1 }, base64: btoa(text), run });
        }
        return answers;
      }, urls);
      return answers.map(({ top, base64, run: { version, digest, engine, backend, leg: ran, variant, fallback } }) => ({
        top,
        scores: vector(new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer)),
        version,
        digest,
        backend: `${engine}-${backend}`,
        leg: ran,
        variant,
        hasFallback: fallback !== undefined,
      }));
    },
    async predict(inputs, output) {
      // As base64 (here and above), since Playwright takes seconds for an array of some hundred thousand numbers.
      const encoded = Object.entries(inputs).map(([name, { shape, data }]) => ({
        name,
        shape,
        base64: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'),
      }));
      const { shape, values } = await opened.evaluate(
        async ({ model }, { encoded, output }) => {
          const tensors = encoded.map(({ name, shape, base64 }) => {
            const data = new Float32Array(Uint8Array.from(atob(base64), (each) => each.charCodeAt(0)).buffer);
            return [name, { dtype: 'float32' as const, shape, data }] as const;
          });
          const { outputs } = await model.predict(Object.fromEntries(tensors), { outputs: [output] });
          const found = outputs[output];
          if (found?.dtype !== 'float32') throw new Error(`no output ${output}`);
          return { shape: found.shape, values: [...found.data] };
        },
        { encoded, output },
      );
      return createTensor('float32', shape, Float32Array.from(values));
    },
    async [Symbol.asyncDispose]() {
      await opened.evaluate(({ client }) => client.close());
      await opened.dispose();
    },
  };
}

function openingOf({ pin, manifest: { name } }: ParityModel, leg: Leg) {
  const lock = { lockfileVersion: 1, models: { [name]: pin } };
  if ('server' in leg) return { name, mode: 'only-server', options: { lock, server: leg.server } } as const;
  return { name, mode: 'only-on-device', options: { lock, backends: [leg.backend] } } as const;
}

function vector(scores: Float32Array<ArrayBuffer>): Tensor<'float32'> {
  return createTensor('float32', [scores.length], scores);
}

/** A real server that answers from one backend alone. */
export interface Far extends AsyncDisposable {
  readonly backend: BackendId;
  /** Base URL. */
  readonly url: string;
}

/** @param port To take the place of a server that was closed. */
export async function openFar(modelsRoot: string, backend: BackendId, port = 0): Promise<Far> {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: port,
    grpcPort: 'off',
    modelsRoot,
    backends: [backend],
    allowSoftwareAdapter: true,
    corsAllowedOrigins: ['*'],
    logLevel: 'silent',
    pollIntervalMs: 0,
    // A software GPU takes its time.
    restTimeoutMs: 120_000,
    maxLoadRetries: 0,
  });
  await server.whenReady({ signal: AbortSignal.timeout(120_000) });
  return { backend, url: server.restAddress ?? '', [Symbol.asyncDispose]: () => server.close() };
}

interface TaskAnswer {
  readonly model_version: string;
  readonly digest: string;
  readonly backend: string;
  readonly variant: string;
  readonly predictions: readonly { readonly label: string; readonly index: number; readonly score: number }[];
}

/** Classifies as curl would, and asks for all classes. @param picture An encoded picture, or the pixels after resize and crop. */
export async function classifyOverHttp(far: Far, { manifest }: ParityModel, picture: Uint8Array | RgbImage): Promise<FullAnswer> {
  const address = `${far.url}/nearfar/v1/models/${manifest.name}/tasks/image-classification?topK=1000000`;
  const isPixels = 'width' in picture;
  const response = await fetch(address, {
    method: 'POST',
    headers: {
      'content-type': 'application/octet-stream',
      ...(isPixels && { 'nearfar-image-shape': `${picture.height},${picture.width},3` }),
    },
    body: new Uint8Array(isPixels ? picture.data : picture),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const { model_version: version, digest, backend, variant, predictions }: TaskAnswer = await response.json();
  const scores = new Float32Array(predictions.length);
  for (const { index, score } of predictions) scores[index] = score;
  const [top] = predictions;
  return {
    scores: vector(scores),
    top: { label: top?.label ?? '', index: top?.index ?? -1 },
    version,
    digest,
    backend,
    leg: 'server',
    variant,
    hasFallback: false,
  };
}

/** Fails unless the answer is from the pinned version, on the backend that was asked for, with no fallback. */
export function expectFrom(answer: FullAnswer, { pin }: ParityModel, leg: FullAnswer['leg'], backend: BackendId): void {
  const { version, digest, hasFallback } = answer;
  expect({ version, digest, leg: answer.leg, backend: answer.backend, hasFallback }).toEqual({ ...pin, leg, backend, hasFallback: false });
}

/** Fails unless all values are within the tolerance of the variant. @returns the largest absolute difference. */
export function expectWithin(got: AnyTensor, want: AnyTensor, { manifest }: ParityModel, variant: string, what: string): number {
  const tolerance = manifest.variants.find(({ id }) => id === variant)?.tolerance;
  if (!tolerance) throw new Error(`${manifest.name} has no variant ${variant}`);
  const agreement = compareOutputs({ scores: want }, { scores: got }, tolerance);
  expect(agreement.firstDifference, what).toBeUndefined();
  return agreement.absolute;
}

/** Largest differences seen, by what was compared; printed as a Markdown table where `NEARFAR_PRINT_PARITY` is set. */
export class DifferenceTable {
  readonly #title: string;
  readonly #rows = new Map<string, { largest: number; count: number }>();

  constructor(title: string) {
    this.#title = title;
  }

  add(pair: string, difference: number): void {
    const { largest, count } = this.#rows.get(pair) ?? { largest: 0, count: 0 };
    this.#rows.set(pair, { largest: Math.max(largest, difference), count: count + 1 });
  }

  print(): void {
    if (!process.env['NEARFAR_PRINT_PARITY']) return;
    const rows = [...this.#rows].map(([pair, { largest, count }]) => `| ${pair} | ${count} | ${largest.toExponential(1)} |`);
    console.log([`${this.#title}`, '', '| pair | comparisons | largest difference |', '|---|---|---|', ...rows].join('\n'));
  }
}
