import { appendFile, mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { encodeTfRecord } from '../../core/index.ts';

/** The scalars of one moment. */
export interface ScalarEvent {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly step: number;
  readonly scalars: Readonly<Record<string, number>>;
}

/** Fields of tensorflow.Event (tensorflow/core/util/event.proto) and of tensorflow.Summary.Value (framework/summary.proto). */
const eventFields = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 } as const;
const summaryFields = { value: 1 } as const;
const valueFields = { tag: 1, simpleValue: 2 } as const;

/** What every file begins with. */
export const eventFileVersion = 'brain.Event:2';

export function encodeScalars({ at, step, scalars }: ScalarEvent): Uint8Array {
  const writer = beginEvent(at).tag(eventFields.step, WireType.Varint).int64(step);
  writer.tag(eventFields.summary, WireType.LengthDelimited).fork();
  for (const [tag, value] of Object.entries(scalars)) {
    writer.tag(summaryFields.value, WireType.LengthDelimited).fork();
    writer.tag(valueFields.tag, WireType.LengthDelimited).string(tag).tag(valueFields.simpleValue, WireType.Bit32).float(value).join();
  }
  return writer.join().finish();
}

export function encodeFileVersion(at: number): Uint8Array {
  return beginEvent(at).tag(eventFields.fileVersion, WireType.LengthDelimited).string(eventFileVersion).finish();
}

function beginEvent(at: number): BinaryWriter {
  return new BinaryWriter().tag(eventFields.wallTime, WireType.Bit64).double(at / 1000);
}

/** Size that a file does not pass, unless by one event alone. */
export const defaultMaxFileBytes = 16 * 2 ** 20;

/** Event files of one run, one after another: TensorBoard reads them in the order of their names. Each event is written when it is appended. */
export class EventFile {
  readonly #folder: string;
  readonly #maxFileBytes: number;
  #path: string | undefined;
  #bytes = 0;
  #count = 0;

  constructor(folder: string, maxFileBytes: number = defaultMaxFileBytes) {
    this.#folder = folder;
    this.#maxFileBytes = maxFileBytes;
  }

  /** One call at a time. @throws What the file system throws; the next event then begins a new file. */
  async append(event: ScalarEvent): Promise<void> {
    const record = encodeTfRecord(encodeScalars(event));
    try {
      if (this.#path !== undefined && this.#bytes + record.length > this.#maxFileBytes) this.#path = undefined;
      this.#path ??= await this.#begin(event.at);
      await appendFile(this.#path, record);
      this.#bytes += record.length;
    } catch (error) {
      this.#path = undefined;
      throw error;
    }
  }

  async #begin(at: number): Promise<string> {
    const number = String(this.#count++).padStart(6, '0');
    const seconds = String(Math.floor(at / 1000)).padStart(10, '0');
    const path = join(this.#folder, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${number}`);
    const first = encodeTfRecord(encodeFileVersion(at));
    await mkdir(this.#folder, { recursive: true });
    await appendFile(path, first);
    this.#bytes = first.length;
    return path;
  }
}
