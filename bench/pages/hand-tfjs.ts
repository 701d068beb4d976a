import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { loadGraphModelSync } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import type { HandLibrary } from './hand-model.ts';

const wasm = new URL('../../dist/engines/browser/tfjs-backend-wasm-simd.wasm', import.meta.url).href;

export const tfjs: HandLibrary = {
  async start() {
    tf.enableProdMode();
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    setWasmPaths({ 'tfjs-backend-wasm.wasm': wasm, 'tfjs-backend-wasm-simd.wasm': wasm, 'tfjs-backend-wasm-threaded-simd.wasm': wasm });
    await tf.setBackend('wasm');
    await tf.ready();
  },
  async open({ input, output, shape }, { entry, weights }) {
    const { modelTopology, weightsManifest, format, signature } = JSON.parse(new TextDecoder().decode(entry));
    const weightSpecs = weightsManifest.flatMap((group: { weights: tf.io.WeightsManifestEntry[] }) => group.weights);
    const model = loadGraphModelSync({ modelTopology, weightSpecs, weightData: weights ?? new ArrayBuffer(0), format, signature });
    const node = (tensor: string) => tensor.replace(/:0$/, '');
    let prepared: tf.Tensor | undefined;
    return {
      prepare(values) {
        prepared?.dispose();
        prepared = tf.tensor(values, [...shape], 'float32');
      },
      async run() {
        if (!prepared) throw new Error('prepare() comes first');
        const [result] = [model.execute({ [node(input)]: prepared }, output)].flat();
        if (!result) throw new Error(`no output ${output}`);
        const values = await result.data<'float32'>();
        result.dispose();
        return values;
      },
    };
  },
};
