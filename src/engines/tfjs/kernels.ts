import * as tf from '@tensorflow/tfjs-core';
import type { TfjsBackendKind } from './backends.ts';

// Kernels of TensorFlow.js 4.22 that give wrong answers without a word, replaced on our own backends; an application's are
// left alone. The conformance suite (test/engines/kernels.test.ts, test/browser/kernels.test.ts) shows what each is for.

type Kernel = tf.KernelConfig['kernelFunc'];

/** Puts the replacements in the place of the kernels copied to a backend of ours. */
export function installKernels(kind: TfjsBackendKind, backendName: string): void {
  for (const [kernelName, replace] of Object.entries(replacements[kind])) {
    const original = tf.getKernel(kernelName, backendName);
    const kernelFunc = replace(original?.kernelFunc);
    // What a kernel sets up is set up again whenever its backend becomes the current one.
    if (original) tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ ...original, kernelName, backendName, kernelFunc });
  }
}

const replacements: Readonly<Record<TfjsBackendKind, Readonly<Record<string, (original: Kernel | undefined) => Kernel>>>> = {
  cpu: {},
  wasm: {},
  webgpu: {},
};
