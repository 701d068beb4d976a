import { type ExecFileException, execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describeAdapter } from '../gpu.ts';

/** Dawn's WebGPU, or why it is not there. */
export interface Dawn {
  readonly gpu: GPU | undefined;
  readonly absence: string | undefined;
}

/** What a look for a GPU found: why there is none to use, or nothing where there is one. */
export interface GpuLook {
  readonly absence: string | undefined;
}

export interface DawnOptions {
  readonly allowSoftwareAdapter: boolean;
  /** Of an earlier look; a new one starts a process. */
  readonly knownGpu?: GpuLook | undefined;
}

/** Starting every Vulkan driver of a busy machine takes seconds; a driver that hangs takes for ever. */
const probeMs = 30_000;

/**
 * Loads Dawn for Node, where an adapter is that may be used, and puts WebGPU's classes and constants among the globals, where
 * TensorFlow.js looks for them. `navigator.gpu` stays unset: a global that names Dawn's instance would keep the process alive.
 * @remarks A process of its own looks for the adapter first: drivers write to standard error about every display and device
 * they miss, keep their memory, and a broken one ends the process it is loaded into.
 */
export async function openDawn({ allowSoftwareAdapter, knownGpu }: DawnOptions): Promise<Dawn> {
  const { absence } = knownGpu ?? (await lookForGpu({ allowSoftwareAdapter }));
  if (absence !== undefined) return { gpu: undefined, absence };
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  return { gpu: create([]), absence: undefined };
}

/** Looks for an adapter that may be used, in a process of its own. */
export async function lookForGpu({ allowSoftwareAdapter }: { readonly allowSoftwareAdapter: boolean }): Promise<GpuLook> {
  return { absence: await findAbsence(allowSoftwareAdapter) };
}

async function findAbsence(allowSoftwareAdapter: boolean): Promise<string | undefined> {
  const webgpu = findPackage();
  if (webgpu === undefined) return 'the package "webgpu" is not there; install it with: npm install webgpu';
  let info: GPUAdapterInfo | null;
  try {
    info = await probeAdapter(webgpu);
  } catch (error) {
    return `the package "webgpu" does not work here: ${reasonOf(error)}`;
  }
  if (info === null) return 'Dawn finds no GPU adapter (no Vulkan, Metal or Direct3D 12 driver)';
  const { isFallbackAdapter, description, vendor } = describeAdapter({ info });
  if (!isFallbackAdapter || allowSoftwareAdapter) return undefined;
  return `the only GPU adapter is a software one (${description || vendor || 'unnamed'})`;
}

function findPackage(): URL | undefined {
  try {
    return pathToFileURL(createRequire(import.meta.url).resolve('webgpu'));
  } catch {
    return undefined;
  }
}

/** What the fastest adapter says about itself; null when there is none. */
async function probeAdapter(webgpu: URL): Promise<GPUAdapterInfo | null> {
  const script = `
    import { create } from ${JSON.stringify(webgpu)};
    const adapter = await create([]).requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
    const { vendor, architecture, device, description, isFallbackAdapter } = adapter?.info ?? {};
    const info = adapter && { vendor, architecture, device, description, isFallbackAdapter };
    process.stdout.write(JSON.stringify(info), () => process.exit());`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { timeout: probeMs });
  return JSON.parse(stdout);
}

/** What a process that failed said last of an error, or how it ended. */
function reasonOf(error: unknown): string {
  const { stderr = '', signal, code }: Partial<ExecFileException> = error instanceof Error ? error : {};
  return /^\w*Error\b.*$/m.exec(stderr)?.[0] ?? `looking for an adapter ended with ${signal ?? code ?? error}`;
}
