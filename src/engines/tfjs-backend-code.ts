/** TensorFlow.js's code for each backend: apart from the engine, so that it is fetched beside it and not behind it. */
export const backendCode = {
  cpu: () => import('@tensorflow/tfjs-backend-cpu'),
  wasm: () => Promise.all([import('@tensorflow/tfjs-backend-wasm'), import('./tfjs/wasm/index.ts')]),
  webgpu: () => import('@tensorflow/tfjs-backend-webgpu'),
};
