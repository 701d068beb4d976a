import * as ort from 'onnxruntime-web/wasm';
import type { HandLibrary } from './hand-model.ts';

export const onnx: HandLibrary = {
  async start() {
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = 'error';
  },
  async open({ input, output, shape }, { entry }) {
    const session = await ort.InferenceSession.create(new Uint8Array(entry), { executionProviders: ['wasm'] });
    let prepared: ort.Tensor | undefined;
    return {
      prepare(values) {
        prepared = new ort.Tensor('float32', values, [...shape]);
      },
      async run() {
        if (!prepared) throw new Error('prepare() comes first');
        const results = await session.run({ [input]: prepared }, [output]);
        const values = results[output]?.data;
        if (!(values instanceof Float32Array)) throw new Error(`no float32 output ${output}`);
        return values;
      },
    };
  },
};
