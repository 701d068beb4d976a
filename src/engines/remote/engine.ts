import {
  checkRequest,
  type Engine,
  inSignatureLayouts,
  type LoadedVariant,
  NearfarError,
  type Pin,
  type RunRequest,
  type TensorMap,
  type VariantSource,
} from '../../core/index.ts';
import { isReadyOnServer, predictOnServer } from './server-leg.ts';

export interface RemoteEngineOptions {
  /** Absolute base URLs of servers, tried in order. */
  readonly servers: readonly string[];
  /** The version every answer must come from. */
  readonly pin: Pin;
  readonly fetch: typeof fetch;
}

/** Far is one more engine: it runs signatures on a server, by the same port as the engines of this device. */
export function openRemoteEngine({ servers, pin, fetch }: RemoteEngineOptions): Engine {
  let variants = 0;
  const load = async ({ manifest }: VariantSource, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<LoadedVariant> => {
    const target = { servers, name: manifest.name, pin, manifest };
    if (!(await isReadyOnServer(target, { fetch, signal }))) {
      throw new NearfarError('unavailable', `no server has ${manifest.name} version ${pin.version} (${pin.digest}) ready`, {
        details: { name: manifest.name, ...pin, servers: [...servers] },
      });
    }
    variants++;
    let isOpen = true;
    return {
      run: async (request: RunRequest, options = {}): Promise<TensorMap> => {
        if (!isOpen) throw new NearfarError('failed-precondition', `${manifest.name} is closed`);
        const { outputs } = checkRequest(manifest, request);
        const { signature } = request;
        const inputs = inSignatureLayouts(manifest, request);
        const { answer } = await predictOnServer(target, { callId: 0, signature, inputs, outputs }, { fetch, signal: options.signal });
        return answer.outputs;
      },
      [Symbol.asyncDispose]: async () => {
        if (isOpen) variants--;
        isOpen = false;
      },
    };
  };
  return {
    backend: 'remote',
    device: { kind: 'server' },
    // A server that cannot be reached is an error of a call: the next one may reach it again.
    lost: new Promise<string>(() => undefined),
    load,
    memory: () => ({ tensors: 0, bytes: 0, variants }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
