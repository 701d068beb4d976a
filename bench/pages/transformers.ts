import { taskOfPage } from './task.ts';

// The same as nearfar.ts by transformers.js, which caches what it loads in the Cache API, its wasm only if both files are named.

export interface TransformersTask {
  /** Its own build for browsers, as a CDN serves it. */
  readonly library: string;
  readonly wasmPaths: { readonly mjs: string; readonly wasm: string };
  /** Folder of models, and the model's folder in it. */
  readonly models: string;
  readonly name: string;
}

export interface TransformersAnswer {
  /** From the beginning of the navigation to the answer. */
  readonly ms: number;
  readonly top: string | undefined;
}

type Classify = (photo: string, options: { top_k: number }) => Promise<readonly { label: string }[]>;
interface Library {
  readonly env: {
    allowRemoteModels: boolean;
    allowLocalModels: boolean;
    localModelPath: string;
    readonly backends: { readonly onnx: { readonly wasm: { wasmPaths: TransformersTask['wasmPaths']; numThreads: number } } };
  };
  pipeline(task: 'image-classification', name: string, options: { dtype: 'fp32'; device: 'wasm' }): Promise<Classify>;
}

async function answer({ library, wasmPaths, models, name }: TransformersTask): Promise<TransformersAnswer> {
  const { env, pipeline }: Library = await import(/* @vite-ignore */ library);
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = models;
  Object.assign(env.backends.onnx.wasm, { wasmPaths, numThreads: 1 });
  const classify = await pipeline('image-classification', name, { dtype: 'fp32', device: 'wasm' });
  const [top] = await classify(new URL('/photo.jpg', location.href).href, { top_k: 5 });
  return { ms: performance.now(), top: top?.label };
}

Object.assign(window, { result: answer(taskOfPage()) });
