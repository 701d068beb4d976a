// What an application downloads, minified and gzipped, measured as its bundler would make it.
const engines = ['./dist/engines/tfjs/index.js', './dist/engines/onnx/index.js', '@tensorflow/*'];
// Fetched by models with strings, tables or an operator that the converter gets wrong.
const customOps = './dist/engines/tfjs/custom-ops.js';
// Where the GPU does not run the model.
const wasmBackend = './dist/engines/tfjs/wasm/index.js';
// Run on the first visit only.
const golden = './dist/worker/device/run-golden.js';
// Downloads, and the calls of client.cache: a warm visit needs neither.
const rare = ['./dist/worker/loader/fetch-missing.js', './dist/worker/device/manage-cache.js'];
// Fetched by the first call of a task beside image classification.
const tasks = ['./dist/worker/device/run-task.js', './dist/worker/media/prepare-for-task.js', './dist/engines/remote/run-task.js'];
// Fetched while the worker starts, beside its first question.
const balance = './dist/engines/remote/balance.js';
// Fetched when a call has to wait for another one.
const batching = './dist/worker/device/micro-batching.js';
const rareCalls = [
  // Loaded beside a model that opens.
  './dist/sdk/predict-plan.js',
  './dist/sdk/cache-calls.js',
  // Where a server has another version.
  './dist/sdk/other-version.js',
  './dist/sdk/availability.js',
  './dist/sdk/classify-stream.js',
  // By the first call of a task beside image classification.
  './dist/sdk/plan-task.js',
  // For applications that hedge, and while an opening waits for its probe.
  './dist/sdk/hedge.js',
  './dist/sdk/surroundings.js',
];
const onnxRuntime = ['onnxruntime-web', 'onnxruntime-web/*'];
const entries = [
  { name: 'nearfar', path: 'dist/sdk/index.js', import: '*', ignore: rareCalls, limit: '15 kB' },
  { name: 'nearfar/react', path: 'dist/react/index.js', import: '*', ignore: ['react', ...rareCalls], limit: '16 kB' },
  { name: 'nearfar/reporter', path: 'dist/reporter/index.js', import: '*', limit: '2 kB' },
  { name: 'nearfar/formats', path: 'dist/formats/index.js', import: '*', limit: '135 kB' },
  // The engines are dynamic imports, which esbuild would put into the same file.
  {
    name: 'worker without engines',
    path: 'dist/worker/main.js',
    ignore: [...engines, wasmBackend, ...onnxRuntime, golden, batching, balance, ...tasks, ...rare],
    limit: '40 kB',
  },
  {
    name: 'worker with tfjs and all its backends',
    path: 'dist/worker/main.js',
    ignore: [...onnxRuntime, customOps, wasmBackend, golden, batching, balance, ...tasks, ...rare],
    limit: '312 kB',
  },
  {
    name: 'tfjs engine on WebGPU: core, converter, webgpu',
    path: 'dist/engines/tfjs/index.js',
    import: '*',
    ignore: [customOps, wasmBackend, '@tensorflow/tfjs-backend-cpu', '@tensorflow/tfjs-backend-wasm'],
    limit: '260 kB',
  },
  { name: 'operators of ours for tfjs', path: 'dist/engines/tfjs/custom-ops.js', import: '*', ignore: ['@tensorflow/*'], limit: '12 kB' },
  // As it was built, with its libraries and its style.
  { name: 'management page', path: ['dist/ui/assets/*.js', 'dist/ui/assets/*.css'], limit: '120 kB' },
];

export default entries.map((entry) => ({ ...entry, gzip: true, modifyEsbuildConfig: (config) => ({ ...config, format: 'esm' }) }));
