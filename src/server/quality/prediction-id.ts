import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';

/** What an id of a prediction says of it, so that the server need not remember it. */
export interface Prediction {
  readonly version: string;
  readonly signature: string;
  readonly output: string;
  /** Seconds since 1970. */
  readonly at: number;
  /** Of each row the class that came first with its score, or the number. */
  readonly rows: readonly (readonly [string, number])[] | readonly number[];
}

/** What clients, proxies and logs take as a header. */
const mostLength = 2_048;
const nonceBytes = 6;
const macBytes = 16;
const keyBytes = 32;

const payloadSchema = v.tuple([
  v.string(),
  v.string(),
  v.string(),
  v.number(),
  v.string(),
  v.union([v.array(v.tuple([v.string(), v.number()])), v.array(v.number())]),
]);

/** Makes ids of predictions and reads them again; servers with one key read each other's. */
export class PredictionIds {
  readonly #keyFile: string | undefined;
  #key: Uint8Array | undefined;

  /** @param keyFile Made when it is not there; undefined: ids end with the process. */
  constructor(keyFile: string | undefined) {
    this.#keyFile = keyFile;
  }

  /** @returns undefined for one that would be too long. */
  create(model: string, { version, signature, output, at, rows }: Prediction): string | undefined {
    const payload = [version, signature, output, at, randomBytes(nonceBytes).toString('base64url'), rows];
    const text = Buffer.from(JSON.stringify(payload)).toString('base64url');
    const id = `${text}.${this.#sign(model, text).toString('base64url')}`;
    return id.length > mostLength ? undefined : id;
  }

  /** @throws {NearfarError} `not-found` for what was not made with this key for this model. */
  read(model: string, id: string): Prediction {
    const [text = '', mac = '', ...rest] = id.length > mostLength ? [] : id.split('.');
    const given = Buffer.from(mac, 'base64url');
    if (rest.length > 0 || given.length !== macBytes || !timingSafeEqual(given, this.#sign(model, text))) {
      throw new NearfarError('not-found', `no prediction of ${model} has this id`, { details: { model, id: id.slice(0, mostLength) } });
    }
    const [version, signature, output, at, , rows] = v.parse(payloadSchema, JSON.parse(Buffer.from(text, 'base64url').toString()));
    return { version, signature, output, at, rows };
  }

  #sign(model: string, text: string): Buffer {
    this.#key ??= this.#keyFile === undefined ? randomBytes(keyBytes) : readKey(this.#keyFile);
    return createHmac('sha256', this.#key).update(`${model}\n${text}`).digest().subarray(0, macBytes);
  }
}

/** The key of a file; of two servers that make it at once the second takes that of the first. */
function readKey(file: string): Uint8Array {
  mkdirSync(dirname(file), { recursive: true });
  try {
    writeFileSync(file, randomBytes(keyBytes), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const key = readFileSync(file);
  if (key.length >= keyBytes) return key;
  throw new NearfarError('invalid-argument', `the key of prediction ids has ${keyBytes} bytes or more, ${file} has ${key.length}`);
}
