import { randomUUID } from 'node:crypto';
import { readdir, readFile, rmdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { digestOf, NearfarError, parseVersions } from '../../core/index.ts';
import { assertNames, commitFolder } from '../../publish/index.ts';
import type { Actor, History } from '../history/index.ts';
import type { Logger } from '../log.ts';
import { compareVersions, isRemote, listVersions, type ModelSource } from '../repository/index.ts';
import { type MissingFile, Upload, type UploadRecord, uploadPrefix } from './upload.ts';
import type { AnnouncedFile, UploadPart } from './upload-file.ts';
import { assertUploadPaths, hasModelFile } from './upload-paths.ts';

export interface UploadsOptions {
  /** Models that are configured, and the folder in which new ones are made; both may name a store. */
  readonly sourceOf: (model: string) => ModelSource | undefined;
  readonly models: () => readonly ModelSource[];
  readonly modelsRoot: string | undefined;
  /** Looks at a model's folder, in which there is a new version. */
  readonly lookAfresh: (model: string) => Promise<void>;
  /** Public keys in PEM, one of which must have signed what is uploaded; none: signatures are not looked at. */
  readonly trust: readonly string[];
  /** Of one upload; 0 takes none. */
  readonly maxUploadBytes: number;
  readonly history: Pick<History, 'record'>;
  readonly log: Logger;
}

/** What a client announces. */
export interface UploadRequest {
  /** @default the next free number, for a version without manifest.json */
  readonly version?: string | undefined;
  /** Labels of versions.json that shall point at the version. */
  readonly labels: readonly string[];
  readonly files: readonly AnnouncedFile[];
}

/** Where an upload stands. */
export interface UploadState {
  readonly upload: string;
  readonly model: string;
  readonly version: string;
  readonly missing: readonly MissingFile[];
}

/** A version that came. */
export interface UploadedVersion {
  readonly model: string;
  readonly version: string;
  /** Of its manifest; absent for a plain version, which is imported first. */
  readonly digest?: string | undefined;
}

const mostFiles = 10_000;
const mostUploads = 32;

/** What an upload leaves free, in bytes: the system needs room, too. */
const reserveBytes = 256 * 2 ** 20;

/** After so long, in milliseconds, an upload that nobody worked at is taken away. */
const abandonedMs = 24 * 3_600_000;
const lookForAbandonedMs = 3_600_000;

/**
 * Versions that come over the network. They lie hidden beside the versions of their model until they are whole; then they are published as
 * `nearfar publish` does it, in one step.
 */
export class Uploads implements Disposable {
  readonly #options: UploadsOptions;
  readonly #uploads = new Map<string, Upload>();
  readonly #timer: NodeJS.Timeout;
  /** Announcements are looked at one after the other: two of one version must not both find it free. */
  #last: Promise<unknown> = Promise.resolve();
  /** That what was begun before the server started is known. */
  #opening: Promise<void> | undefined;

  constructor(options: UploadsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#clear(), lookForAbandonedMs).unref();
  }

  /** Finds what was begun before the server started, and takes away what was abandoned. */
  open(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<void> {
    for (const folder of await this.#modelFolders()) {
      const entries = await readdir(folder).catch(() => []);
      for (const entry of entries.filter((name) => name.startsWith(uploadPrefix))) {
        const id = entry.slice(uploadPrefix.length);
        const upload = await Upload.reopen(id, join(folder, entry));
        if (upload && !(await this.#finish(upload, folder))) this.#uploads.set(id, upload);
      }
    }
    const bytes = [...this.#uploads.values()].reduce((sum, { missingBytes }) => sum + missingBytes, 0);
    if (this.#uploads.size > 0)
      this.#options.log.info({ uploads: this.#uploads.size, missingBytes: bytes }, 'uploads wait to be continued');
    await this.#clear();
  }

  /**
   * Does what is left of a version that was moved to its place when the process ended.
   * @returns Whether it was.
   */
  async #finish(upload: Upload, folder: string): Promise<boolean> {
    const { version, labels, files } = upload.record;
    const place = join(folder, version);
    if (!(await isThere(place)) || (await isThere(upload.versionFolder))) return false;
    const announced = files.find(({ path }) => path === 'manifest.json');
    const manifest = announced && (await readFile(join(place, 'manifest.json')).catch(() => undefined));
    const digest = manifest && (await digestOf(new Uint8Array(manifest)));
    // Another one, of somebody else.
    if (digest !== announced?.digest) return false;
    try {
      await commitFolder({ model: folder, name: upload.record.model, version, folder: upload.versionFolder, digest, labels });
      await upload.remove();
    } catch (error) {
      this.#options.log.error({ err: error, model: upload.record.model, version }, 'an upload could not be completed');
    }
    return true;
  }

  async #clear(): Promise<void> {
    const { log } = this.#options;
    for (const upload of this.#uploads.values()) {
      const idleMs = Date.now() - (await upload.touchedAt());
      if (idleMs < abandonedMs) continue;
      log.warn({ model: upload.record.model, version: upload.record.version, upload: upload.id }, 'an abandoned upload is taken away');
      await this.#remove(upload).catch((error: unknown) => log.error({ err: error }, 'an abandoned upload could not be taken away'));
    }
  }

  /**
   * Begins an upload, or goes on with one that is announced alike.
   * @throws {NearfarError} `already-exists` when the version is there, or another one of its number is on its way; `invalid-argument` for
   * names and paths that are none, or too many; `quota-exceeded` for more than is taken or free; `not-found` for a model that is not
   * served, where there is no folder for new ones.
   */
  async begin(model: string, request: UploadRequest): Promise<UploadState> {
    const begun = Promise.all([this.open(), this.#last]).then(() => this.#begin(model, request));
    this.#last = begun.catch(() => undefined);
    return begun;
  }

  async #begin(model: string, { version: wanted, labels, files }: UploadRequest): Promise<UploadState> {
    assertNames({ name: model, version: wanted, labels });
    this.#assertFiles(files);
    if (wanted === undefined && files.some(({ path }) => path === 'manifest.json')) {
      throw new NearfarError('invalid-argument', 'a version with manifest.json is announced by its number, which the manifest has');
    }
    const folder = this.#folderOf(model);
    const same = [...this.#uploads.values()].filter(({ record }) => record.model === model);
    const alike = same.find(({ record }) => {
      return (
        (wanted === undefined || record.version === wanted) && isDeepStrictEqual([record.labels, record.files], [[...labels], [...files]])
      );
    });
    if (alike) return stateOf(alike);
    const taken = new Set([...(await versionsIn(folder)), ...same.map(({ record }) => record.version)]);
    const version = wanted ?? nextOf(taken);
    if (taken.has(version)) {
      const why = same.some(({ record }) => record.version === version) ? 'another upload of it is under way' : 'it is there';
      throw new NearfarError('already-exists', `version ${version} of ${model} cannot be uploaded: ${why}`, {
        details: { model, version },
      });
    }
    if (this.#uploads.size >= mostUploads) {
      throw new NearfarError('overloaded', `${this.#uploads.size} uploads are under way already`, { details: { limit: mostUploads } });
    }
    await this.#assertRoom(folder, files);
    const id = randomUUID();
    const record: UploadRecord = {
      model,
      version,
      labels: [...labels],
      files: files.map(({ path, bytes, digest }) => ({ path, bytes, digest })),
    };
    const upload = await Upload.create(id, record, join(folder, `${uploadPrefix}${id}`));
    this.#uploads.set(id, upload);
    return stateOf(upload);
  }

  #assertFiles(files: readonly AnnouncedFile[]): void {
    const { maxUploadBytes } = this.#options;
    const paths = files.map(({ path }) => path);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    if (maxUploadBytes === 0) throw new NearfarError('permission-denied', 'this server takes no uploads: --max_upload_bytes is 0');
    if (files.length > mostFiles) {
      throw new NearfarError('invalid-argument', `${files.length} files are more than the ${mostFiles} of an upload`, {
        details: { limit: mostFiles },
      });
    }
    if (bytes > maxUploadBytes) {
      throw new NearfarError('quota-exceeded', `${bytes} bytes are more than the ${maxUploadBytes} that --max_upload_bytes allows`, {
        details: { limit: maxUploadBytes, got: bytes },
      });
    }
    assertUploadPaths(paths);
    if (hasModelFile(paths)) return;
    throw new NearfarError(
      'invalid-argument',
      'none of the files is a model: a manifest.json, an ONNX file, a model.json, a saved_model.pb, …',
    );
  }

  async #assertRoom(folder: string, files: readonly AnnouncedFile[]): Promise<void> {
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    // Of all uploads, as if they lay on one disk.
    const promised = [...this.#uploads.values()].reduce((sum, { missingBytes }) => sum + missingBytes, 0);
    const free = (await freeBytesOf(folder)) - promised - reserveBytes;
    if (bytes <= free) return;
    throw new NearfarError('quota-exceeded', `${bytes} bytes are more than the ${Math.max(0, free)} that are free on the server's disk`, {
      details: { free: Math.max(0, free), got: bytes },
    });
  }

  /** @throws {NearfarError} `not-found`. */
  async find(model: string, id: string): Promise<UploadState> {
    return stateOf(await this.#find(model, id));
  }

  /** Those of a model that are not complete. */
  async list(model: string): Promise<readonly UploadState[]> {
    await this.open();
    return [...this.#uploads.values()].filter(({ record }) => record.model === model).map(stateOf);
  }

  /** Bytes of a file that are here, and how many it has. @throws {NearfarError} `not-found`. */
  async progress(model: string, id: string, path: string): Promise<{ readonly offset: number; readonly bytes: number }> {
    const { offset, announced } = (await this.#find(model, id)).file(path);
    return { offset, bytes: announced.bytes };
  }

  /** @throws as {@link UploadFile.write}; `not-found`. */
  async write(model: string, id: string, path: string, part: UploadPart): Promise<{ readonly offset: number; readonly bytes: number }> {
    const upload = await this.#find(model, id);
    const file = upload.file(path);
    try {
      await file.write(part);
    } catch (error) {
      throw outOfSpace(error) ?? error;
    } finally {
      await upload.touch().catch(() => undefined);
    }
    return { offset: file.offset, bytes: file.announced.bytes };
  }

  /**
   * Publishes a version that is whole, and looks at it. A version that was not whole can be completed later.
   * @throws {NearfarError} as {@link Upload.assemble} and `commitFolder`.
   */
  async complete(model: string, id: string, by: Actor): Promise<UploadedVersion> {
    const { trust, history, lookAfresh, log } = this.#options;
    const upload = await this.#find(model, id);
    const { version, labels, files } = upload.record;
    const folder = this.#folderOf(model);
    const entry = { ...by, action: 'add', model, folder, version } as const;
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    try {
      const digest = await upload.end(async () => {
        const described = await upload.assemble(trust);
        // Browsers find it by the name that the server has for it.
        const name = described?.manifest.name ?? model;
        if (name !== model) {
          throw new NearfarError('invalid-argument', `the manifest describes ${name}, it is uploaded as ${model}`, {
            details: { want: model, got: name },
          });
        }
        await commitFolder({ model: folder, name, version, folder: upload.versionFolder, digest: described?.digest, labels });
        await upload.remove();
        return described?.digest;
      });
      this.#uploads.delete(id);
      const what = { ...(digest !== undefined && { digest }), bytes, files: files.length, ...(labels.length > 0 && { labels }) };
      log.info({ model, version, ...what }, 'uploaded');
      await history.record({ ...entry, to: what, outcome: 'done' });
      await lookAfresh(model).catch((error: unknown) => log.warn({ err: error, model }, 'what was uploaded is not found yet'));
      return { model, version, digest };
    } catch (error) {
      await history.record({ ...entry, outcome: 'failed', message: error instanceof Error ? error.message : String(error) });
      throw outOfSpace(error) ?? error;
    }
  }

  /** Gives an upload up. @throws {NearfarError} `not-found`. */
  async giveUp(model: string, id: string): Promise<void> {
    await this.#remove(await this.#find(model, id));
  }

  async #remove(upload: Upload): Promise<void> {
    await upload.end(() => upload.remove());
    this.#uploads.delete(upload.id);
    // Of a model that was to begin with this version.
    await rmdir(dirname(upload.folder)).catch(() => undefined);
  }

  async #find(model: string, id: string): Promise<Upload> {
    await this.open();
    const upload = this.#uploads.get(id);
    if (upload?.record.model === model) return upload;
    throw new NearfarError('not-found', `there is no upload ${id} of model ${model}: it is complete, was given up, or never began`, {
      details: { model, upload: id },
    });
  }

  #folderOf(model: string): string {
    const { sourceOf, modelsRoot } = this.#options;
    const folder = sourceOf(model)?.basePath ?? (modelsRoot === undefined ? undefined : join(modelsRoot, model));
    if (folder !== undefined && !isRemote(folder)) return folder;
    if (folder !== undefined) {
      throw new NearfarError('unsupported', `${model} lies in a store, ${folder}: publish there, uploads go to folders of the server`, {
        details: { name: model },
      });
    }
    throw new NearfarError('not-found', `model ${model} is not served here, and without --models there is no folder for new ones`, {
      details: { name: model },
    });
  }

  async #modelFolders(): Promise<ReadonlySet<string>> {
    const { models, modelsRoot } = this.#options;
    const entries =
      modelsRoot === undefined || isRemote(modelsRoot) ? [] : await readdir(modelsRoot, { withFileTypes: true }).catch(() => []);
    const found = entries.filter((entry) => !entry.isFile()).map(({ name }) => join(modelsRoot ?? '', name));
    const configured = models().map(({ basePath }) => basePath);
    return new Set([...configured.filter((folder) => !isRemote(folder)), ...found]);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function stateOf({ id, record: { model, version }, missing }: Upload): UploadState {
  return { upload: id, model, version, missing };
}

/** Directories, and what versions.json lists. */
async function versionsIn(folder: string): Promise<readonly string[]> {
  const directories = await listVersions(folder).catch(() => new Map<string, string>());
  const bytes = await readFile(join(folder, 'versions.json')).catch(() => undefined);
  const listed = bytes ? parseVersions(new Uint8Array(bytes)).versions.map(({ version }) => version) : [];
  return [...directories.keys(), ...listed];
}

function nextOf(taken: ReadonlySet<string>): string {
  const [highest = '0'] = [...taken].sort((a, b) => compareVersions(b, a));
  return String(BigInt(highest) + 1n);
}

async function freeBytesOf(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    // A model that is not there yet.
    const above = dirname(folder);
    return above === folder ? 0 : freeBytesOf(above);
  }
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function outOfSpace(error: unknown): NearfarError | undefined {
  const isFull = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  return isFull ? new NearfarError('quota-exceeded', "the server's disk is full", { cause: error }) : undefined;
}
