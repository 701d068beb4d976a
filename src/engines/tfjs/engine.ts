import { type BackendId, type Engine, type LoadedVariant, NearfarError, type VariantSource } from '../../core/index.ts';
import { watchDeviceLoss } from '../loss.ts';
import type { EnginePlatform } from '../platform.ts';
import { openTfjsBackend, type TfjsBackend, type TfjsBackendKind } from './backends.ts';
import { type GraphVariant, loadGraphVariant } from './graph-variant.ts';

/**
 * Opens TensorFlow.js on exactly one backend.
 * @throws {NearfarError} `device-unfit` with the reason when the backend cannot be had.
 */
export async function openTfjsEngine(kind: TfjsBackendKind, platform: EnginePlatform): Promise<Engine> {
  return createTfjsEngine(`tfjs-${kind}`, await openTfjsBackend(kind, platform), platform);
}

function createTfjsEngine(id: BackendId, backend: TfjsBackend, platform: EnginePlatform): Engine {
  const variants = new Map<LoadedVariant, GraphVariant>();
  const loss = watchDeviceLoss(id, backend.lost);
  let closing: Promise<void> | undefined;
  // One for the realm, whichever variant opened it.
  const hostBackend = () => [...variants.values()].find((variant) => variant.hostBackend)?.hostBackend;

  return {
    backend: id,
    device: backend.device,
    lost: loss.lost,
    async load(source: VariantSource, { signal } = {}) {
      signal?.throwIfAborted();
      if (closing) throw new NearfarError('failed-precondition', `engine ${id} is closed`);
      loss.assertAlive();
      if (source.variant.format !== 'tfjs-graph') {
        throw new NearfarError('unsupported', `TensorFlow.js runs tfjs-graph, variant ${source.variant.id} is ${source.variant.format}`, {
          details: { variant: source.variant.id, format: source.variant.format },
        });
      }
      const openHost = () => openTfjsBackend('cpu', platform);
      const loaded = await loadGraphVariant(source, { id, backend, loss, nextTask: platform.nextTask, signal, openHost });
      const variant: LoadedVariant = {
        run: loaded.run,
        [Symbol.asyncDispose]: async () => {
          await loaded[Symbol.asyncDispose]();
          if (variants.delete(variant) && variants.size === 0 && !closing) await backend.use(backend.trim);
        },
      };
      variants.set(variant, loaded);
      return variant;
    },
    // Not tf.memory(): it counts the whole realm, and its bytes drift with every string tensor.
    memory: () => ({
      tensors: closing ? 0 : backend.liveTensors() + (hostBackend()?.liveTensors() ?? 0),
      bytes: [...variants.values()].reduce((sum, { bytes }) => sum + bytes, 0),
      variants: variants.size,
    }),
    loseDevice: backend.gpuDevice && (() => backend.gpuDevice?.destroy()),
    [Symbol.asyncDispose]() {
      closing ??= (async () => {
        for (const variant of [...variants.keys()]) await variant[Symbol.asyncDispose]();
        loss.end();
        await backend.close();
      })();
      return closing;
    },
  };
}
