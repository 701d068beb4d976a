import { type BackendId, filesOfVariant, type Manifest, type OpenRequest, type Variant, type WorkerEvent } from '../../core/index.ts';
import { areFilesStored, type LoaderContext, type ResolvedVersion } from '../loader/index.ts';
import type { EnginePool } from './engine-pool.ts';
import { createFilePool, type FilePool } from './file-pool.ts';
import { openSelfTest, type SelfTest, type SelfTestContext } from './self-test.ts';

/** An opening that is begun while the main thread decides on its placement: cached files are read, and an engine that needs no GPU starts. */
export interface Preparation {
  readonly version: ResolvedVersion;
  readonly backend: BackendId;
  readonly selfTest: Promise<SelfTest>;
  readonly files: FilePool;
  /** Tells what happened so far and hands on what happens from now on. */
  tellTo(notify: (event: WorkerEvent) => void): void;
  /** Ends what is under way and gives the engine back, which the opening has a loan of its own of. */
  end(): void;
}

export function prepareOpening(
  context: Omit<SelfTestContext, 'store'> & { readonly loader: Omit<LoaderContext, 'signal' | 'notify'>; readonly engines: EnginePool },
  version: ResolvedVersion,
  { backend, variant }: { backend: BackendId; variant: Variant },
  request: OpenRequest,
): Preparation {
  const { pin, manifest } = version;
  const held: WorkerEvent[] = [];
  let notify = (event: WorkerEvent): unknown => held.push(event);
  const stop = new AbortController();
  const loader = { ...context.loader, notify: (event: WorkerEvent) => void notify(event), signal: stop.signal };
  const files = createFilePool(loader, version, request);
  const selfTest = openSelfTest({ ...context, store: loader.store }, { digest: pin.digest, manifest, variant: variant.id, backend });
  const readStored = async (paths: readonly string[]) => {
    if (await areFilesStored(loader, manifest, paths)) await files.load(paths, stop.signal);
  };
  const read = async () => {
    // Most visits need no golden example, and none waits for its verdict to begin with the rest.
    await readStored(neededFiles(manifest, variant, { isKnown: true }));
    await readStored(neededFiles(manifest, variant, await selfTest));
  };
  const { allowSoftwareAdapter } = request;
  const leasing = backend.endsWith('-webgpu') ? undefined : context.engines.lend(backend, { allowSoftwareAdapter, signal: stop.signal });
  leasing?.catch(() => undefined);
  // What failed here is done again by the opening, which tells it.
  read().catch(() => held.splice(0));
  return {
    version,
    backend,
    selfTest,
    files,
    tellTo(listener) {
      notify = listener;
      for (const event of held.splice(0)) listener(event);
    },
    end() {
      stop.abort();
      leasing?.then((lease) => lease[Symbol.asyncDispose]()).catch(() => undefined);
    },
  };
}

/** The files of a variant, without golden examples that need not be run. */
export function neededFiles(manifest: Manifest, variant: Variant, { isKnown }: Pick<SelfTest, 'isKnown'>): readonly string[] {
  const examples = isKnown ? manifest.golden.flatMap(({ inputs, outputs }) => [inputs, outputs]) : [];
  return filesOfVariant(manifest, variant).filter((path) => !examples.includes(path));
}
