import {
  type ByteRange,
  digestOf,
  filesOfVariant,
  listChunks,
  locateTfjsWeights,
  type Manifest,
  NearfarError,
  type Pin,
  parseOnnxModel,
  parseTfjsGraphModel,
  planRequests,
  type Variant,
  type VersionChoice,
} from '../core/index.ts';
import { type Repository, readManifest } from './repository.ts';

/** Names of things that only one side has, or that both have and that differ. */
export interface Changes {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

/** What changed in a variant that both versions have. */
export interface VariantDiff {
  readonly variant: string;
  /** Of all files a client needs. */
  readonly totalBytes: number;
  /** What a client that holds the old version fetches of the new one, its manifest not counted. */
  readonly fetchBytes: number;
  readonly chunks: { readonly total: number; readonly fetched: number };
  /** Weights by name. */
  readonly tensors: Changes;
  /** Bytes of the weights that are new or differ. */
  readonly changedTensorBytes: number;
}

export interface VersionDiff {
  readonly from: { readonly name: string; readonly pin: Pin };
  readonly to: { readonly name: string; readonly pin: Pin };
  readonly signatures: Changes;
  readonly variants: Pick<Changes, 'added' | 'removed'>;
  readonly common: readonly VariantDiff[];
}

/**
 * What changed from one version to another, of one model or of two.
 * @throws {NearfarError} `not-found`, `network`, `integrity-mismatch`, `invalid-argument`.
 */
export async function diffVersions(
  repository: Repository,
  from: VersionChoice & { readonly name: string },
  to: VersionChoice & { readonly name: string },
): Promise<VersionDiff> {
  const before = await openSide(repository, from);
  const after = await openSide(repository, to);
  const [old, current] = [before.manifest, after.manifest];
  const oldVariants = new Map(old.variants.map((variant) => [variant.id, variant]));
  const common: VariantDiff[] = [];
  for (const variant of current.variants) {
    const counterpart = oldVariants.get(variant.id);
    if (counterpart) common.push(await diffVariant(before, counterpart, after, variant));
  }
  const ids = compare(new Map(old.variants.map(({ id }) => [id, ''])), new Map(current.variants.map(({ id }) => [id, ''])));
  return {
    from: { name: from.name, pin: before.pin },
    to: { name: to.name, pin: after.pin },
    signatures: compare(asText(old.signatures), asText(current.signatures)),
    variants: { added: ids.added, removed: ids.removed },
    common,
  };
}

interface Side {
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly read: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

async function openSide(repository: Repository, { name, ...choice }: VersionChoice & { readonly name: string }): Promise<Side> {
  const { pin, manifest } = await readManifest(repository, name, choice);
  return { pin, manifest, read: (path) => repository.read(name, pin.version, ...path.split('/')) };
}

async function diffVariant(before: Side, old: Variant, after: Side, current: Variant): Promise<VariantDiff> {
  const present = new Set(listChunks(before.manifest, filesOfVariant(before.manifest, old)).map(({ digest }) => digest));
  const files = filesOfVariant(after.manifest, current);
  const chunks = listChunks(after.manifest, files);
  const fetched = planRequests(after.manifest, files, present).flatMap((request) => request.chunks);
  const [oldWeights, newWeights] = [await readWeights(before, old), await readWeights(after, current)];
  const tensors = compare(digests(oldWeights), digests(newWeights));
  const isNew = new Set([...tensors.added, ...tensors.changed]);
  return {
    variant: current.id,
    totalBytes: sum(chunks.map(({ bytes }) => bytes)),
    fetchBytes: sum(fetched.map(({ bytes }) => bytes)),
    chunks: { total: chunks.length, fetched: fetched.length },
    tensors,
    changedTensorBytes: sum([...newWeights].flatMap(([name, { bytes }]) => (isNew.has(name) ? [bytes] : []))),
  };
}

interface Weight {
  readonly digest: string;
  readonly bytes: number;
}

/** The weights of a variant by name; of an ONNX file those that it holds as raw bytes. */
async function readWeights({ manifest, read }: Side, variant: Variant): Promise<ReadonlyMap<string, Weight>> {
  const entry = await read(variant.entry);
  if (variant.format === 'onnx') {
    const { initializers } = parseOnnxModel(entry);
    return weigh(
      initializers.map(({ name, start, end }) => [name, { start, end }]),
      entry,
    );
  }
  const model = parseTfjsGraphModel(entry);
  const folder = variant.entry.slice(0, variant.entry.lastIndexOf('/') + 1);
  const shards: Uint8Array[] = [];
  for (const shard of model.shards) shards.push(await read(`${folder}${shard}`));
  const [only] = shards;
  if (!only || shards.length > 1) {
    throw new NearfarError('unsupported', `variant ${variant.id} of ${manifest.name} has ${shards.length} weight files, expected one`);
  }
  const ranges = locateTfjsWeights(model.weights, only);
  return weigh(
    model.weights.map(({ name }, index) => [name, ranges[index]!]),
    only,
  );
}

async function weigh(ranges: readonly (readonly [string, ByteRange])[], bytes: Uint8Array): Promise<ReadonlyMap<string, Weight>> {
  const weights = new Map<string, Weight>();
  for (const [name, { start, end }] of ranges) {
    weights.set(name, { digest: await digestOf(bytes.slice(start, end)), bytes: end - start });
  }
  return weights;
}

function digests(weights: ReadonlyMap<string, Weight>): ReadonlyMap<string, string> {
  return new Map([...weights].map(([name, { digest }]) => [name, digest]));
}

function asText(record: Readonly<Record<string, unknown>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(record).map(([name, value]) => [name, JSON.stringify(value)]));
}

function compare(old: ReadonlyMap<string, string>, current: ReadonlyMap<string, string>): Changes {
  return {
    added: [...current.keys()].filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !current.has(name)),
    changed: [...current].flatMap(([name, value]) => (old.has(name) && old.get(name) !== value ? [name] : [])),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
