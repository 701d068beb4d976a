import type { create, globals } from 'webgpu';

/** Dawn's WebGPU, or why it is not there. */
export interface Dawn {
  readonly gpu: GPU | undefined;
  readonly absence: string | undefined;
}

/**
 * Loads Dawn for Node and puts WebGPU's classes and constants among the globals, where TensorFlow.js looks for them.
 * `navigator.gpu` stays unset: a global that names Dawn's instance would keep the process alive.
 */
export async function openDawn(): Promise<Dawn> {
  let dawn: { readonly create: typeof create; readonly globals: typeof globals };
  try {
    dawn = await import('webgpu');
  } catch (error) {
    return { gpu: undefined, absence: `the package "webgpu" cannot be loaded (${firstLine(error)}); install it with: npm install webgpu` };
  }
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]);
  try {
    if ((await gpu.requestAdapter()) !== null) return { gpu, absence: undefined };
    return { gpu: undefined, absence: 'Dawn finds no GPU adapter (no Vulkan, Metal or Direct3D 12 driver)' };
  } catch (error) {
    return { gpu: undefined, absence: `Dawn finds no GPU adapter (${firstLine(error)})` };
  }
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0]!;
}
