import { mkdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import {
  digestOf,
  digestSchema,
  type Manifest,
  NearfarError,
  notSigned,
  parseManifest,
  verifySignature,
  versionSchema,
} from '../../core/index.ts';
import { replaceFile } from '../../publish/index.ts';
import { type AnnouncedFile, UploadFile } from './upload-file.ts';

const recordSchema = v.object({
  model: v.string(),
  version: versionSchema,
  labels: v.array(v.string()),
  files: v.array(v.object({ path: v.string(), bytes: v.number(), digest: digestSchema })),
});

/** What is announced of a version that is to be uploaded. */
export type UploadRecord = Readonly<v.InferOutput<typeof recordSchema>>;

/** What an upload still lacks. */
export interface MissingFile extends AnnouncedFile {
  /** Bytes of it that are here. */
  readonly offset: number;
}

/** What is in front of the id in the name of an upload's folder, which lies hidden beside the model's versions. */
export const uploadPrefix = '.uploading-';

/** A version that comes file by file. Everything about it lies in its folder, so that it goes on after a restart. */
export class Upload {
  readonly id: string;
  readonly record: UploadRecord;
  /** Its own folder, in that of the model. */
  readonly folder: string;
  readonly #files: ReadonlyMap<string, UploadFile>;
  /** Of completing or giving it up: nothing comes beside it. */
  #ending: Promise<unknown> | undefined;

  private constructor(id: string, record: UploadRecord, folder: string, files: readonly UploadFile[]) {
    this.id = id;
    this.record = record;
    this.folder = folder;
    this.#files = new Map(files.map((file) => [file.announced.path, file]));
  }

  /** Begins one; its folder is made, and the model's where it is not there. */
  static async create(id: string, record: UploadRecord, folder: string): Promise<Upload> {
    await mkdir(join(folder, 'parts'), { recursive: true });
    await replaceFile(join(folder, 'upload.json'), new TextEncoder().encode(JSON.stringify(record)));
    const upload = await Upload.#open(id, record, folder);
    // Nothing would be sent of them.
    for (const file of upload.#files.values()) if (file.announced.bytes === 0) await file.write({ start: undefined, body: nothing() });
    return upload;
  }

  /** @returns undefined where its folder is none of an upload. */
  static async reopen(id: string, folder: string): Promise<Upload | undefined> {
    const text = await readFile(join(folder, 'upload.json'), 'utf8').catch(() => undefined);
    const parsed = v.safeParse(recordSchema, text === undefined ? undefined : parseJson(text));
    return parsed.success ? Upload.#open(id, parsed.output, folder) : undefined;
  }

  static async #open(id: string, record: UploadRecord, folder: string): Promise<Upload> {
    const files = record.files.map((file, index) => {
      return UploadFile.open(file, join(folder, 'parts', String(index)), join(folder, 'version', file.path));
    });
    return new Upload(id, record, folder, await Promise.all(files));
  }

  get missing(): readonly MissingFile[] {
    return [...this.#files.values()].flatMap(({ announced, offset, isWhole }) => (isWhole ? [] : [{ ...announced, offset }]));
  }

  /** Bytes that are still to come. */
  get missingBytes(): number {
    return this.missing.reduce((sum, { bytes, offset }) => sum + bytes - offset, 0);
  }

  /** Whole folder of the version, once it is put together. */
  get versionFolder(): string {
    return join(this.folder, 'version');
  }

  /** @throws {NearfarError} `not-found` for a path that was not announced; `failed-precondition` while it is completed or given up. */
  file(path: string): UploadFile {
    const file = this.#files.get(path);
    if (!file) throw new NearfarError('not-found', `upload ${this.id} has no file ${JSON.stringify(path)}`, { details: { path } });
    if (this.#ending) throw new NearfarError('failed-precondition', `upload ${this.id} is being completed or given up`);
    return file;
  }

  /** Says that it is not abandoned. */
  async touch(): Promise<void> {
    const now = new Date();
    await utimes(join(this.folder, 'upload.json'), now, now);
  }

  /** When it was worked at last, in milliseconds of the file system's clock. */
  async touchedAt(): Promise<number> {
    const info = await stat(join(this.folder, 'upload.json')).catch(() => undefined);
    return info?.mtimeMs ?? 0;
  }

  /** Does the last step of it, one at a time; when it fails, files can come again. */
  async end<T>(work: () => Promise<T>): Promise<T> {
    if (this.#ending) throw new NearfarError('failed-precondition', `upload ${this.id} is being completed or given up already`);
    const ending = work();
    this.#ending = ending;
    try {
      return await ending;
    } finally {
      this.#ending = undefined;
    }
  }

  /**
   * Checks that everything is here and is one version, and lays its files out.
   * @param trust Public keys, one of which must have signed it; none: signatures are not looked at.
   * @returns The manifest with its digest; undefined for a plain version.
   * @throws {NearfarError} `failed-precondition`, with `details.missing`; `integrity-mismatch`, `invalid-argument`, `signature-invalid` for a
   * version that is not what its manifest says.
   */
  async assemble(trust: readonly string[]): Promise<{ readonly manifest: Manifest; readonly digest: string } | undefined> {
    const { missing } = this;
    if (missing.length > 0) {
      const paths = missing.map(({ path }) => path);
      throw new NearfarError('failed-precondition', `${missing.length} files are not whole yet, such as ${paths[0]}`, {
        details: { missing: paths.slice(0, 100) },
      });
    }
    const described = await this.#readManifest(trust);
    for (const [index, { path }] of this.record.files.entries()) {
      const target = join(this.versionFolder, path);
      await mkdir(dirname(target), { recursive: true });
      await rename(join(this.folder, 'parts', String(index)), target).catch((error: unknown) => {
        // Moved before the process was killed.
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
      });
    }
    return described;
  }

  async #readManifest(trust: readonly string[]) {
    const bytes = await this.#read('manifest.json');
    if (!bytes) {
      if (trust.length === 0) return undefined;
      throw new NearfarError('signature-invalid', 'only signed versions are trusted here, and one without manifest.json is not signed');
    }
    const manifest = parseManifest(bytes);
    const { version } = this.record;
    if (manifest.version !== version) {
      throw new NearfarError('invalid-argument', `the manifest describes version ${manifest.version}, ${version} was announced`, {
        details: { want: version, got: manifest.version },
      });
    }
    const announced = new Map(this.record.files.map((file) => [file.path, file]));
    for (const [path, { digest }] of Object.entries(manifest.files)) {
      const got = announced.get(path)?.digest;
      if (got === digest) continue;
      const came = got === undefined ? 'was not uploaded' : `came with ${got}`;
      throw new NearfarError('integrity-mismatch', `the manifest names ${path} with digest ${digest}, it ${came}`, {
        details: { path, want: digest, got },
      });
    }
    const described = { manifest, digest: await digestOf(bytes) };
    if (trust.length > 0) {
      const signature = await this.#read('manifest.sig');
      if (!signature) throw notSigned(described, undefined);
      await verifySignature(signature, described, trust);
    }
    return described;
  }

  /** A small file of it, wherever it lies by now; undefined where there is none. */
  async #read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const index = this.record.files.findIndex((file) => file.path === path);
    if (index < 0) return undefined;
    const bytes = await readFile(join(this.folder, 'parts', String(index))).catch(() => readFile(join(this.versionFolder, path)));
    return new Uint8Array(bytes);
  }

  /** Takes it away. */
  async remove(): Promise<void> {
    const reason = new NearfarError('cancelled', `upload ${this.id} was given up`);
    await Promise.all([...this.#files.values()].map((file) => file.stop(reason)));
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
