import type { InferenceSession } from 'onnxruntime-common';
import { NearfarError } from '../../core/index.ts';
import type { OrtModule } from '../platform.ts';

/** An ONNX model of one node, `y = x * x` over float32[2]: ir_version 8, opset 13. */
const square = 'CAg6NQoOCgF4CgF4EgF5IgNNdWwSAWdaDwoBeBIKCggIARIECgIIAmIPCgF5EgoKCAgBEgQKAggCQgIQDQ==';

/**
 * Runs a model of one node with exactly these options and reads the answer back, so that a provider that is missing or
 * broken is found when the engine opens, not under a model.
 */
export async function probeProvider(ort: OrtModule, options: InferenceSession.SessionOptions): Promise<void> {
  const session = await ort.InferenceSession.create(
    Uint8Array.from(atob(square), (letter) => letter.charCodeAt(0)),
    options,
  );
  try {
    const { y } = await session.run({ x: new ort.Tensor('float32', Float32Array.of(3, 4), [2]) });
    const [nine, sixteen] = y?.data ?? [];
    if (nine !== 9 || sixteen !== 16)
      throw new NearfarError('device-unfit', `3² and 4² came back as ${String(nine)} and ${String(sixteen)}`);
  } finally {
    await session.release();
  }
}
