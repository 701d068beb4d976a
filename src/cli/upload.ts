import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import * as v from 'valibot';
import { NearfarError, type NearfarErrorCode, parseManifest } from '../core/index.ts';
import { askServer, type ServerQuestion } from './ask-server.ts';
import { type CommandContext, runCommand } from './command.ts';
import { collect, parseCount } from './parse-option.ts';
import { openProgress, type Progress } from './progress.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';

interface UploadFlags extends ServerFlags {
  readonly name: string;
  readonly version?: string;
  readonly label?: readonly string[];
  readonly retries: number;
}

interface LocalFile {
  /** On this machine. */
  readonly source: string;
  /** In the version. */
  readonly path: string;
  readonly bytes: number;
  readonly digest: string;
}

const progressSchema = v.object({ offset: v.number(), bytes: v.number() });
const stateSchema = v.object({
  upload: v.string(),
  version: v.string(),
  missing: v.array(v.object({ path: v.string(), offset: v.number() })),
});
const completeSchema = v.object({ model: v.string(), version: v.string(), digest: v.optional(v.string()) });

/** So much goes in one request: what a break loses on the way is little, and a request ends before any server's limit of time. */
const partBytes = 8 * 2 ** 20;
const firstPauseMs = 250;
const longestPauseMs = 15_000;

/** What may go well a moment later. */
const passing: ReadonlySet<NearfarErrorCode> = new Set(['network', 'unavailable', 'overloaded', 'rate-limited', 'deadline-exceeded']);

export function addUpload(program: Command): void {
  addServerOptions(program.command('upload <folder>').description('send a version to a running server, which publishes it'))
    .requiredOption('--name <name>', 'name of the model')
    .option('--version <number>', 'version number (default: that of manifest.json, else the next free one)')
    .option('--label <label>', 'label that shall point at the version; several times for several', collect)
    .option('--retries <count>', 'give up after so many failures in a row', parseCount, 10)
    .addHelpText(
      'after',
      '\nThe folder is one version, with manifest.json or as a plain ONNX, TensorFlow.js or SavedModel folder; a file is a version of its own. What breaks\noff goes on by itself, and later with the same command.',
    )
    .action((folder: string, flags: UploadFlags) =>
      runCommand(
        flags,
        (context) => upload(folder, flags, context),
        ({ model, version, digest, files, bytes }) =>
          `${model} version ${version}${digest === undefined ? '' : ` ${digest}`}\n  ${bytes} bytes in ${files} files`,
      ),
    );
}

async function upload(folder: string, flags: UploadFlags, { json, signal }: CommandContext) {
  using progress = openProgress(json);
  const files = await readFiles(folder, { signal, progress });
  const version = await versionOf(files, flags);
  const server = new UploadServer(flags, signal);
  const announcement = {
    ...(version !== undefined && { version }),
    ...(flags.label && { labels: flags.label }),
    files: files.map(({ path, bytes, digest }) => ({ path, bytes, digest })),
  };
  const state = await server.begin(announcement);
  await sendFiles(files, state, { server, progress, signal });
  const completed = await server.complete(state, files);
  return { ...completed, files: files.length, bytes: sumOf(files) };
}

/** Every file below a folder, with its digest; hidden ones, such as `.git`, are no part of a version. */
async function readFiles(
  folder: string,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: Progress },
): Promise<readonly LocalFile[]> {
  const found = await listFiles(folder);
  if (found.some(({ path }) => path === 'versions.json')) {
    throw new NearfarError(
      'invalid-argument',
      `${folder} is a model with several versions; name one of its folders, such as ${join(folder, '1')}`,
    );
  }
  if (found.length === 0) throw new NearfarError('not-found', `${folder} has no files`);
  const total = sumOf(found);
  let read = 0;
  const files: LocalFile[] = [];
  for (const file of found) {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(file.source, { signal })) {
      hash.update(chunk);
      read += chunk.length;
      progress.update(read, total, `read: ${file.path}`);
    }
    files.push({ ...file, digest: `sha256:${hash.digest('hex')}` });
  }
  return files;
}

async function listFiles(folder: string): Promise<readonly Omit<LocalFile, 'digest'>[]> {
  const info = await stat(folder).catch((cause: unknown) => {
    throw new NearfarError('not-found', `cannot read ${folder}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  });
  if (info.isFile()) return [{ source: folder, path: basename(folder), bytes: info.size }];
  const files: Omit<LocalFile, 'digest'>[] = [];
  const walk = async (directory: string, above: string): Promise<void> => {
    const entries = await readdir(directory, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const source = join(directory, entry.name);
      const path = above + entry.name;
      if (entry.name.startsWith('.')) continue;
      if (entry.isDirectory()) await walk(source, `${path}/`);
      // Of a link to a file its content, as caches of models have them; one to a folder may lead anywhere.
      else {
        const target = await stat(source);
        if (!target.isFile())
          throw new NearfarError('invalid-argument', `${source} is neither a file nor a folder`, { details: { path: source } });
        files.push({ source, path, bytes: target.size });
      }
    }
  };
  await walk(folder, '');
  return files;
}

async function versionOf(files: readonly LocalFile[], { version }: UploadFlags): Promise<string | undefined> {
  const manifest = files.find(({ path }) => path === 'manifest.json');
  if (!manifest) return version;
  const described = parseManifest(new Uint8Array(await readFile(manifest.source))).version;
  if (version === undefined || version === described) return described;
  throw new NearfarError(
    'invalid-argument',
    `the folder is version ${described}, which its manifest says and its digest holds; --version is ${version}`,
    {
      details: { want: version, got: described },
    },
  );
}

type State = v.InferOutput<typeof stateSchema>;

async function sendFiles(
  files: readonly LocalFile[],
  state: State,
  { server, progress, signal }: { readonly server: UploadServer; readonly progress: Progress; readonly signal: AbortSignal },
): Promise<void> {
  const offsets = new Map(state.missing.map(({ path, offset }) => [path, offset]));
  const total = sumOf(files);
  let done = total - files.reduce((sum, { path, bytes }) => sum + (offsets.has(path) ? bytes - (offsets.get(path) ?? 0) : 0), 0);
  for (const file of files) {
    let offset = offsets.get(file.path);
    if (offset === undefined) continue;
    await using source = await open(file.source);
    let damaged = 0;
    // An empty file, too, is sent once where the server lacks it.
    do {
      signal.throwIfAborted();
      progress.update(done, total, `send: ${file.path}`);
      const before: number = offset;
      const part: Uint8Array<ArrayBuffer> = new Uint8Array(Math.min(partBytes, file.bytes - offset));
      const { bytesRead } = await source.read(part, 0, part.byteLength, offset);
      if (bytesRead < part.byteLength) throw new NearfarError('integrity-mismatch', `${file.source} became shorter while it was sent`);
      offset = await server.send(state, file, { offset, part }).catch((error: unknown) => {
        // Damaged on the way once; twice it is the file that changed.
        if (!(error instanceof NearfarError && error.code === 'integrity-mismatch') || ++damaged > 1) throw error;
        return 0;
      });
      done += offset - before;
    } while (offset < file.bytes);
  }
  progress.update(total, total, 'publish');
}

/** The calls of an upload, each tried again while what it fails by may pass. */
class UploadServer {
  readonly #flags: UploadFlags;
  readonly #signal: AbortSignal;
  readonly #uploads: string;
  #failures = 0;

  constructor(flags: UploadFlags, signal: AbortSignal) {
    this.#flags = flags;
    this.#signal = signal;
    this.#uploads = `models/${encodeURIComponent(flags.name)}/uploads`;
  }

  begin(announcement: object): Promise<State> {
    return this.#ask({ path: this.#uploads, method: 'POST', body: announcement, answer: stateSchema });
  }

  /** @returns How much of the file is there then. */
  async send(
    { upload }: State,
    { path, bytes }: LocalFile,
    { offset, part }: { readonly offset: number; readonly part: Uint8Array<ArrayBuffer> },
  ): Promise<number> {
    const file = `${this.#uploads}/${upload}/files/${path.split('/').map(encodeURIComponent).join('/')}`;
    const headers: Record<string, string> =
      part.byteLength > 0 ? { 'content-range': `bytes ${offset}-${offset + part.byteLength - 1}/${bytes}` } : {};
    try {
      const sent = await this.#askOnce({ path: file, method: 'PUT', body: part, headers, answer: progressSchema });
      this.#failures = 0;
      return sent.offset;
    } catch (error) {
      if (!isPassing(error) && !isElsewhere(error)) throw error;
      await this.#pause(error);
      return (await this.#ask({ path: file, answer: progressSchema })).offset;
    }
  }

  /** An answer that was lost may have been that it is done. */
  async complete({ upload, version }: State, files: readonly LocalFile[]): Promise<v.InferOutput<typeof completeSchema>> {
    const digest = files.find(({ path }) => path === 'manifest.json')?.digest;
    let isAgain = false;
    for (;;) {
      try {
        return await this.#askOnce({ path: `${this.#uploads}/${upload}/complete`, method: 'POST', answer: completeSchema });
      } catch (error) {
        const isGone = isAgain && error instanceof NearfarError && error.code === 'not-found';
        if (isGone) return { model: this.#flags.name, version, ...(digest !== undefined && { digest }) };
        // The server may be at it still, for a connection that broke.
        const isUnderWay = isAgain && error instanceof NearfarError && error.code === 'failed-precondition' && !error.details['missing'];
        if (!isPassing(error) && !isUnderWay) throw error;
        isAgain = true;
        await this.#pause(error);
      }
    }
  }

  async #ask<Schema extends v.GenericSchema>(question: Omit<ServerQuestion<Schema>, 'url' | 'signal'>): Promise<v.InferOutput<Schema>> {
    for (;;) {
      try {
        const answer = await this.#askOnce(question);
        return answer;
      } catch (error) {
        if (!isPassing(error)) throw error;
        await this.#pause(error);
      }
    }
  }

  #askOnce<Schema extends v.GenericSchema>(question: Omit<ServerQuestion<Schema>, 'url' | 'signal'>): Promise<v.InferOutput<Schema>> {
    return askServer({ ...question, url: this.#flags.url, signal: this.#signal });
  }

  /** Twice as long each time; with the last failure the command fails. */
  async #pause(error: unknown): Promise<void> {
    if (++this.#failures > this.#flags.retries) throw error;
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (this.#failures - 1));
    await sleep(pauseMs, undefined, { signal: this.#signal }).catch(() => this.#signal.throwIfAborted());
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof NearfarError && passing.has(error.code);
}

/** What was sent before has come, or has not: the server says where it stands. */
function isElsewhere(error: unknown): boolean {
  return error instanceof NearfarError && error.code === 'failed-precondition' && typeof error.details['offset'] === 'number';
}

function sumOf(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
