// What an application downloads, minified and gzipped, measured as its bundler would make it.
const entries = [
  { name: 'nearfar', path: 'dist/sdk/index.js', import: '*', limit: '15 kB' },
  { name: 'nearfar/react', path: 'dist/react/index.js', import: '*', ignore: ['react'], limit: '16 kB' },
  {
    name: 'worker without engines',
    path: 'dist/worker/main.js',
    ignore: ['@tensorflow/*', 'onnxruntime-web', 'onnxruntime-web/*'],
    limit: '40 kB',
  },
  {
    name: 'worker with tfjs, all backends',
    path: 'dist/worker/main.js',
    ignore: ['onnxruntime-web', 'onnxruntime-web/*'],
    limit: '300 kB',
  },
];

export default entries.map((entry) => ({ ...entry, gzip: true, modifyEsbuildConfig: (config) => ({ ...config, format: 'esm' }) }));
