/** TensorFlow.js's code for each backend: apart from the engine, so that it is fetched beside it and not behind it. */
export const backendCode = {
  cpu: () => import('@tensorflow/tfjs-backend-cpu'),
  wasm: () => import('@tensorflow/tfjs-backend-wasm'),
  webgpu: () => import('@tensorflow/tfjs-backend-webgpu'),
};
