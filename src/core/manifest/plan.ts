import { NearfarError } from '../errors.ts';
import type { Manifest, Variant } from './manifest.ts';
import { taskReferences } from './tasks.ts';

/** A chunk at its place in a file. */
export interface ChunkPlace {
  readonly file: string;
  /** Position in the file's chunk list. */
  readonly index: number;
  readonly digest: string;
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly bytes: number;
}

/** One range request: missing chunks of one file that lie side by side. */
export interface ChunkRequest {
  readonly file: string;
  /** First byte. */
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
  readonly chunks: readonly ChunkPlace[];
}

export interface PlanOptions {
  /** Largest request, in bytes; a chunk is never split. @default 4_194_304 (4 MiB) */
  readonly maxRequestBytes?: number;
}

const defaults: Required<PlanOptions> = { maxRequestBytes: 4 * 2 ** 20 };

/** Everything a device needs of a variant: its own files, the golden examples and what the tasks read. */
export function filesOfVariant({ tasks, golden }: Manifest, variant: Variant): readonly string[] {
  const read = taskReferences(tasks).flatMap(({ files }) => files);
  const examples = golden.flatMap(({ inputs, outputs }) => [inputs, outputs]);
  return [...new Set([...variant.files, ...read, ...examples])];
}

/** Every chunk of some files, in file order. @throws {NearfarError} `invalid-argument` for a file the manifest does not have. */
export function listChunks(manifest: Manifest, files: readonly string[]): ChunkPlace[] {
  return files.flatMap((file) => {
    const entry = Object.hasOwn(manifest.files, file) ? manifest.files[file] : undefined;
    if (!entry) {
      throw new NearfarError('invalid-argument', `${manifest.name} version ${manifest.version} has no file ${file}`, { details: { file } });
    }
    let start = 0;
    return entry.chunks.map(([bytes, digest], index) => {
      const place = { file, index, digest, start, bytes };
      start += bytes;
      return place;
    });
  });
}

/**
 * Which byte ranges of the plain files must be fetched. A chunk that occurs twice is fetched once.
 * @param files Paths of the wanted files, in the order in which they are wanted.
 * @param present Digests of the chunks that are already here.
 * @throws {NearfarError} `invalid-argument` for a file the manifest does not have.
 */
export function planRequests(
  manifest: Manifest,
  files: readonly string[],
  present: ReadonlySet<string>,
  options: PlanOptions = {},
): ChunkRequest[] {
  const { maxRequestBytes } = { ...defaults, ...options };
  const planned = new Set(present);
  const requests: { file: string; start: number; end: number; chunks: ChunkPlace[] }[] = [];
  for (const chunk of listChunks(manifest, files)) {
    if (planned.has(chunk.digest)) continue;
    planned.add(chunk.digest);
    const end = chunk.start + chunk.bytes;
    const last = requests.at(-1);
    if (last && last.file === chunk.file && last.end === chunk.start && end - last.start <= maxRequestBytes) {
      last.end = end;
      last.chunks.push(chunk);
    } else {
      requests.push({ file: chunk.file, start: chunk.start, end, chunks: [chunk] });
    }
  }
  return requests;
}
