// Which room may import which, by which door, and what must never reach a browser.
import { builtinModules } from 'node:module';

/** Rooms and what each may import besides itself. */
const rooms = {
  core: [],
  engines: ['core'],
  worker: ['core', 'engines'],
  sdk: ['core', 'engines'],
  react: ['core', 'sdk'],
  reporter: ['core', 'sdk'],
  ui: ['core'],
  formats: ['core'],
  publish: ['core', 'engines'],
  server: ['core', 'engines', 'publish'],
  cli: ['core', 'publish', 'server'],
};

/** Inside a room, lowest layer first: a layer imports itself and the layers below. */
const layers = {
  core: [['errors'], ['tensor'], ['manifest'], ['formats', 'preprocess', 'postprocess', 'engine'], ['tasks', 'placement'], ['protocol']],
  server: [['repository'], ['servables'], ['batching', 'cache'], ['security', 'uploads'], ['transports'], ['server', 'main']],
};

const nodeOnlyPackages = [
  '@fastify/cors',
  '@grpc/grpc-js',
  '@redis/client',
  'cli-progress',
  'commander',
  'fastify',
  'onnxruntime-node',
  'pino',
  'prom-client',
  'sharp',
  'webgpu',
];

const roomRules = Object.entries(rooms).map(([room, allowed]) => ({
  name: `${room}-imports`,
  comment: `src/${room} imports ${[room, ...allowed].join(', ')} and packages, no other room`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: { path: '^(src|demo|test|bench|scripts)/', pathNot: `^src/(${[room, ...allowed].join('|')})/` },
}));

const layerRules = Object.entries(layers).flatMap(([room, order]) =>
  order.slice(0, -1).map((layer, index) => ({
    name: `${room}-${layer.join('-')}-points-down`,
    comment: `in src/${room}, ${layer.join(', ')} imports nothing of the layers above it`,
    severity: 'error',
    from: { path: `^src/${room}/(${layer.join('|')})(/|\\.ts$)` },
    to: {
      path: `^src/${room}/(${order
        .slice(index + 1)
        .flat()
        .join('|')})(/|\\.ts$)`,
    },
  })),
);

// One rule per depth, because a file may import every folder above its own, and only captured names can be spelled out.
const doorRules = [1, 2, 3, 4].map((depth) => {
  const above = Array.from({ length: depth }, (_, level) => `^src/${groups(level + 1)}/[^/]+$`);
  return {
    name: `doors-${depth}`,
    comment: 'a folder is imported by its index.ts, unless from inside it',
    severity: 'error',
    from: { path: `^src/${Array(depth).fill('([^/]+)').join('/')}/[^/]+$` },
    to: { path: '^src/', pathNot: ['/index\\.ts$', '/gen/', ...above] },
  };
});

/** `$1/$2/…`: the folders of the importing file, from its room downwards. */
function groups(count) {
  return Array.from({ length: count }, (_, index) => `$${index + 1}`).join('/');
}

export default {
  forbidden: [
    ...roomRules,
    ...layerRules,
    ...doorRules,
    {
      name: 'core-packages',
      comment: 'core is pure: validation, protobuf encoding and inflating are its only packages',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { dependencyTypes: ['npm', 'npm-optional', 'npm-dev', 'core'], pathNot: '^node_modules/(valibot|@bufbuild/protobuf|fflate)/' },
    },
    {
      name: 'cycles',
      comment: 'imports form no cycle; types alone may point back',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'browser-entries',
      comment: 'no Node module is reachable from what a browser imports',
      severity: 'error',
      from: { path: '^src/(sdk/index|worker/main|react/index|reporter/index|formats/index|ui/main)\\.tsx?$' },
      to: { path: `^(node:|(${builtinModules.join('|')})$|node_modules/(${nodeOnlyPackages.join('|')})/)`, reachable: true },
    },
    {
      name: 'tfjs-whole',
      comment: 'tfjs-layers and the whole of tfjs are large: import them lazily or not at all',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^node_modules/@tensorflow/(tfjs|tfjs-layers|tfjs-data)/', dynamic: false, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'cli-starts-fast',
      comment: 'half a second of imports: the commands that start a server import it when they run',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: { path: '^src/server/', dynamic: false, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'declared',
      comment: 'the package imports what its package.json declares for its users; the management page is built with all it needs inside',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/ui/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'], dependencyTypesNot: ['type-only'], pathNot: '^node_modules/react/' },
    },
    {
      name: 'resolvable',
      comment: 'every import is there; node:sqlite in later Nodes than the oldest that is supported',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '\\?(worker|url|raw)|^node:sqlite$' },
    },
    {
      name: 'demo-uses-the-package',
      comment: 'the demo is an application: packaged entries only',
      severity: 'error',
      from: { path: '^demo/' },
      to: { path: '^(src|test|bench|scripts)/' },
    },
  ],
  options: {
    doNotFollow: { path: '^node_modules/' },
    exclude: { path: '^(dist|\\.tsbuild)/' },
    tsPreCompilationDeps: true,
    detectProcessBuiltinModuleCalls: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'default', 'types'],
      extensions: ['.ts', '.tsx', '.js', '.mjs', '.d.ts'],
    },
  },
};
