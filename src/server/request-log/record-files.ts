import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { encodeTfRecord, NearfarError } from '../../core/index.ts';

export interface RecordFilesOptions {
  /** Files are named `<prefix>-<time>-<number>.tfrecord`. */
  readonly prefix: string;
  /** Records of one file. @default 1000, all that TensorFlow Serving takes as warm-up requests */
  readonly maxRecords?: number | undefined;
  /** Size that a file does not pass, unless by one record alone. @default 67_108_864 (64 MiB) */
  readonly maxFileBytes?: number | undefined;
  /** What may wait for the disk; more is dropped. @default 16_777_216 (16 MiB) */
  readonly maxQueuedBytes?: number | undefined;
  /** The time in names of files. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Told of each record: undefined when it is on its way to the disk, else why it is lost. */
  readonly onRecord: (error: NearfarError | undefined) => void;
}

interface OpenFile {
  readonly handle: FileHandle;
  records: number;
  bytes: number;
}

/** Appends records to TFRecord files, one after another. Nobody waits for the disk: what it cannot take in time is dropped and counted. */
export class RecordFiles implements AsyncDisposable {
  readonly #options: { readonly [N in keyof RecordFilesOptions]-?: NonNullable<RecordFilesOptions[N]> };
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #file: OpenFile | undefined;
  #lastNumber = 0;
  #writing: Promise<void> | undefined;
  #isClosed = false;

  constructor({
    maxRecords = 1000,
    maxFileBytes = 64 * 2 ** 20,
    maxQueuedBytes = 16 * 2 ** 20,
    now = Date.now,
    ...rest
  }: RecordFilesOptions) {
    this.#options = { ...rest, maxRecords, maxFileBytes, maxQueuedBytes, now };
  }

  append(content: Uint8Array): void {
    const { maxQueuedBytes, onRecord } = this.#options;
    if (this.#isClosed) {
      onRecord(new NearfarError('unavailable', 'the request log is closed'));
      return;
    }
    if (this.#queuedBytes + content.length > maxQueuedBytes) {
      onRecord(new NearfarError('rate-limited', 'requests are logged faster than the disk takes them', { details: { maxQueuedBytes } }));
      return;
    }
    const record = encodeTfRecord(content);
    this.#queue.push(record);
    this.#queuedBytes += record.length;
    this.#writing ??= this.#write();
  }

  /** Resolves when everything appended so far is written, or lost. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.flush();
    await this.#file?.handle.close().catch(() => {});
    this.#file = undefined;
  }

  async #write(): Promise<void> {
    while (this.#queue.length > 0) {
      const records = await this.#writeSome().catch((cause: unknown) => this.#lose(cause));
      this.#queuedBytes -= records.reduce((sum, { length }) => sum + length, 0);
    }
    this.#writing = undefined;
  }

  /** As much of the queue as the current file takes, in one write, so that a file never ends inside of a record for long. */
  async #writeSome(): Promise<readonly Uint8Array[]> {
    const { maxRecords, maxFileBytes, onRecord } = this.#options;
    this.#file ??= { handle: await this.#openNext(), records: 0, bytes: 0 };
    const file = this.#file;
    let count = 0;
    let bytes = 0;
    for (const { length } of this.#queue) {
      const isFirst = file.records + count === 0;
      if (file.records + count >= maxRecords || (!isFirst && file.bytes + bytes + length > maxFileBytes)) break;
      count++;
      bytes += length;
    }
    if (count === 0) {
      this.#file = undefined;
      await file.handle.close();
      return [];
    }
    const records = this.#queue.slice(0, count);
    await file.handle.appendFile(Buffer.concat(records));
    this.#queue = this.#queue.slice(count);
    file.records += count;
    file.bytes += bytes;
    for (const _ of records) onRecord(undefined);
    return records;
  }

  /** A file whose disk is full or gone may end inside of a record: what was whole stays, and a new file is begun. */
  async #lose(cause: unknown): Promise<readonly Uint8Array[]> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.truncate(file.bytes).catch(() => {});
    await file?.handle.close().catch(() => {});
    const lost = this.#queue;
    this.#queue = [];
    const reason = cause instanceof Error ? cause.message : String(cause);
    for (const _ of lost) this.#options.onRecord(new NearfarError('internal', `the request log cannot be written: ${reason}`, { cause }));
    return lost;
  }

  async #openNext(): Promise<FileHandle> {
    const { prefix, now } = this.#options;
    await mkdir(dirname(prefix), { recursive: true });
    const time = new Date(now()).toISOString().replace(/[-:]|\.\d+/g, '');
    for (;;) {
      const path = `${prefix}-${time}-${String(++this.#lastNumber).padStart(5, '0')}.tfrecord`;
      try {
        // Readable by the operator alone: these are inputs of clients.
        return await open(path, 'wx', 0o600);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      }
    }
  }
}
